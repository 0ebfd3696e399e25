#!/usr/bin/env bash
# Makes .venv with the locked dependencies and builds the web assets. Does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
say() { printf 'setup: %s\n' "$*" >&2; }

command -v "$python" >/dev/null || { say "$python is missing: apt-get install python3 python3-venv"; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { say "Python 3.11 or newer is needed; $python is $("$python" -V). Name another: make setup PYTHON=python3.12"; exit 1; }

stamp=.stamps/environment
wanted=$(cat requirements/dev.lock pyproject.toml deploy/setup/environment.sh | sha256sum | cut -d' ' -f1)-$("$python" -V | tr ' ' '-')
if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  if [ ! -x .venv/bin/python ]; then
    say "making .venv with $("$python" -V)"
    "$python" -m venv .venv || { say "no virtual environment could be made: apt-get install python3-venv"; exit 1; }
  fi
  say "installing the locked dependencies (about a minute, hashes are checked)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  mkdir -p .stamps
  printf '%s' "$wanted" >"$stamp"
fi
.venv/bin/python -m cloud.web.build
