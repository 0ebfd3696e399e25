#!/usr/bin/env bash
# The whole suite in two groups at once. What measures when something happens has the machine to itself as far as it
# can: the other group is nice, takes what is left and a tenth besides, and is shown when the first one has ended.
# Usage: tests/run.sh PYTHON [pytest options]
set -uom pipefail # job control: a background job that heeds Ctrl-C, with a process group of its own
python=$1
shift
rm -f .coverage .coverage.*
# Hundreds of programs are started: their modules and the tests are compiled once. What cannot be imported is told first.
export PYTHONDONTWRITEBYTECODE=
collected=$("$python" -m pytest --collect-only -qq "$@" 2>&1) || { printf '%s\n' "$collected"; exit 1; }
rest=$(mktemp)
nice -n 10 "$python" -m pytest -n 4 --dist loadfile --group others -m "not alone" --cov --cov-report= "$@" >"$rest" 2>&1 &
job=$!
trap 'kill -INT -- "-$job" 2>/dev/null && wait "$job"; rm -f "$rest"' EXIT
trap 'exit 130' INT TERM

status=0
"$python" -m pytest -n 2 --dist loadfile --group alone -m alone "$@"
code=$?
[ "$code" -eq 2 ] && exit 130 # interrupted
[ "$code" -eq 0 ] || status=1
printf '\nThe other tests, which ran beside these:\n'
tail -n +1 -f --pid="$job" "$rest"
wait "$job" || status=1
"$python" -m coverage report || status=1
exit "$status"
