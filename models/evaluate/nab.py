"""The Numenta Anomaly Benchmark's way: each series judged row by row by a model of its own first rows."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models import runtime
from models.alarm_logic import AlarmRule
from models.evaluate import series
from models.evaluate.series import NoSeries, Series
from models.manifest import FalseAlarms, Input, Manifest, Training
from wire.block import FloatArray
from wire.errors import ConfigError, ModelError

_ABOUT = """Judges every series below DATA (timestamp,value; .csv or .csv.gz, in any sub-folders) as the Numenta Anomaly
Benchmark does: a model is fitted to the first 15 % of a series' rows, at most 750, written as one ONNX file, and run by
the runtime of the gateway over the series row by row; the score of a row knows that row and those before it, never a
label. Writes the same relative paths below OUT, `timestamp,anomaly_score`, a score in [0, 1] for each row.

A row at or above the threshold is a detection. The threshold is the same for every series; it was chosen on eleven
public series of the benchmark and does not change. An anomaly is told once: what follows counts only where it is
clearly stranger."""

# The benchmark's probation.
_PROBATION_PART, _PROBATION_ROWS = 0.15, 750
# Less is no normal operation to speak of: the longest smoothing alone takes 100 rows.
MIN_FITTED_ROWS = 100
# Rows after which the bar of the latch has fallen to 37 %, as part of the fitted rows. Public half, with the default
# detector: 0.1 85.4, 0.15 85.7, 0.5 86.2, 0.7 77.5.
_QUIET_PART = 0.25


@dataclass(frozen=True)
class _Way:
    """A detector, and its frozen threshold: on the public half, the middle of the flat top of the score over it."""

    threshold: float
    fit: Callable[[FloatArray, FloatArray, float], Any]


@dataclass(frozen=True)
class Judged:
    """One series. us_p50, us_p99: microseconds of Running.score for one row."""

    name: str
    rows: int
    fitted_rows: int
    detections: int
    model_bytes: int
    us_p50: float
    us_p99: float


def add_to(commands: Any) -> None:
    """commands: what argparse's add_subparsers gave."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "nab",
        help="anomalies in single series (Numenta Anomaly Benchmark)",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with the series")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scores; made if missing")
    parser.add_argument(
        "--detector",
        choices=("seasonal_novelty", "novelty", "seasonal", "forecast"),
        default="seasonal_novelty",
        help="the default combines profile and range novelty; the others are there to compare",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.set_defaults(run=lambda call: run(call.data, call.out, call.detector, as_json=call.json))


def run(data: Path, out: Path, detector: str = "seasonal_novelty", *, as_json: bool = False) -> int:
    """0. Raises ModelError for a folder, ConfigError with every file that cannot be judged, before any is."""
    began = time.monotonic()
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        ways = _ways()
    except ModuleNotFoundError as fault:
        raise ModelError(f"this needs the package {fault.name!r}: pip install 'gaugeline[train]'") from fault
    if out.resolve() == data.resolve() or data.resolve() in out.resolve().parents:
        raise ModelError(f"--out {out}: lies in --data {data}: the scores would be read as series the next time")
    all_series = _read_all(data)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    judged = []
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        tempfile.TemporaryDirectory() as folder,
    ):
        task = bar.add_task("rows", total=sum(len(each.stamps) for each in all_series))
        for each in all_series:
            bar.update(task, description=each.name)
            file = Path(folder) / "series.onnx"
            said, scores = _judge(each, detector, ways[detector], file, lambda rows: bar.advance(task, rows))
            _write(out / each.name, each, scores)
            judged.append(said)
    report = {
        "benchmark": "NAB",
        "detector": detector,
        "threshold": ways[detector].threshold,
        "files": [asdict(said) for said in judged],
        "rows": sum(said.rows for said in judged),
        "clocks_set_back": {each.name: each.set_back for each in all_series if each.set_back},
        "seconds": round(time.monotonic() - began, 1),
    }
    said_of_all = json.dumps(report, indent=2, ensure_ascii=False) if as_json else _words(report, out)
    sys.stdout.write(said_of_all + "\n")
    return 0


def fitted_rows(rows: int) -> int:
    """The benchmark's probation of a series of so many rows."""
    return min(int(_PROBATION_PART * rows), _PROBATION_ROWS)


def rows_needed() -> int:
    """The shortest series that can be judged."""
    rows = int(MIN_FITTED_ROWS / _PROBATION_PART)
    return rows if fitted_rows(rows) >= MIN_FITTED_ROWS else rows + 1


def _ways() -> dict[str, _Way]:
    from models.detectors.forecast import Forecast
    from models.detectors.novelty import Novelty
    from models.detectors.seasonal import Seasonal
    from models.detectors.seasonal_novelty import SeasonalNovelty

    return {
        "seasonal_novelty": _Way(0.04, SeasonalNovelty.fit),
        "novelty": _Way(0.023, lambda values, _, quiet_rows: Novelty.fit(values, quiet_rows)),
        "seasonal": _Way(0.69, Seasonal.fit),
        "forecast": _Way(0.549, lambda values, _, quiet_rows: Forecast.fit(values, quiet_rows)),
    }


