"""NASA's C-MAPSS turbofan engines: remaining life of engines that are cut before their failure.

Learns from the training file alone, writes a model file, and reads each test engine row by row through that file.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models.manifest import Training
from wire.block import FloatArray
from wire.errors import ModelError

_ABOUT = """Learns remaining useful life from engines that ran to failure (--train) and predicts it for engines that
were cut before (--test), as published for NASA's C-MAPSS sets FD001 to FD004; .txt or .txt.gz, 26 columns: unit, cycle,
three operating settings, 21 sensors. Everything is chosen on the training engines: they are cut at many points, and
what was not used for a fit judges it.

Writes `unit,rul,lower,upper` (cycles; a 90 % interval), one line for each test engine, and beside it the model file
(.onnx), through which the test engines were read row by row. An engine with too few rows gets the widest interval, and
a line says so."""

SETTINGS = ("altitude", "mach", "tra")
# Names and units as in Saxena, Goebel, Simon and Eklund, PHM08, table 2; UCUM.
SENSORS = (
    *(("T2", "[degR]"), ("T24", "[degR]"), ("T30", "[degR]"), ("T50", "[degR]")),
    *(("P2", "[psi]"), ("P15", "[psi]"), ("P30", "[psi]"), ("Nf", "/min"), ("Nc", "/min"), ("epr", "")),
    *(("Ps30", "[psi]"), ("phi", ""), ("NRf", "/min"), ("NRc", "/min"), ("BPR", ""), ("farB", ""), ("htBleed", "")),
    *(("Nf_dmd", "/min"), ("PCNfR_dmd", "/min"), ("W31", "[lb_av]/s"), ("W32", "[lb_av]/s")),
)
INPUTS = (*((name, "") for name in SETTINGS), *SENSORS)
_COLUMNS = 2 + len(INPUTS)


def add_to(commands: Any) -> None:
    """commands: what argparse's add_subparsers gave."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cmapss",
        help="remaining life of turbofan engines (NASA C-MAPSS)",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="engines up to their failure")
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="engines cut before it")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the predictions to write")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.set_defaults(run=lambda call: run(call.train, call.test, call.out, as_json=call.json))


def run(train: Path, test: Path, out: Path, *, as_json: bool = False, plan: Any = None) -> int:
    """plan: a life_train.Plan, where its defaults do not suit. Raises ModelError."""
    began = time.monotonic()
    if out.suffix != ".csv":
        raise ModelError(f"--out {out}: must end in .csv")
    if not out.parent.is_dir():
        raise ModelError(f"--out {out}: there is no folder {out.parent}")
    for file in (out, out.with_suffix(".onnx")):
        if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
            raise ModelError(f"--out {out}: {file} cannot be written")
    lives, cut = read(train), read(test)
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from models import life, life_train
    except ModuleNotFoundError as fault:
        raise ModelError(f"this needs the package {fault.name!r}: pip install 'gaugeline[train]'") from fault
    plan = plan or life_train.Plan()
    training = Training(
        train.name, f"{len(lives)} units", sum(len(rows) for rows in lives.values()), life_train.sha256(train)
    )
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
    with bar:
        task = bar.add_task("first fit", total=plan.steps)
        trained = life_train.train(
            lives,
            INPUTS,
            len(SETTINGS),
            _name(train),
            training,
            plan,
            lambda what: bar.update(task, advance=1, description=what),
        )
    file = out.with_suffix(".onnx")
    life_train.write(trained, file, next(iter(cut.values())))
    model = life.load(file)
    predicted = {unit: model.after(rows) for unit, rows in cut.items()}
    with out.open("w", newline="", encoding="utf-8") as text:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["unit", "rul", "lower", "upper"])
        for unit, left in predicted.items():
            lines.writerow([unit, f"{left.rul:.2f}", f"{left.lower:.2f}", f"{left.upper:.2f}"])
    short = [unit for unit, left in predicted.items() if left.warming]
    for unit in short:
        sys.stderr.write(
            f"warning: {test}: unit {unit} has only {len(cut[unit])} rows, {model.manifest.warm_up_rows} are needed: "
            "its estimate is that of any engine, and its interval is as wide as can be\n"
        )
    said = model.manifest
    report = {
        "predictions": str(out),
        "units": len(predicted),
        "short_units": short,
        "model": str(file),
        "model_bytes": len(trained.content),
        "cap": said.cap,
        "caps": [asdict(each) for each in said.caps],
        "horizon": said.horizon,
        "directions": trained.fusion.directions,
        "regimes": said.regimes,
        "ignored": said.ignored,
        "held_out": asdict(said.held_out),
        "mean_width": round(float(np.mean([left.upper - left.lower for left in predicted.values()])), 2),
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write((json.dumps(report, indent=2) if as_json else _words(report)) + "\n")
    return 0


def read(path: Path) -> dict[int, FloatArray]:
    """Unit -> its rows in the order of INPUTS, from cycle 1 on; `nan` is a missing value. Raises ModelError."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("ascii")
    except (OSError, EOFError, zlib.error) as fault:
        raise ModelError(f"{path}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: not a text file (byte {fault.start}); a packed one must end in .gz") from fault
    units: dict[int, list[list[float]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != _COLUMNS:
            raise ModelError(
                f"{path}:{number}: {len(cells)} columns, expected {_COLUMNS}, separated by spaces: "
                "unit, cycle, 3 settings, 21 sensors"
            )
        try:
            values = [float(cell) for cell in cells]
            unit, cycle = int(values[0]), int(values[1])
        except (ValueError, OverflowError) as fault:
            raise ModelError(f"{path}:{number}: must hold numbers only ({fault})") from fault
        rows = units.setdefault(unit, [])
        if cycle != len(rows) + 1:
            raise ModelError(
                f"{path}:{number}: unit {unit} has cycle {cycle} after {len(rows)} rows; "
                "every cycle must be there, from 1"
            )
        rows.append([value if np.isfinite(value) else np.nan for value in values[2:]])
    if not units:
        raise ModelError(f"{path}: no rows")
    return {unit: np.array(rows) for unit, rows in units.items()}


def _name(train: Path) -> str:
    """train_FD001.txt.gz -> cmapss_fd001."""
    kept = "".join(sign if sign.isalnum() else "_" for sign in train.name.split(".")[0].lower())
    return f"cmapss_{kept.removeprefix('train_')}"


def _words(report: dict[str, Any]) -> str:
    held = report["held_out"]
    return (
        f"{report['predictions']}: {report['units']} units, mean width of the interval "
        f"{report['mean_width']:g} cycles\n"
        f"{report['model']}: {report['model_bytes']} bytes, {report['directions']} directions of wear, "
        f"{report['regimes']} operating regimes, cap {report['cap']:g} cycles\n"
        f"held out in training ({held['units']} units, {held['cuts']} cuts within {report['horizon']:g} cycles of the "
        f"end): RMSE {held['rmse']:.2f}, score {held['score']:.0f} per 100 units, coverage {held['coverage']:.3f}, "
        f"width {held['width']:.1f}; {report['seconds']:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m models.evaluate.cmapss cmapss --train ...`: this benchmark alone."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluate.cmapss")
    add_to(parser.add_subparsers(required=True, metavar="COMMAND"))
    call = parser.parse_args(argv)
    try:
        return int(call.run(call))
    except ModelError as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
