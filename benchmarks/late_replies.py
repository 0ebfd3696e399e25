"""10,000 polls with late replies at random, in order and overtaking, on RTU and RTU over TCP: how many wrong values.

The device answers most requests in time, some up to eight time-outs late (beyond any bound that is configured), some
never; a walled one refuses every register beside those asked for. Every register holds another value, so that a wrong
one is seen. `python -m benchmarks.late_replies 500` makes a short run.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter

from agent.driver import Span
from agent.drivers.modbus import ModbusDriver
from agent.spec import LineSpec
from benchmarks.result import keep
from tests.agent.slaves import RtuSlave, RtuTcpSlave, words
from wire.errors import FieldError, LineDown

POLLS = 10_000
TIMEOUT_S = 0.01
SPANS = [Span("holding", a, n) for a in (0, 10, 20, 30) for n in (2, 2, 5)] + [Span("input", a, 2) for a in (0, 10)]

WAYS = (("in_order", False, False), ("overtaking", True, False), ("overtaking_walled", True, True))


def line(slave: RtuSlave) -> LineSpec:
    if isinstance(slave, RtuTcpSlave):
        return LineSpec("far", "modbus-rtu-tcp", slave.host, slave.tcp_port, timeout_s=TIMEOUT_S, quiet_s=0.003)
    return LineSpec("bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=TIMEOUT_S, quiet_s=0.003)


def beyond(table: str, address: int, count: int) -> bool:
    """What a walled device refuses: all but the registers of SPANS."""
    return address % 10 + count > 5


async def polled(kind: type[RtuSlave], overtakes: bool, walled: bool, polls: int, seed: int) -> Counter[str]:
    """right, wrong, failed: polls. rejected: late answers that were kept away from the values."""
    dice, asked = random.Random(seed), random.Random(seed + 1)

    def delay_s(_: int) -> float | None:
        roll = dice.random()
        if roll < 0.8:
            return dice.uniform(0.0, 0.3 * TIMEOUT_S)
        if roll < 0.9:
            return dice.uniform(TIMEOUT_S, 1.5 * TIMEOUT_S)
        return dice.uniform(1.5 * TIMEOUT_S, 8 * TIMEOUT_S) if roll < 0.98 else None

    found: Counter[str] = Counter(right=0, wrong=0, failed=0)
    async with kind(delay_s, units=frozenset({1, 2}), overtakes=overtakes) as slave:
        if walled:
            slave.illegal = beyond
        driver = ModbusDriver(line(slave), lambda: 0)
        await driver.open()
        for _ in range(polls):
            span = asked.choice(SPANS)
            try:
                answer = await driver.read(asked.choice([1, 2]), span)
            except LineDown:
                found["failed"] += 1
                await driver.open()
            except FieldError:
                found["failed"] += 1
            else:
                right = list(answer.words) == words(span.table, span.address, span.count)
                found["right" if right else "wrong"] += 1
        found["rejected"] = driver.late
        await driver.close()
    return found


def main() -> int:
    polls = int(sys.argv[1]) if len(sys.argv) > 1 else POLLS
    figures: dict[str, object] = {"polls_each": polls, "timeout_ms": TIMEOUT_S * 1000, "latest_answer_ms": 80}
    began = time.monotonic()
    wrong = 0
    for name, kind in (("rtu", RtuSlave), ("rtu_over_tcp", RtuTcpSlave)):
        for order, overtakes, walled in WAYS:
            found = asyncio.run(polled(kind, overtakes, walled, polls, seed=len(figures)))
            wrong += found["wrong"]
            figures |= {f"{name}_{order}_{what}": count for what, count in found.items()}
    keep("late_replies", figures | {"wrong": wrong, "seconds": round(time.monotonic() - began)})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
