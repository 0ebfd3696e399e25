"""Public benchmarks over the shipped runtime, judged by scorers of others, beside what was published.

`make evaluate` runs `gaugeline models evaluate skab | nab | cmapss` over the folders of DATA, lets the scorers of SCORE
judge what came out, prints one table, and writes it into docs/models.md and benchmarks/results/evaluate.json. What is
not there (a folder, a scorer, a command) is said and left out. Neither data nor scorers are part of Gaugeline.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.result import ROOT, commit, keep

PAGE = ROOT / "docs/models.md"
BEGIN, END = "<!-- evaluate: begin -->", "<!-- evaluate: end -->"
SKAB_DROPS = (0, 40, 80)
# Detectors of NAB's repository over the series of the public half alone.
NAB_PUBLISHED = (("ARTime", 86.0), ("CAD OSE", 78.0), ("Numenta HTM", 74.0))
NAB_PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")
# Of the RMSE in cycles on FD001 with its raw truth few are published; these cap the truth at 125 (or 130) cycles.
# Sources: Zheng et al. 2017 (LSTM), Li, Ding and Sun 2018 (DCNN), Sateesh Babu et al. 2016 (CNN), as cited there.
CMAPSS_PUBLISHED = (
    ("TCNN-Transformer", 11.40),
    ("CNN (2016), truth capped", 18.45), ("LSTM (2017), truth capped", 16.14), ("DCNN (2018), truth capped", 12.61),
)  # fmt: skip


class Skipped(Exception):
    """Something is not there; the text says what."""


@dataclass(frozen=True)
class Line:
    """One line of the table. ours: measured here, else published. score: higher is better, for the order."""

    benchmark: str
    what: str
    figures: str
    ours: bool
    score: float
    note: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", metavar="FOLDER")
    parser.add_argument("--score", type=Path, default=None, metavar="FOLDER", help="of the scorers (DATA/../score)")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="where the table goes")
    parser.add_argument("--only", choices=sorted(BENCHMARKS), default=None)
    call = parser.parse_args(argv)
    score = call.score or call.data.parent / "score"
    lines: list[Line] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as out:
        for name, run in BENCHMARKS.items():
            if call.only in (None, name):
                try:
                    lines += run(call.data / name, score, Path(out) / name)
                except Skipped as why:
                    skipped[name] = str(why)
    for name, text in skipped.items():
        print(f"SKIPPED {name}: {text}")
    if not lines:
        print("nothing was measured")
        return 1
    print(table(lines))
    write(call.page, lines, skipped)
    keep("evaluate", {"lines": [asdict(line) for line in lines if line.ours], "skipped": skipped}, quiet=True)
    return 0


def skab(data: Path, scorers: Path, out: Path) -> list[Line]:
    there(data)
    lines = []
    for drop in SKAB_DROPS:
        made = out / str(drop)
        report = gaugeline("skab", "--data", data, "--out", made, "--drop", drop)
        said = judged(scorers / "score_skab.py", "--data", data, "--pred", made, "--drop", drop)
        text = f"F1 {said['f1']:.3f}, false alarms {said['far']:.1f} %, missed {said['mar']:.1f} %"
        note = f"{said['segments_detected']} of {said['segments']} faults found, {said['files']} files"
        what = "Gaugeline" + (f", first {drop} rows removed" if drop else "")
        lines.append(Line("SKAB", what, text, True, said["f1"], note))
        for each in report["per_file"] if not drop else ():
            if each["f1"] is None:
                text, note = f"false alarms {each['alarm_percent']:.1f} %", f"{each['alarms']} in {each['rows']} rows"
                lines.append(Line("SKAB", f"Gaugeline, {each['file']} (nothing is wrong)", text, True, 0.0, note))
    board = data / "leaderboard_outlier.csv"
    if board.is_file():
        with board.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                text = f"F1 {float(row['f1']):.3f}, false alarms {row['far_pct']} %, missed {row['mar_pct']} %"
                lines.append(Line("SKAB", row["algorithm"], text, False, float(row["f1"]), row["note"]))
    return lines


def nab(data: Path, scorers: Path, out: Path) -> list[Line]:
    there(data)
    threshold = gaugeline("nab", "--data", data, "--out", out)["threshold"]
    lines = []
    for profile in NAB_PROFILES:
        said = judged(
            scorers / "score_nab.py", "--data", data, "--labels", data / "combined_windows.json", "--pred", out,
            "--profile", profile, "--threshold", threshold,
        )  # fmt: skip
        note = f"{said['windows_detected']} of {said['windows']} windows, {said['files']} files"
        lines.append(Line("NAB", f"Gaugeline, {profile}", f"{said['score']:.1f}", True, said["score"], note))
    lines += [
        Line("NAB", name, f"{score:.0f}", False, score, "standard profile, these series")
        for name, score in NAB_PUBLISHED
    ]
    board = data / "published_final_results.json"
    if board.is_file():
        for name, scores in json.loads(board.read_text(encoding="utf-8")).items():
            text = f"{scores['standard']:.1f}"
            lines.append(Line("NAB", name, text, False, scores["standard"], "standard profile, all 58 files"))
    return lines


def cmapss(data: Path, scorers: Path, out: Path) -> list[Line]:
    there(data)
    files = {name: next(iter(sorted(data.glob(f"{name}_FD001.txt*"))), None) for name in ("train", "test", "RUL")}
    if missing := [name for name, file in files.items() if file is None]:
        raise Skipped(f"{data} has no {', '.join(f'{name}_FD001.txt' for name in missing)}")
    out.mkdir(parents=True)
    gaugeline("cmapss", "--train", files["train"], "--test", files["test"], "--out", out / "FD001.csv")
    said = judged(scorers / "score_rul.py", "--truth", files["RUL"], "--pred", out)
    raw, capped = said["raw"], said["capped_125"]
    note = f"{said['units']} engines; {raw['within_10'] * 100:.0f} % within 10 cycles"
    if "interval_coverage" in said:
        share, width = said["interval_coverage"], said["interval_mean_width"]
        note += f"; the interval holds {100 * share:.0f} %, {width:.0f} cycles wide"
    lines = []
    for what, part in (("Gaugeline, raw truth", raw), ("Gaugeline, truth capped at 125", capped)):
        text = f"RMSE {part['rmse']:.2f}, NASA score {part['nasa_score']:.0f}"
        lines.append(Line("C-MAPSS FD001", what, text, True, -part["rmse"], note))
    return lines + [Line("C-MAPSS FD001", name, f"RMSE {rmse:.2f}", False, -rmse) for name, rmse in CMAPSS_PUBLISHED]


BENCHMARKS: dict[str, Callable[[Path, Path, Path], list[Line]]] = {"skab": skab, "nab": nab, "cmapss": cmapss}


def there(folder: Path) -> None:
    if not folder.is_dir():
        raise Skipped(f"there is no folder {folder}")


def gaugeline(benchmark: str, *options: object) -> dict[str, Any]:
    """What the command reports. Raises Skipped when it cannot be run, with its last word."""
    command = [sys.executable, "-m", "gaugeline", "models", "evaluate", benchmark, *map(str, options), "--json"]
    print(f"running {benchmark} {' '.join(map(str, options))}", file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Skipped(f"`gaugeline models evaluate {benchmark}` ended with {done.returncode}: {''.join(last)}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def judged(scorer: Path, *options: object) -> dict[str, Any]:
    """What a scorer says, as JSON. Raises Skipped."""
    if not scorer.is_file():
        raise Skipped(f"there is no scorer {scorer}")
    command = [sys.executable, str(scorer), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"{scorer.name} ended with {done.returncode}: {''.join(done.stderr.strip().splitlines()[-1:])}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(lines: Sequence[Line]) -> str:
    """Markdown, each benchmark in the order of its score; ours in bold."""
    rows = ["| benchmark | method | result | remark |", "| --- | --- | --- | --- |"]
    order = {name: i for i, name in enumerate(dict.fromkeys(line.benchmark for line in lines))}
    for line in sorted(lines, key=lambda each: (order[each.benchmark], -each.score)):
        mark = "**" if line.ours else ""
        rows.append(f"| {line.benchmark} | {mark}{line.what}{mark} | {mark}{line.figures}{mark} | {line.note} |")
    return "\n".join(rows)


def write(page: Path, lines: Sequence[Line], skipped: dict[str, str]) -> None:
    """Puts the table between the page's marks."""
    if not page.is_file() or BEGIN not in (text := page.read_text(encoding="utf-8")):
        print(f"{page} has no place for the table ({BEGIN})")
        return
    when = datetime.now(UTC).date().isoformat()
    said = (
        f"Measured {when} at commit {commit()}, on the files that were there. What is not in bold was published by\n"
        f"others, on all files of its benchmark.\n\n{table(lines)}\n"
    )
    if skipped:
        said += f"\nNot measured: {', '.join(sorted(skipped))}.\n"
    place = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.S)
    page.write_text(place.sub(lambda _: f"{BEGIN}\n{said}{END}", text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
