# Sourced by the other scripts: makes .venv with the tested versions where it is missing or out of date.
requirements=$(cat setup.py constraints.txt | cksum | cut -d' ' -f1)
if [ ! -e ".venv/installed-$requirements" ]; then
  python=${PYTHON:-python3.11}
  if ! command -v "$python" >/dev/null; then
    echo "error: no $python here: install Python 3.11, or tell where it is with PYTHON=/path/to/python3.11 bash $0" >&2
    exit 1
  fi
  echo "installing into .venv (once; about a minute)"
  "$python" -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
  touch ".venv/installed-$requirements"
fi
source .venv/bin/activate
