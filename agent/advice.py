"""Why a line's plan cannot be kept, and what would make it fit: each change is planned before it is told. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.load import LineLoad, line_load
from agent.spec import DeviceSpec, LineSpec

# Faster ones exist, but few devices on a bus know them.
_BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
# A time-out below this takes a device that is busy for one that is gone; nor may it end before the answer has.
_SHORTEST_TIMEOUT_S, _ANSWERS = 0.05, 1.2


def misfits(line: LineSpec, load: LineLoad) -> Iterator[str]:
    """Why the plan is refused: too much for its period, or no room for one fault where that is wanted."""
    if not load.requests or _fits(line, load):
        return
    if load.least_cycle_s > load.period_s:
        many = f"{len(load.requests)} requests" if len(load.requests) > 1 else "1 request"
        why = (
            f"{many}: cycle {_s(load.least_cycle_s)} of {_s(load.period_s)}, "
            f"load {100 * load.least_cycle_s / load.period_s:.0f} %"
        )
        options = [*_options(line, load), _rarer(line, load)]
    else:
        why = f"no room for a fault: {_sum(load)}"
        options = [*_options(line, load), "accept it with fault_reserve: false on the line (see docs/site-yaml.md)"]
    yield f"line {line.name}: {why}; to make it fit, {_either(options)}"


def tight(line: LineSpec, load: LineLoad) -> Iterator[str]:
    """Where a plan without room for a fault was accepted."""
    if line.fault_reserve or load.least_cycle_s > load.period_s or load.with_fault_s <= load.period_s:
        return
    options = _options(replace(line, fault_reserve=True), load)
    more = f"; to make room, {_either(options)}" if options else ""
    yield (
        f"line {line.name}: no room for a fault: {_sum(load)}; accepted by fault_reserve: false: while a device is "
        f"silent the others are late, {line.silent_polls} times and then once in {line.probe_s:g} s{more}"
    )


def _fits(line: LineSpec, load: LineLoad) -> bool:
    return (load.with_fault_s if line.fault_reserve else load.least_cycle_s) <= load.period_s


def _would_fit(line: LineSpec, load: LineLoad) -> bool:
    """The changed line, planned as a whole."""
    return bool(line.devices) and _fits(line, line_load(line, load.learned))


def _sum(load: LineLoad) -> str:
    return (
        f"cycle {_s(load.least_cycle_s)} + reserve {_s(load.reserve_s)} for one silent device = "
        f"{_s(load.with_fault_s)} of {_s(load.period_s)}"
    )


def _options(line: LineSpec, load: LineLoad) -> list[str]:
    return [
        *_longer_period(line, load), *_shorter_timeout(line, load), *_faster(line, load), *_fewer(line, load),
    ]  # fmt: skip


def _longer_period(line: LineSpec, load: LineLoad) -> Iterator[str]:
    tried = line
    for _ in range(20):  # a longer period may join requests of two periods, or part what it has joined
        now = line_load(tried, load.learned)
        if _fits(tried, now):
            yield f"set period_s to at least {now.period_s:g}"
            return
        tried = replace(
            line, devices=tuple(_slower(d, _up(max(now.with_fault_s, now.period_s * 1.02))) for d in line.devices)
        )


def _slower(device: DeviceSpec, least_s: float) -> DeviceSpec:
    points = tuple(p if p.period_s is None else replace(p, period_s=max(p.period_s, least_s)) for p in device.points)
    return replace(device, period_s=max(device.period_s, least_s), points=points)


def _shorter_timeout(line: LineSpec, load: LineLoad) -> Iterator[str]:
    if not load.reserve_s or not line.fault_reserve:
        return
    most_s = _down(load.period_s - load.least_cycle_s - (load.reserve_s - line.timeout_s))
    longest_s = max(r.least_s for r in load.requests)
    if most_s >= max(_SHORTEST_TIMEOUT_S, _ANSWERS * longest_s) and _would_fit(replace(line, timeout_s=most_s), load):
        yield f"set timeout_s to at most {most_s:g}"


def _faster(line: LineSpec, load: LineLoad) -> Iterator[str]:
    if line.driver == "modbus-tcp":
        return
    for rate in _BAUD_RATES:
        if rate > line.baud and _would_fit(replace(line, baud=rate), load):
            yield f"set baud to at least {rate}, here and in every device"
            return


def _fewer(line: LineSpec, load: LineLoad) -> Iterator[str]:
    costly = sorted(line.devices, key=lambda d: _share(d, load), reverse=True)
    for many in range(1, len(costly)):
        gone: Sequence[DeviceSpec] = costly[:many]
        rest = tuple(d for d in line.devices if d not in gone)
        if _would_fit(replace(line, devices=rest), load):
            names = ", ".join(d.id for d in gone)
            yield f"move {names} to another line or remove {'it' if many == 1 else 'them'}"
            return


def _rarer(line: LineSpec, load: LineLoad) -> str:
    slowest = max(line.devices, key=lambda d: _share(d, load))
    share_s = _share(slowest, load) * load.period_s
    return (
        f"give tags that change rarely a period_s of their own (most time, {_s(share_s)}, goes to device {slowest.id})"
    )


def _share(device: DeviceSpec, load: LineLoad) -> float:
    return sum(r.least_s / r.period_s for r in load.requests if r.device == device.id)


def _either(options: Sequence[str]) -> str:
    return ", or ".join(options)


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def _up(seconds: float) -> float:
    """The next number of two digits, a little above."""
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return float(f"{math.ceil(seconds * 1.001 / step) * step:.6g}")


def _down(seconds: float) -> float:
    return math.floor(seconds * 100) / 100
