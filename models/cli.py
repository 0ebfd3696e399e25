"""`gaugeline models`: train, inspect and try the models that score assets."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models import explain, history, inspection, registry_cli, runtime, signing
from models.evaluate import cli as evaluate
from models.history import Asked
from wire.errors import ConfigError, ModelError

_TRAIN = """Trains a model from rows of NORMAL operation: writes one ONNX file that describes itself, and a card (.md)
beside it. The same configuration and data give the same bytes.

The data is one of
  rows.csv           a header, a time column (seconds, or 2014-01-30 00:00:00), a column for each input; an empty cell
                     is a missing value
  rows.parquet       the same, or one value a row (columns ts, tag, value); or a folder of such files
  http://HOST:PORT   a running `gaugeline cloud run`, with --asset ID --from 2026-01-01 [--to 2026-02-01]
Rows during faults, repairs or standstill do not belong in it.

Detectors: robust_distance, level, pca, neighbours, combined for several inputs; novelty, seasonal, forecast,
seasonal_novelty for a single one, which raise their alarm by one row. docs/models.md says what each is for.

A configuration:

  name: pump_1
  source: "what the data is, and where it is from"
  period_s: 1                     # seconds from row to row
  inputs:
    - {name: flow, unit: m3/h}
    - {name: pressure, unit: bar}
  false_alarm_every_rows: 604800  # one false alarm a week at 1 s; this sets the threshold
  only_where: running             # learn only from rows that have 1 in this column; leave it out to take all
  # and if the usual values do not suit: version, time_column (t_s), warm_up_rows (20), seed (0), time_zone, hold_s,
  # detector (robust_distance) with detector_settings: {smoothing_rows: 5},
  # alarm: {raise_rows: 5, hold_rows: 10, release_rows: 10, clear_ratio: 0.9, peak_ratio: 0, settle_rows: 0,
  #         settle_ratio: 0},
  # baseline: {follow_rows: 5000}, where the centre is to follow the machine (docs/baseline.md)"""

_SCORE = """Scores the rows of a CSV file one by one, as a gateway would, and writes one line a row to standard output:
time, score, threshold, warming, anomaly, and each input's share. What was found goes to standard error."""


_SIGN = """Signs a model file, so that gateways which take only signed models run it.

  openssl genpkey -algorithm ed25519 -out models.key      once; keep it where models are made, not on gateways
  openssl pkey -in models.key -pubout -out models.pem     for `models: {public_key_file: models.pem}` in site.yaml
  gaugeline models sign machine.onnx --key models.key"""


def main(argv: Sequence[str]) -> int:
    """0 is success, 1 a problem that was told, 2 a wrong call."""
    call = _parser().parse_args(argv)
    try:
        if call.command == "train":
            return _train(call)
        if call.command == "inspect":
            return _inspect(call.file, as_json=call.json)
        if call.command == "sign":
            print(signing.sign(call.file, call.key, call.out or call.file))
            return 0
        if call.command == "evaluate":
            return evaluate.run(call)
        if call.command == "registry":
            for line in registry_cli.lines(call):
                print(line)
            return 0
        return _score(call)
    except ModuleNotFoundError as fault:
        install = "pip install 'gaugeline[train]' (scoring does not need it)"
        print(f"error: this needs the package {fault.name!r}: {install}", file=sys.stderr)
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)
    except ModelError as fault:
        print(f"error: {fault}", file=sys.stderr)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
    return 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="gaugeline models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser(
        "train", help="normal history -> ONNX file and card", description=_TRAIN, formatter_class=raw
    )
    train.add_argument("--config", type=Path, required=True, metavar="M.yaml", help="what the model is to be")
    train.add_argument("--data", required=True, metavar="DATA", help="normal operation: CSV, Parquet, or a host's URL")
    train.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the file to write")
    train.add_argument("--asset", default="", metavar="ID", help="of a host, or of Parquet with a column asset")
    train.add_argument("--from", default="", metavar="TIME", dest="from_", help="of a host: the first time")
    train.add_argument("--to", default="", metavar="TIME", help="of a host: the last time (default: now)")
    train.add_argument("--no-plots", action="store_true", help="a card without its three pictures")
    inspect = commands.add_parser(
        "inspect", help="what a model file says of itself: one that scores, or of remaining life"
    )
    inspect.add_argument("file", metavar="FILE", help="an ONNX file, or the name of a packaged model")
    inspect.add_argument("--json", action="store_true", help="one JSON object instead of text")
    registry_cli.add_to(commands)
    score = commands.add_parser("score", help="try a model on a CSV file", description=_SCORE, formatter_class=raw)
    score.add_argument("file", metavar="FILE", help="an ONNX file, or the name of a packaged model")
    score.add_argument("--data", type=Path, required=True, metavar="CSV", help="rows to score")
    score.add_argument("--language", choices=["en", "zh"], default="en", help="of the words for an alarm (default: en)")
    score.add_argument("--time-column", default="t_s", metavar="NAME", help="column of the time (default: t_s)")
    sign = commands.add_parser("sign", help="sign a model file", description=_SIGN, formatter_class=raw)
    sign.add_argument("file", type=Path, metavar="FILE", help="an ONNX file of Gaugeline")
    sign.add_argument("--key", type=Path, required=True, metavar="PRIVATE.pem", help="an Ed25519 private key")
    sign.add_argument("--out", type=Path, metavar="FILE", help="the signed file (default: in the place of FILE)")
    evaluate.add_to(commands)
    return parser


