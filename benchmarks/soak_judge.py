"""What a soak has shown: memory's trend, the balance, every value against the truth, every unit, every neighbour."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from benchmarks.soak_run import Soak
from benchmarks.soak_site import EVERY_KIND, MACHINES, PERIOD_S, UNITS
from firmware_sim.demo.witness import Comparison, Served, compare, read_truth, standstills

LINK_WIDE = ("dropped", "half_open", "one_connection")
AFTER_MS = 4000  # a unit that was given up is probed every 3 s: until then its fault has not ended for the line
STALL_MS = 150
SOUND_MS = 8000  # and a second probe may be needed before it counts as sound itself
BEYOND = 0.01  # of the pauses: a shared machine is late now and then
VALUE_KINDS = ("stuck", "drift", "spike", "noise", "step", "write_ignored", "write_clamped")
Window = tuple[int, int]


def trend(samples: Sequence[tuple[float, float]], bin_s: float) -> dict[str, float]:
    """Of the last two thirds: medians of bins, their Theil-Sen slope times the duration, and highest minus lowest.

    samples: (second, MB). In MB; growth_mb is what the slope makes of the two thirds.
    """
    first_s, last_s = samples[0][0], samples[-1][0]
    begin_s = first_s + (last_s - first_s) / 3
    bins: dict[int, list[float]] = defaultdict(list)
    for second, megabytes in samples:
        if second >= begin_s:
            bins[int((second - begin_s) // bin_s)].append(megabytes)
    points = [(at * bin_s, statistics.median(each)) for at, each in sorted(bins.items()) if len(each) >= bin_s / 2]
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2)]
    medians = [m for _, m in points]
    return {
        "start_mb": round(medians[0], 2),
        "end_mb": round(medians[-1], 2),
        "growth_mb": round(statistics.median(slopes) * (last_s - begin_s), 2) if slopes else 0.0,
        "span_mb": round(max(medians) - min(medians), 2),
    }


class Truth:
    """The simulator's record of the run, read once."""

    def __init__(self, path: Path) -> None:
        self.served: Served = defaultdict(list)
        self.answers: dict[str, list[int]] = defaultdict(list)  # device -> when its first row was served
        self.windows: dict[str, dict[str, list[Window]]] = defaultdict(lambda: defaultdict(list))
        self.struck: Counter[str] = Counter()
        self.stalls: list[Window] = []  # when nobody answered anything: the gateway or the machine stood still
        before = 0
        for entry in read_truth(path):
            if entry["kind"] == "served":
                self._serve(entry)
                at = int(entry["t_ms"])
                self.stalls += [(before, at)] if before and at - before > STALL_MS else []
                before = max(before, at)
            elif entry["kind"] == "marred":
                self.struck[entry["name"]] += 1
            elif entry["kind"] == "fault" and entry["to_ms"] is not None:
                self.windows[entry["device"]][entry["name"]].append((entry["from_ms"], entry["to_ms"]))

    def _serve(self, entry: dict[str, Any]) -> None:
        for signal, value in entry["values"].items():
            if not isinstance(value, str):
                self.served[entry["device"], signal].append((int(entry["t_ms"]), float(value)))
        if "near1" in entry["values"]:
            self.answers[entry["device"]].append(int(entry["t_ms"]))

    def kinds(self) -> Counter[str]:
        """How many windows of each kind of fault there were; the recordings' own failures are none of ours."""
        return Counter(
            kind
            for faults in self.windows.values()
            for kind, each in faults.items()
            if kind in EVERY_KIND
            for _ in each
        )