def _read_all(data: Path) -> list[Series]:
    read: list[Series] = []
    problems: list[str] = []
    others: list[str] = []
    for name, path in series.find(data).items():
        try:
            each = series.read(name, path)
        except NoSeries as fault:
            others.append(str(fault))
            continue
        except ModelError as fault:
            problems.append(str(fault))
            continue
        known = int(np.isfinite(each.values[: fitted_rows(len(each.stamps))]).sum())
        if known < MIN_FITTED_ROWS:
            problems.append(
                f"{path}: too few rows: {len(each.stamps)}, of which the first {fitted_rows(len(each.stamps))} are to "
                f"be learnt from and {known} hold a value; {MIN_FITTED_ROWS} must, so at least {rows_needed()} in all"
            )
        read.append(each)
    if problems or not read:
        raise ConfigError(problems or others)
    sys.stderr.writelines(f"warning: {other}: passed over\n" for other in others)
    return read


def _judge(
    each: Series, detector: str, way: _Way, file: Path, passed: Callable[[int], None]
) -> tuple[Judged, FloatArray]:
    """Fits, exports, and lets the shipped runtime score every row. An empty value scores 0 and is not remembered."""
    from models.export import export

    probation = fitted_rows(len(each.stamps))
    normal, clocks = each.values[:probation], each.clocks[:probation]
    known = np.isfinite(normal)
    fitted = way.fit(normal[known], clocks[known], _QUIET_PART * probation)
    graph = fitted.graph()
    file.write_bytes(export(graph, _manifest(each, detector, way, fitted, probation)))
    running = runtime.load(file).start()
    scores, took = np.zeros(len(each.values)), np.zeros(len(each.values))
    clock = [(float(second), float(weekday)) for second, weekday in each.clocks]
    for i in range(len(scores)):
        begin = time.perf_counter()
        score = running.score(each.values[i : i + 1], clock[i]).score
        took[i] = time.perf_counter() - begin
        scores[i] = score if score == score else 0.0
        if i % 500 == 499:
            passed(500)
    passed(len(scores) % 500)
    told = int((scores[probation:] >= way.threshold).sum())
    p50, p99 = (round(float(each), 1) for each in np.percentile(took * 1e6, [50, 99]))
    return Judged(each.name, len(scores), probation, told, file.stat().st_size, p50, p99), scores


def _manifest(each: Series, detector: str, way: _Way, fitted: Any, probation: int) -> Manifest:
    rate = FalseAlarms(
        # 28 false detections in 52,000 rows outside of windows and probation of the public half.
        1900,
        0,
        0,
        "one threshold for every series, chosen on the public half of NAB, not set from this series",
    )
    return Manifest(
        name="series",
        version="1",
        detector=detector,
        inputs=(Input("value", "", float(fitted.centre[0]), float(fitted.scale[0])),),
        period_s=max(each.period_s, 1.0),
        threshold=way.threshold,
        warm_up_rows=0,
        false_alarms=rate,
        alarm=AlarmRule(raise_rows=1, hold_rows=int(_QUIET_PART * probation), release_rows=1),
        training=Training(
            each.name,
            f"{each.stamps[0]} to {each.stamps[probation - 1]}",
            probation,
            hashlib.sha256(each.path.read_bytes()).hexdigest(),
        ),
    )


def _write(path: Path, each: Series, scores: FloatArray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as text:
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(["timestamp", "anomaly_score"])
            lines.writerows((stamp, f"{score:.6g}") for stamp, score in zip(each.stamps, scores, strict=True))
    except OSError as fault:
        raise ModelError(f"{path}: cannot be written: {fault.strerror}") from fault


def _words(report: dict[str, Any], out: Path) -> str:
    lines = [
        f"{said['name']}: {said['detections']} detections in {said['rows']} rows ({said['fitted_rows']} to learn "
        f"from), {said['us_p50']:g} us a row (p99 {said['us_p99']:g}), model of {said['model_bytes']} bytes"
        for said in report["files"]
    ]
    for name, times in report["clocks_set_back"].items():
        lines.append(f"{name}: the clock was set back {times} times; the rows were taken in the order of the file")
    lines.append(
        f"{out}: {len(report['files'])} series, {report['rows']} rows in {report['seconds']:g} s; detector "
        f"{report['detector']}, threshold {report['threshold']:g} (frozen)"
    )
    return "\n".join(lines)


def main() -> int:
    """`python -m models.evaluate.nab nab --data ...`: this benchmark alone."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluate.nab")
    add_to(parser.add_subparsers(required=True, metavar="COMMAND"))
    call = parser.parse_args()
    try:
        return int(call.run(call))
    except ConfigError as fault:
        sys.stderr.writelines(f"error: {problem}\n" for problem in fault.problems)
    except ModelError as fault:
        sys.stderr.write(f"error: {fault}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
