#!/usr/bin/env bash
# Rebuilds the packaged models from the simulator's normal operation. The same sources give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
run=.venv/bin/gaugeline
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$run" sim export demo --device machine-plc --rows 2016 --from "2014-01-30 00:00" --out "$folder/normal.csv"
"$run" models train --config models/packaged/demo_machine.yaml --data "$folder/normal.csv" \
  --out models/packaged/demo_machine.onnx --no-plots
git diff --stat -- models/packaged || true
