"""`make campaign`: every fault that delivery must survive, many times, each round judged by a witness of its own.

The whole of it takes up to three hours and may be stopped at any time: the next call goes on where it was, as long as
code, seed and form are the same. `make campaign SHORT=1` is a round or two of each within two minutes. Exit code 1
when a round failed; its folder is kept, and what repeats it alone is printed. 130: stopped before the end.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from benchmarks.campaign import clocks, databases, disks, kills, links, messages, outage, self_test, table, twins
from benchmarks.campaign.family import Family
from benchmarks.campaign.ledger import Ledger, Round
from benchmarks.campaign.runner import CLOSING, Runner, rounds_of
from benchmarks.result import ROOT, commit, keep

FAMILIES: tuple[Family, ...] = (
    *self_test.FAMILIES,
    *kills.FAMILIES,
    *outage.FAMILIES,
    *links.FAMILIES,
    *messages.FAMILIES,
    *disks.FAMILIES,
    *databases.FAMILIES,
    *twins.FAMILIES,
    *clocks.FAMILIES,
)

_LINES = (*kills.FAMILIES, *links.FAMILIES)
_ELSEWHERE = (*outage.FAMILIES, *_LINES, *self_test.FAMILIES, *clocks.FAMILIES)
# In the short form beside each other, each with plants of its own; the long one takes them one by one.
LANES: tuple[Callable[[Family], bool], ...] = (
    lambda family: family in outage.FAMILIES,
    lambda family: family in _LINES,
    lambda family: family in self_test.FAMILIES or family.store == "influx",
    lambda family: family in clocks.FAMILIES,
    lambda family: family.store == "duckdb" and family not in _ELSEWHERE,
)
CODE = ("wire", "agent", "gateway", "cloud", "firmware_sim", "benchmarks/campaign")
"""Rounds count together as long as none of these has changed."""


SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A second one must not end the program, which would leave the servers and gateways of these rounds behind.
STOPS = "stops after the rounds that run now; the same call goes on from there"
STILL = "the rounds that run now are still ending"
STOPPED = 130  # the exit code of what Ctrl-C ended: rounds are left that nobody has judged


class Screen:
    """A bar that is written over on a terminal; in a log a line now and then, and one for each round that failed."""

    def __init__(self) -> None:
        self.rounds = self.done = self._failed = 0

    def __call__(self, ended: Round) -> None:
        self.done += ended.family != CLOSING
        self._failed += not ended.good
        share = min(1.0, self.done / max(1, self.rounds))
        bar = f"[{'#' * int(30 * share):<30}] {self.done} of {self.rounds} rounds, {self._failed} failed"
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[2K{bar}: {ended.family}")
        elif not ended.good or self.done % 10 == 0 or self.rounds < 50:
            print(f"{bar}: {ended.family}, {ended.seconds:g} s")
        for problem in ended.verdict.problems:
            print(f"\n  {ended.family}: {problem}")
        if not ended.good:
            print(f"  kept: {ended.verdict.notes.get('folder', 'nothing')}\n  {again(ended)}")
        sys.stdout.flush()


def again(ended: Round) -> str:
    if ended.family == CLOSING:
        return (
            "the plant's folder holds logs, truth, outbox and database; its rounds stand in the ledger before this one"
        )
    return f"alone: make campaign ONLY={ended.family} SEED={ended.seed}"


def campaign(
    families: Sequence[Family],
    folder: Path,
    base: int,
    short: bool,
    only_seed: int | None = None,
    most: int | None = None,
) -> tuple[dict[str, dict[str, Any]], list[Round]]:
    """Table and rounds, those of an earlier call that was stopped included."""
    run = f"{commit(CODE)}/{base if only_seed is None else only_seed}/{'short' if short else 'long'}"
    ledger = Ledger(folder / "rounds.jsonl", run if only_seed is None else f"{run}/alone")
    if only_seed is None:
        ledger.open()
    screen = Screen()
    lanes = [of for lane in LANES if (of := [f for f in families if lane(f)])] if short else [list(families)]
    runners = [Runner(folder, ledger, base, short, screen, only_seed, most) for _ in lanes]
    screen.rounds = sum(runners[0].count(f) for f in families if not f.unable())
    screen.done = sum(r.family in {f.name for f in families} for r in ledger.rounds)
    asked: list[int] = []  # the signals that came
    before = {number: signal.signal(number, lambda of, _: asked.append(of)) for number in SIGNALS}
    try:
        with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
            running = [pool.submit(runner.run, of) for runner, of in zip(runners, lanes, strict=True)]
            told = 0
            while wait(running, timeout=0.2).not_done:
                if asked or any(lane.done() and lane.exception() for lane in running):
                    for runner in runners:
                        runner.stop()
                for count in range(told, len(asked)):
                    print(f"\n{STILL if count else STOPS}", flush=True)
                told = len(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for lane in running:
        lane.result()
    return table.rows(families, ledger.rounds), ledger.rounds


def main(argv: list[str]) -> int:
    names = [family.name for family in FAMILIES]
    parser = argparse.ArgumentParser(
        prog="make campaign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a round or two of each family")
    parser.add_argument("--only", choices=names, metavar="FAMILY", help=f"one of {', '.join(names)}")
    parser.add_argument("--seed", type=int, help="of the campaign; with --only, of that one round")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most N of each family; 0 only shows what is done")
    parser.add_argument("--fresh", action="store_true", help="forget the rounds that are done")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "campaign", help="ledger and what failed")
    options = parser.parse_args(argv)
    families = [family for family in FAMILIES if options.only in (None, family.name)]
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        (options.folder / "rounds.jsonl").unlink(missing_ok=True)
    alone = options.seed if options.only else None
    found, rounds = campaign(families, options.folder, options.seed or 1, options.short, alone, options.rounds)
    print(f"\n{table.text(found)}\n")
    bad = [r for r in rounds if not r.good]
    if not options.only:
        keep(
            "campaign_short" if options.short else "campaign", {**found, "failed": [again(r) for r in bad]}, quiet=True
        )
    for ended in bad:
        sys.stderr.write(f"error: {ended.family} failed: {ended.verdict.problems[0]}\n  {again(ended)}\n")
    done = Counter(r.family for r in rounds)
    wanted = {f.name: 1 if alone is not None else rounds_of(f, options.short, options.rounds) for f in families}
    left = any(done[f.name] < wanted[f.name] for f in families if not f.unable())
    return 1 if bad else STOPPED if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
