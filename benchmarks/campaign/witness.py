"""The witness: what the simulator served against the rows of the database. It asks none of the product's counters.

Every answer of the campaign's devices bears a value of its own (a counter of milliseconds), so that each can be looked
for by name. An answer is *lost* when it was served to a running gateway and is not stored, outside the moment before a
kill that docs/delivery.md allows; a row is *doubled* when its answer or its stamp was stored before; it is *wrong* when
its value was never served near its stamp.
"""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.demo.host_api import Row
from firmware_sim.demo.witness import EARLY_MS, LATE_MS

COMMIT_MS, PERIOD_MS = 250, 100
# A commit is not free: the window closes, then SQLite writes and syncs. What the machine itself was late by at the
# time of the kill is measured by the metronome and comes on top.
SYNC_MS = 150
FLYING_MS = 60  # an answer may be on its way to a process that is killed
LATEST_ANSWER_MS = 1500  # the gateway's time-out and a moment: then an answer is a BAD row

Key = tuple[str, str]  # device, tag
Served = Mapping[Key, Sequence[tuple[int, float]]]
Rows = Mapping[Key, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9 of a gateway at a time. late_ms: what the machine was late by just before."""

    at_ms: int
    late_ms: int = 0

    @property
    def allowed_ms(self) -> int:
        return COMMIT_MS + PERIOD_MS + SYNC_MS + self.late_ms


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop on purpose: the one answer that each device was giving is taken or not, but nothing else may go."""

    from_ms: int
    to_ms: int


@dataclass(slots=True)
class Finding:
    """Samples of one round. missing: answers that are not stored and not excused, as (device, tag, served at).

    gap_ms: the longest time before a kill whose answers are gone; gone: those answers, as (device, served at).
    """

    samples: int = 0
    missing: list[tuple[str, str, int]] = field(default_factory=list)
    doubled: int = 0
    wrong: int = 0
    bad: int = 0
    gap_ms: int = 0
    gone: list[tuple[str, int]] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return len(self.missing)


class Truth:
    """The simulator's file, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self.served: dict[Key, list[tuple[int, float]]] = defaultdict(list)

    def read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                entry = json.loads(line)
                if entry["kind"] == "served":
                    for signal, value in entry["values"].items():
                        self.served[entry["device"], signal].append((int(entry["t_ms"]), float(value)))

    def forget(self, before_ms: int) -> None:
        for key, answers in self.served.items():
            self.served[key] = answers[bisect_left(answers, (before_ms, 0.0)) :]


def find(
    served: Served, rows: Rows, from_ms: int, to_ms: int, kills: Sequence[Kill] = (), stops: Sequence[Stop] = ()
) -> Finding:
    """Answers served in (from_ms, to_ms] against rows. Rows may reach further: they are judged as well."""
    found = Finding()
    for key in served.keys() | rows.keys():
        _find(key, served.get(key, ()), rows.get(key, ()), (from_ms, to_ms), kills, stops, found)
    return found


def _find(
    key: Key,
    answers: Sequence[tuple[int, float]],
    rows: Sequence[Row],
    span: tuple[int, int],
    kills: Sequence[Kill],
    stops: Sequence[Stop],
    found: Finding,
) -> None:
    stored = [row for row in rows if row.value is not None]
    bad = [row.ts_ms for row in rows if row.value is None]
    found.bad += len(bad)
    times, stored_values = dict[float, list[int]](), Counter(row.value for row in stored)
    for t_ms, value in answers:
        times.setdefault(value, []).append(t_ms)
    of_stamp = Counter(row.ts_ms for row in rows)
    again = sum(n - 1 for n in of_stamp.values())
    found.doubled += max(again, sum(max(0, n - len(times[v])) for v, n in stored_values.items() if v in times))
    first_ms = answers[0][0] if answers else span[0]
    for row in stored:
        near = times.get(row.value or 0.0, ())
        if not any(t - EARLY_MS <= row.ts_ms <= t + LATE_MS for t in near) and row.ts_ms >= first_ms + LATE_MS:
            found.wrong += 1
    excused_at_stop: Counter[Stop] = Counter()
    for t_ms, value in answers:
        if not span[0] < t_ms <= span[1]:
            continue
        found.samples += 1
        if value in stored_values or any(t_ms - EARLY_MS <= ts <= t_ms + LATEST_ANSWER_MS for ts in bad):
            continue
        stop = next((s for s in stops if s.from_ms - FLYING_MS <= t_ms <= s.to_ms), None)
        kill = next((k for k in kills if k.at_ms - k.allowed_ms < t_ms <= k.at_ms + FLYING_MS), None)
        if kill is not None:
            start_ms = max((k.at_ms + FLYING_MS for k in kills if k.at_ms < kill.at_ms), default=0)
            found.gap_ms = max(found.gap_ms, _gap_ms(answers, stored_values, t_ms, start_ms))
            found.gone.append((key[0], t_ms))
        elif stop is not None and not excused_at_stop[stop]:
            excused_at_stop[stop] += 1
        else:
            found.missing.append((*key, t_ms))


def _gap_ms(
    answers: Sequence[tuple[int, float]], stored: Mapping[float | None, int], gone_ms: int, start_ms: int
) -> int:
    """From the last stored answer before this one, which is gone, to it.

    start_ms: when this run of the gateway may have begun. One that had stored nothing yet lost at most a period before
    its first answer.
    """
    at = bisect_left(answers, (gone_ms, float("-inf")))
    first_ms = gone_ms
    for t_ms, value in reversed(answers[:at]):
        if t_ms <= start_ms:
            break
        if value in stored:
            return gone_ms - t_ms
        first_ms = t_ms
    return gone_ms - first_ms + PERIOD_MS


def unrecorded(
    gone: Sequence[tuple[str, int]], gaps: Sequence[Mapping[str, object]], line_of: Mapping[str, str]
) -> int:
    """Answers that are gone and stand in no gap record of their line. Stamps are taken after serving."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for gap in gaps:
        lines = gap["lines"]
        if not isinstance(lines, list):
            raise TypeError(f"not a gap record: {gap}")
        for each in lines:
            if each["last_poll_ms"] is not None:
                spans[each["line"]].append((each["last_poll_ms"], each["first_new_ms"] or 2**62))
    return sum(
        not any(begin - LATE_MS <= t_ms <= end for begin, end in spans[line_of[device]]) for device, t_ms in gone
    )


class Metronome:
    """How late this machine is: a thread that sleeps, writes and syncs, and notes what that took too long."""

    _BEAT_S = 0.05

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metronome"
        self._late: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self._path.unlink(missing_ok=True)

    def late_ms(self, of_last_s: float = 2.0) -> int:
        """The worst of the last seconds."""
        since = time.monotonic() - of_last_s
        return round(1000 * max((late for at, late in self._late[-200:] if at >= since), default=0.0))

    def _run(self) -> None:
        with self._path.open("wb") as file:
            while not self._ended.is_set():
                began = time.monotonic()
                time.sleep(self._BEAT_S)
                file.seek(0)
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                now = time.monotonic()
                self._late = [*self._late[-200:], (now, now - began - self._BEAT_S)]
