# Sourced by the other scripts: makes .venv with the tested versions where it is missing or out of date.
requirements=$(cat setup.py constraints.txt | cksum | cut -d' ' -f1)
if [ ! -e ".venv/installed-$requirements" ]; then
  echo "installing into .venv (once; about a minute)"
  "${PYTHON:-python3.11}" -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
  touch ".venv/installed-$requirements"
fi
source .venv/bin/activate
