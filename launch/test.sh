#!/usr/bin/env bash
# Checks style and runs every test: bash launch/test.sh [PYTEST OPTIONS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/environment.sh
ruff check .
ruff format --check .
exec python -m pytest --numprocesses 2 --dist loadfile "$@"
