#!/usr/bin/env bash
# Checks style and runs the tests: bash launch/test.sh [--slow] [PYTEST OPTIONS]
# With --slow, also those that can only be slow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/environment.sh
ruff check .
ruff format --check .
# Each of the two workers has one core, so a second thread of the linear algebra would only wait for it.
export OPENBLAS_NUM_THREADS=1
# Files in the order of their names: those with few tests, which xdist would put last, are the longest.
exec python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