def compared(soak: Soak, truth: Truth) -> dict[str, Any]:
    """Every stored value of a tag that the simulator serves; Modbus and framed lines apart."""
    modbus, framed = Comparison(), Comparison()
    stored = {
        (tag["device"], tag["name"]): soak.api.raw_series(tag, soak.seen.started_ms, soak.seen.ended_ms + 60_000)
        for tag in soak.api.tags()
        if (tag["device"], tag["name"]) in truth.served
    }
    still = standstills(row.ts_ms for series in stored.values() for row in series)
    for (device, name), series in stored.items():
        # Of a text tag the values are None: they are not compared.
        into = modbus if device in truth.answers or device in MACHINES else framed
        compare(truth.served, device, name, [(row.ts_ms, row.value) for row in series], into, still)
    rows = sum(map(len, stored.values()))
    return {"modbus": asdict(modbus), "framed": asdict(framed), "rows_read": rows, "standstills": len(still)}


def neighbours(
    truth: Truth, reserves_s: dict[str, float], reloads_ms: Iterable[int], wrote: Iterable[tuple[int, str]]
) -> dict[str, Any]:
    """Pauses between two answers of a sound unit while exactly one other unit of its line was at fault.

    Allowed is the period plus the reserve for one fault. Left out are reloads, which restart a line, writes, which ask
    the faulty unit twice more, and moments at which the whole machine stood still.
    """
    reloads = [(at - 1000, at + 6000) for at in reloads_ms]
    reloads += [(begin - 1000, end + 1000) for begin, end in truth.stalls]
    writes = [(line, (at - 500, at + 2500)) for at, line in wrote]
    found: dict[str, Any] = {}
    for line, count in UNITS.items():
        devices = [f"{line}-{unit}" for unit in range(1, count + 1)]
        allowed_ms = 1000 * (PERIOD_S[line] + reserves_s[line])
        faults = {device: _busy(truth.windows[device], AFTER_MS) for device in devices}
        own = {device: _busy(truth.windows[device], SOUND_MS) for device in devices}
        wide = [w for d in devices for kind in LINK_WIDE for w in truth.windows[d].get(kind, [])]
        if line in ("tcp-a", "conv"):
            wide += [w for d in devices for w in truth.windows[d].get("restart", [])]
        wide = [(begin, end + SOUND_MS) for begin, end in wide] + reloads
        wide += [window for where, window in writes if where == line]
        found_here: list[tuple[int, str, int]] = []
        for device in devices:
            for a, b in pairwise(truth.answers[device]):
                others = sum(_touch(faults[other], a, b) for other in devices if other != device)
                if others == 1 and not _touch(own[device], a, b) and not _touch(wide, a, b):
                    found_here.append((b - a, device, a))
        found_here.sort()
        pauses = [each[0] for each in found_here]
        found[line] = {
            "pauses": len(pauses),
            "period_ms": round(1000 * PERIOD_S[line]),
            "allowed_ms": round(allowed_ms),
            "p50_ms": pauses[len(pauses) // 2] if pauses else None,
            "p99_ms": pauses[int(len(pauses) * 0.99)] if pauses else None,
            "worst_ms": pauses[-1] if pauses else None,
            "beyond": len(pauses) - bisect_left(pauses, allowed_ms + 100),  # 100 ms for a busy machine
            "longest": [list(each) for each in found_here[-3:]],
        }
    return found


def _busy(windows: dict[str, list[Window]], after_ms: int) -> list[Window]:
    kinds = [kind for kind in windows if kind not in VALUE_KINDS and kind not in LINK_WIDE]
    return [(begin, end + after_ms) for kind in kinds for begin, end in windows[kind]]


def _touch(windows: Iterable[Window], begin: int, end: int) -> bool:
    return any(a <= end and begin <= b for a, b in windows)


def units(soak: Soak) -> dict[str, str]:
    """Devices that do not answer at the end, and why; the status was taken when all faults had ended."""
    found: dict[str, str] = {}
    ended_ms = soak.seen.ended_ms
    for line in soak.seen.status["lines"].values():
        for device, unit in line["units"].items():
            age_s = (ended_ms - (unit["last_answer_ms"] or 0)) / 1000
            if unit["state"] != "answering" or age_s > 25:
                found[device] = f"{unit['state']}, last answer {age_s:.0f} s before the end: {unit['last_error']}"
    return found


def judge(soak: Soak, bin_s: float) -> dict[str, Any]:
    """The figures of a soak whose gateway has ended and whose host still answers."""
    seen, balance, outbox = soak.seen, soak.audit(), soak.outbox_status()
    truth = Truth(soak.truth)
    lines = seen.status["lines"].values()
    reloads = [seen.began_ms + int(1000 * at) for at, name in seen.disturbed if name == "site.yaml changed"]
    produced = sum(int(entry["produced"]) for entry in outbox["devices"].values())
    logs = {child.name: child.log.read_text(errors="replace") for child in (soak.gateway, soak.cloud, soak.simulator)}
    return {
        "seconds": round(soak.seconds),
        "seed": soak.seed,
        "memory": {name: trend(each, bin_s) for name, each in seen.memory.items() if len(each) > 6 * bin_s},
        "cpu_percent": seen.cpu_percent,
        "exit_code": seen.exit_code,
        "restarts": seen.status["restarts"],
        "tracebacks": {name: text.count("Traceback") for name, text in logs.items()},
        "silent_at_end": units(soak),
        "produced_by_outbox": produced,
        "balance": {k: balance[k] for k in ("produced", "stored", "dead_letters", "dropped", "in_flight", "collided",
                                            "lost", "suppressed", "refused", "duplicates", "gaps", "ok")},
        "values": compared(soak, truth),
        "polls": {name: sum(line[name] for line in lines) for name in (
            "polls", "answers", "timeouts", "refused", "garbled", "late_rejected", "overruns", "reconnects")},
        "uplink": {k: v for k, v in seen.status["uplink"].items() if isinstance(v, int)},
        "writes": seen.writes,
        "fault_windows": dict(sorted(truth.kinds().items())),
        "answers_struck": dict(sorted(truth.struck.items())),
        "disturbances": dict(Counter(name for _, name in seen.disturbed)),
        "stalls_ms": sorted(end - begin for begin, end in truth.stalls)[-5:],
        "neighbours": neighbours(truth, soak.reserves_s(), reloads, seen.wrote),
    }  # fmt: skip


def shortcomings(figures: dict[str, Any], most_mb: float) -> list[str]:
    """What was promised and did not hold; empty when all did."""
    found = []
    balance, memory, values = figures["balance"], figures["memory"]["gateway"], figures["values"]
    if max(memory["growth_mb"], memory["span_mb"]) > most_mb:
        found.append(f"the gateway's memory is not flat: {memory}")
    if figures["restarts"] or any(figures["tracebacks"].values()) or figures["exit_code"] != 0:
        found.append(f"a task died: {figures['restarts']}, tracebacks {figures['tracebacks']}")
    if figures["silent_at_end"]:
        found.append(f"not polled to the end: {figures['silent_at_end']}")
    if not balance["ok"] or balance["lost"] or balance["in_flight"] or not balance["stored"]:
        found.append(f"the balance does not hold: {balance}")
    if balance["produced"] != figures["produced_by_outbox"]:
        found.append(f"the outbox counted {figures['produced_by_outbox']} produced, the host {balance['produced']}")
    for name in ("modbus", "framed"):
        if values[name]["wrong"] or values[name]["checked"] < 1000:
            found.append(f"{name}: {values[name]}")
    if missing := sorted(EVERY_KIND - set(figures["fault_windows"])):
        found.append(f"faults that never came: {', '.join(missing)}")
    waits = figures["neighbours"]
    beyond, pauses = (sum(each[name] for each in waits.values()) for name in ("beyond", "pauses"))
    if beyond > max(2, pauses * BEYOND):
        found.append(f"neighbours of a faulty unit waited beyond period and reserve: {waits}")
    for line, each in waits.items():
        if (each["worst_ms"] or 0) > each["allowed_ms"] + each["period_ms"]:
            found.append(f"a neighbour on {line} was left out for more than a period: {each}")
    return found
