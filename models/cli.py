"""`gaugeline models`: train, inspect and try the models that score assets."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models import explain, history, manifest, runtime
from models.card import duration
from models.evaluate import cli as evaluate
from models.manifest import Manifest
from wire.errors import ConfigError, ModelError

_TRAIN = """Trains a model from rows of NORMAL operation: writes one ONNX file that describes itself, and a card (.md)
beside it. The same configuration and data give the same bytes.

The data is a CSV file with a header, a time column (seconds, or 2014-01-30 00:00:00) and one column per input; an empty
cell is a missing value. Rows during faults, repairs or standstill do not belong in it.

A configuration:

  name: pump_1
  source: "what the data is, and where it is from"
  period_s: 1                     # seconds from row to row
  inputs:
    - {name: flow, unit: m3/h}
    - {name: pressure, unit: bar}
  false_alarm_every_rows: 604800  # one false alarm a week at 1 s; this sets the threshold
  only_where: running             # learn only from rows that have 1 in this column; leave it out to take all
  # and if the usual values do not suit: version, time_column (t_s), detector (robust_distance), smoothing_rows (5),
  # warm_up_rows (20), alarm: {raise_rows: 5, hold_rows: 10, release_rows: 10, clear_ratio: 0.9}"""

_SCORE = """Scores the rows of a CSV file one by one, as a gateway would, and writes one line a row to standard output:
time, score, threshold, warming, anomaly, and each input's share. What was found goes to standard error."""


def main(argv: Sequence[str]) -> int:
    """0 is success, 1 a problem that was told, 2 a wrong call."""
    call = _parser().parse_args(argv)
    try:
        if call.command == "train":
            return _train(call.config, call.data, call.out)
        if call.command == "inspect":
            return _inspect(call.file, as_json=call.json)
        if call.command == "evaluate":
            return evaluate.run(call)
        return _score(call.file, call.data, call.time_column)
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
    train.add_argument("--data", type=Path, required=True, metavar="CSV", help="rows of normal operation")
    train.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the file to write")
    inspect = commands.add_parser("inspect", help="what a model file says of itself")
    inspect.add_argument("file", metavar="FILE", help="an ONNX file, or the name of a packaged model")
    inspect.add_argument("--json", action="store_true", help="one JSON object instead of text")
    score = commands.add_parser("score", help="try a model on a CSV file", description=_SCORE, formatter_class=raw)
    score.add_argument("file", metavar="FILE", help="an ONNX file, or the name of a packaged model")
    score.add_argument("--data", type=Path, required=True, metavar="CSV", help="rows to score")
    score.add_argument("--time-column", default="t_s", metavar="NAME", help="column of the time (default: t_s)")
    evaluate.add_to(commands)
    return parser


def _train(config: Path, data: Path, out: Path) -> int:
    # Reading settings needs pydantic, training needs onnx: a gateway that only inspects a file has neither to load.
    from models.settings import read_settings

    settings = read_settings(config)
    if out.suffix != ".onnx":
        raise ModelError(f"--out {out}: must end in .onnx")
    if not out.parent.is_dir():
        raise ModelError(f"--out {out}: there is no folder {out.parent}")
    try:
        from models import card
        from models import train as training
    except ModuleNotFoundError as fault:
        raise ModelError(
            f"training needs the package {fault.name!r}: pip install 'gaugeline[train]' (scoring does not need it)"
        ) from fault
    columns = [each.name for each in settings.inputs]
    rows = history.read_csv(data, settings.time_column, columns, settings.only_where)
    trained = training.train(settings, rows, data)
    complete = rows.rows[~np.isnan(rows.rows).any(axis=1)]
    training.write(trained, out, complete[:1000])
    out.with_suffix(".md").write_text(card.card(trained.manifest, out.name), encoding="utf-8")
    said = trained.manifest
    print(f"{out}: {len(trained.content)} bytes, threshold {said.threshold:g} for {said.false_alarms.statement}")
    print(_held_out(said))
    print(f"{out.with_suffix('.md')}: the card")
    return 0


def _inspect(file: str, *, as_json: bool) -> int:
    path = runtime.resolve(file, Path())
    said = manifest.read(path)
    if as_json:
        print(json.dumps(asdict(said), indent=2, ensure_ascii=False))
        return 0
    print(f"{said.name} version {said.version} ({path})")
    print(f"  detector      {said.detector}; a row every {said.period_s:g} s; warm-up {said.warm_up_rows} rows")
    for each in said.inputs:
        print(f"  input         {each.name} [{each.unit or '1'}]: usually {each.centre:.6g}, spread {each.spread:.4g}")
    rate = said.false_alarms
    print(f"  threshold     {said.threshold:g} for {rate.statement} ({duration(rate.rows * said.period_s)})")
    print(f"                {rate.method}")
    print(f"                {_held_out(said)}")
    rule = said.alarm
    print(
        f"  alarm         after {rule.raise_rows} rows, at least {rule.hold_rows}, "
        f"ends after {rule.release_rows} rows below {rule.clear_ratio:g} of the threshold"
    )
    print(f"  trained on    {said.training.source}")
    print(f"                {said.training.window}, {said.training.rows} rows, SHA-256 {said.training.sha256}")
    print(f"  signature     {said.signature or 'none'}")
    return 0


def _held_out(said: Manifest) -> str:
    rate = said.false_alarms
    due = rate.held_out_rows / rate.rows
    return f"held out: {rate.held_out_alarms} false alarms in {rate.held_out_rows} normal rows ({due:.1f} were due)"


def _score(file: str, data: Path, time_column: str) -> int:
    model = runtime.load(runtime.resolve(file, Path()))
    said = model.manifest
    rows = history.read_csv(data, time_column, said.input_names)
    history.check_period(rows, said.period_s, data)
    running = model.start()
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([time_column, "score", "threshold", "warming", "anomaly", *(f"share/{n}" for n in said.input_names)])
    raised: str | None = None
    alarms = 0
    for time, row in zip(rows.times, rows.rows, strict=True):
        score = running.score(row)
        missing = score.score != score.score
        figures = [""] * (1 + len(row)) if missing else [f"{x:.6g}" for x in (score.score, *score.shares)]
        flags = [f"{score.threshold:g}", int(score.warming), int(score.anomaly)]
        out.writerow([time, figures[0], *flags, *figures[1:]])
        if score.anomaly and raised is None:
            raised, alarms = time, alarms + 1
            print(f"alarm from {time}: {explain.sentence(said, score)}", file=sys.stderr)
        elif raised is not None and not score.anomaly:
            print(f"alarm from {raised} ended at {time}", file=sys.stderr)
            raised = None
    print(f"{len(rows.times)} rows, {alarms} alarms{', the last one still on' if raised else ''}", file=sys.stderr)
    return 0
