#!/usr/bin/env bash
# Sets up .venv and runs the test suite, from any folder. Arguments go to pytest:
#   ./scripts/test.sh                      the default suite, one process per core
#   ./scripts/test.sh --slow               with the tests marked slow
#   ./scripts/test.sh tests/nn -x -n 0     one folder, in one process
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_venv dev
cd "$REPO"
# One torch thread in each of the processes: more would only contend for the same cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec python -m pytest -n auto --dist loadfile "$@"
