"""The Skoltech Anomaly Benchmark: a water pump with eight sensors, valves that close, leaks, imbalance, cavitation.

Each file is calibrated by its own first 400 rows and judged causally from there on, by one exported model that the
shipped runtime runs. The constants below are the same for all files. Neither row number, clock time nor file name is an
input, and the columns of labels are read only to count, after the alarms are written.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import runtime
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.evaluate.recording import Recording, names_of, read
from models.evaluate.skab_figures import Counts, Judged, summary
from models.manifest import FalseAlarms, Input, Manifest, Training
from models.missing import MissingRule
from wire.block import FloatArray
from wire.errors import ModelError

if TYPE_CHECKING:
    from models.detectors.level import Level

CALIBRATION_ROWS = 400
# The runtime sees the last of the calibration rows first, so that smoothing is in swing at the first judged row.
WARM_UP_ROWS = 60

# A column with values in fewer of the calibration rows says nothing of normal.
_LEAST_PART = 0.5

# Column -> UCUM unit. What a change must be at least is a matter of the kind of sensor, which the unit tells.
COLUMNS = {
    "Accelerometer1RMS": "[g]",
    "Accelerometer2RMS": "[g]",
    "Current": "A",
    "Pressure": "bar",
    "Temperature": "Cel",
    "Thermocouple": "Cel",
    "Voltage": "V",
    "Volume Flow RateRMS": "L/min",
}
# Thermal tags wander with the room and the load by kelvins: the baseline follows them faster, and their spread is
# never less than this. Vibration changes by some per cent with nothing wrong (ISO 20816 calls 25 % significant).
THERMAL_SPREAD_K = 2.0
VIBRATION_SPREAD_PART = 0.01

THRESHOLD = 4.4
# See detectors/level.py.
SMOOTHING_ROWS, LAG_ROWS, CENTRE_ROWS = 20, 50, 200
ALARM = AlarmRule(
    raise_rows=2, hold_rows=80, release_rows=10, clear_ratio=0.4, peak_ratio=0.4, settle_rows=80, settle_ratio=0.8
)
BASELINE = BaselineRule(
    follow_rows=120,
    slow=tuple(name for name, unit in COLUMNS.items() if unit == "Cel"),
    slow_follow_rows=50,
    settle_follow_rows=33,
    spread_rows=2000,
    reach=3.0,
)

_DESCRIPTION = f"""Runs the Skoltech Anomaly Benchmark (SKAB, github.com/waico/SKAB, GPL-3.0, not part of Gaugeline).

DATA is a folder with CSV files (.csv or .csv.gz, separated by semicolons) in any folders below it; each file is fitted
on its first {CALIBRATION_ROWS} rows and judged from there on. OUT gets, for each DATA/group/n.csv, group/n.csv (one
line datetime,alarm a judged row) and group/n.onnx, the model that judged. Where a file has a column `anomaly`, F1 and
the rates of false and missing alarms are counted from it afterwards.

  gaugeline models evaluate skab --data SKAB/data --out /tmp/skab
  gaugeline models evaluate skab --data SKAB/data --out /tmp/skab-40 --drop 40 --json"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The sub-command."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "skab", help="Skoltech Anomaly Benchmark (water pump)", description=_DESCRIPTION, formatter_class=raw
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the benchmark's data folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where alarms and models go")
    parser.add_argument(
        "--drop", type=int, default=0, metavar="N", help="leave out the first N rows of each file (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output instead of text")
    parser.set_defaults(run=_call)


def _call(call: argparse.Namespace) -> int:
    began = time.perf_counter()
    judged = list(run(call.data, call.out, call.drop))
    said = summary(judged, call.drop, time.perf_counter() - began)
    if call.json:
        print(json.dumps(said, indent=2))
        return 0
    for each in said["per_file"]:
        labelled = (
            "" if each["f1"] is None else f"  F1 {each['f1']:.3f}  FAR {each['far']:5.1f} %  MAR {each['mar']:5.1f} %"
        )
        print(f"{each['file']:24} {each['rows']:5} rows, {each['alarm_percent']:5.1f} % in alarm{labelled}")
    if said["f1"] is not None:
        print(f"all labelled files: F1 {said['f1']:.4f}, FAR {said['far']:.2f} %, MAR {said['mar']:.2f} %")
    print(
        f"{said['seconds']:.1f} s; a row took {said['row_us_p50']:.0f} us (p99 {said['row_us_p99']:.0f} us); "
        f"models of {said['model_bytes']} bytes"
    )
    return 0


def run(data: Path, out: Path, drop: int = 0) -> Iterator[Judged]:
    """Judges every file below `data`, writing as it goes. Raises ModelError for data that cannot be used."""
    if drop < 0:
        raise ModelError(f"--drop must be 0 or more (got {drop})")
    if out.resolve() == data.resolve():
        raise ModelError(f"--out {out}: is --data: the alarms would replace the recordings; give another folder")
    names, others = names_of(data, out)
    for name in others:
        sys.stderr.write(f"warning: {data / name}: passed over, it has no column datetime\n")
    recordings = [read(data, name, COLUMNS) for name in names]
    short = [each for each in recordings if len(each.rows) <= drop + CALIBRATION_ROWS]
    if short:
        raise ModelError(
            "too few rows: " + ", ".join(f"{each.name} has {len(each.rows)}" for each in short)
            + f"; needed are more than {drop + CALIBRATION_ROWS} ({drop} to drop, {CALIBRATION_ROWS} to calibrate)"
        )  # fmt: skip
    for recording in _watched(recordings):
        yield _judge(recording.without_first(drop), out)