def _train(call: argparse.Namespace) -> int:
    # Training brings much: a gateway that only inspects a file has none of it to load.
    out: Path = call.out
    if out.suffix != ".onnx":
        raise ModelError(f"--out {out}: must end in .onnx")
    if not out.parent.is_dir():
        raise ModelError(f"--out {out}: there is no folder {out.parent}")
    from models.training_run import run

    trained, files = run(
        call.config, Asked(call.data, call.asset, call.from_, call.to), out, pictures=not call.no_plots
    )
    said = trained.manifest
    print(f"{out}: {len(trained.content)} bytes, threshold {said.threshold:g} for {said.false_alarms.statement}")
    print(inspection.held_out(said.false_alarms))
    print(f"{files[0]}: the card" + (f", with {', '.join(file.name for file in files[1:])}" if files[1:] else ""))
    return 0


def _inspect(file: str, *, as_json: bool) -> int:
    path = runtime.resolve(file, Path())
    said = inspection.read(path)
    if as_json:
        print(json.dumps(inspection.as_json(said), indent=2, ensure_ascii=False))
        return 0
    for line in inspection.lines(said, path):
        print(line)
    return 0


def _score(call: argparse.Namespace) -> int:
    data, time_column = call.data, call.time_column
    model = runtime.load(runtime.resolve(call.file, Path()))
    said = model.manifest
    rows = history.read_csv(data, time_column, said.input_names)
    history.check_period(rows, said.period_s, data)
    running = model.start()
    clocks = rows.clocks("") if model.wants_clock else [(0.0, 0.0)] * len(rows.rows)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([time_column, "score", "threshold", "warming", "anomaly", *(f"share/{n}" for n in said.input_names)])
    raised: str | None = None
    alarms = 0
    for time, row, clock in zip(rows.times, rows.rows, clocks, strict=True):
        score = running.score(row, (clock[0], clock[1]))
        figures = ["" if x != x else f"{x:.6g}" for x in (score.score, *score.shares)]
        flags = [f"{score.threshold:g}", int(score.warming), int(score.anomaly)]
        out.writerow([time, figures[0], *flags, *figures[1:]])
        if score.anomaly and raised is None:
            raised, alarms = time, alarms + 1
            print(f"alarm from {time}: {explain.sentence(said, score, call.language)}", file=sys.stderr)
        elif raised is not None and not score.anomaly:
            print(f"alarm from {raised} ended at {time}", file=sys.stderr)
            raised = None
    print(f"{len(rows.times)} rows, {alarms} alarms{', the last one still on' if raised else ''}", file=sys.stderr)
    return 0
