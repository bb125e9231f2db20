# shellcheck shell=bash
# Sourced by demo.sh and test.sh: makes .venv, keeps it in step with the repository and puts it first in PATH.
#
#   source scripts/env.sh
#   use_venv            # what a user gets
#   use_venv dev        # with an extra of pyproject.toml
#
# PYTHON chooses the interpreter (default python3), VIDTOK_VENV the folder (default .venv in the repository).

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${VIDTOK_VENV:-$REPO/.venv}"

# use_venv [EXTRA]: install the package (editable), unless that was done for these very files.
use_venv() {
  local extra="${1:-}" wanted stamp
  stamp="$VENV/installed${extra:+-$extra}"
  wanted="$REPO $(cat "$REPO/pyproject.toml" "$REPO/constraints.txt" | sha256sum)"
  # The glob: an environment with an extra also serves those who ask for none.
  if ! grep -qsxF "$wanted" "$stamp"*; then
    make_venv
    echo "installing vidtok${extra:+[$extra]} into $VENV (about a minute the first time)" >&2
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
      -c "$REPO/constraints.txt" -e "$REPO${extra:+[$extra]}" >&2
    echo "$wanted" > "$stamp"
  fi
  export PATH="$VENV/bin:$PATH"
}

make_venv() {
  local python="${PYTHON:-python3}"
  if [[ -x "$VENV/bin/pip" ]]; then
    return
  fi
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "vidtok needs Python 3.11 or newer, and '$python' is not: set PYTHON=/path/to/python3.11" >&2
    exit 5
  }
  "$python" -m venv "$VENV" || {
    echo "'$python -m venv' failed: on Debian and Ubuntu install the package python3-venv" >&2
    exit 5
  }
}