def _watched(recordings: list[Recording]) -> Iterable[Recording]:
    """With a progress bar where a person looks on."""
    from rich.console import Console
    from rich.progress import track

    return track(recordings, description="SKAB", console=Console(stderr=True), disable=not sys.stderr.isatty())


def model_of(
    calibration: FloatArray, period_s: float, source: str, sha256: str = "", names: Sequence[str] = tuple(COLUMNS)
) -> tuple[Level, Manifest]:
    """What the calibration rows say is normal. names: of their columns. Raises ModelError."""
    from models.detectors.level import Level, LevelSettings

    whole = calibration[np.isfinite(calibration).all(axis=1)]
    units = np.array([COLUMNS[name] for name in names])
    floors = np.where(units == "Cel", THERMAL_SPREAD_K, 0.0)
    parts = np.where(units == "[g]", VIBRATION_SPREAD_PART, 0.0)
    settings = LevelSettings(SMOOTHING_ROWS, LAG_ROWS, CENTRE_ROWS, THRESHOLD)
    try:
        detector = Level.fit(whole, settings, floors, parts)
    except ValueError as fault:
        raise ModelError(
            f"{source}: of its first {CALIBRATION_ROWS} rows {len(whole)} are whole; it {fault}"
        ) from fault
    manifest = Manifest(
        name="skab",
        version="1",
        detector="level",
        inputs=tuple(
            Input(name, COLUMNS[name], float(detector.centre[i]), float(detector.scale[i]))
            for i, name in enumerate(names)
        ),
        period_s=period_s,
        threshold=THRESHOLD,
        warm_up_rows=WARM_UP_ROWS,
        false_alarms=FalseAlarms(
            1000, 0, 0, "a constant for all pumps of this kind: three alarms came in 4,302 normal rows of one"
        ),
        alarm=ALARM,
        training=Training(f"SKAB {source}", f"its first {CALIBRATION_ROWS} rows", len(whole), sha256),
        baseline=replace(BASELINE, slow=tuple(name for name in BASELINE.slow if name in names)),
        missing=_without(len(names), detector.smoothing.ceiling),
    )
    return detector, manifest


def _without(n: int, ceiling: float) -> MissingRule | None:
    """The furthest of the tags that are there: the same threshold, for there are no more of them."""
    if n < 2:
        return None
    alone = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
    return MissingRule(n - 1, (1.0,) * n, alone, ceiling)


def _told(recording: Recording) -> list[int]:
    """The columns that the calibration says something of. Raises ModelError where it is none."""
    known = np.isfinite(recording.rows[:CALIBRATION_ROWS]).sum(axis=0)
    kept = [i for i, count in enumerate(known) if count >= _LEAST_PART * CALIBRATION_ROWS]
    if not kept:
        raise ModelError(f"{recording.name}: no column has values in the first {CALIBRATION_ROWS} rows")
    left_out = [name for i, name in enumerate(COLUMNS) if i not in kept]
    if left_out:
        sys.stderr.write(
            f"warning: {recording.name}: judged without {', '.join(left_out)}, which have too few values in the first "
            f"{CALIBRATION_ROWS} rows\n"
        )
    return kept


def _judge(recording: Recording, out: Path) -> Judged:
    from models.export import export

    told = _told(recording)
    rows, names = recording.rows[:, told], [list(COLUMNS)[i] for i in told]
    detector, manifest = model_of(rows[:CALIBRATION_ROWS], recording.period_s, recording.name, recording.sha256, names)
    content = export(detector.graph(), manifest)
    table = out / recording.name
    file = table.with_suffix(".onnx")
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        alarms, row_us = _alarms(file, rows)
        with table.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(["datetime", "alarm"])
            writer.writerows(zip(recording.times[CALIBRATION_ROWS:], alarms.tolist(), strict=True))
    except OSError as fault:
        raise ModelError(f"{fault.filename or table}: cannot be written: {fault.strerror}") from fault
    counts = None
    if recording.labels is not None:
        truth = recording.labels[CALIBRATION_ROWS:]
        counts = Counts(*(int(np.sum((alarms == a) & (truth == t))) for a, t in ((1, 1), (1, 0), (0, 1), (0, 0))))
    raised = int(np.sum(np.diff(alarms, prepend=0) == 1))
    return Judged(recording.name, len(alarms), int(alarms.sum()), raised, counts, len(content), row_us)


def _alarms(file: Path, rows: FloatArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], FloatArray]:
    """(0 or 1 for each row after the calibration, time of each in microseconds), by the shipped runtime."""
    running = runtime.load(file).start()
    for row in rows[CALIBRATION_ROWS - WARM_UP_ROWS : CALIBRATION_ROWS]:
        running.score(row)
    alarms: list[int] = []
    ns: list[int] = []
    for row in rows[CALIBRATION_ROWS:]:
        began = time.perf_counter_ns()
        score = running.score(row)
        ns.append(time.perf_counter_ns() - began)
        alarms.append(int(score.anomaly))
    return np.array(alarms, np.int64), np.array(ns) / 1000.0
