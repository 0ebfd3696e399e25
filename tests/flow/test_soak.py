"""Two minutes of a whole plant with every fault of the simulator at random; `make soak` is the same for half an hour.

What so short a run shows of memory: nothing that grows by more than LEAK_MB a minute, which is some 150 bytes for each
sample. A process is still settling then (first births, first outage, first models), so that the promise of less than
2 MB in 20 minutes is only judged by the long form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import LEAK_MB, run
from benchmarks.soak_judge import shortcomings, trend
from benchmarks.soak_site import EVERY_KIND

SECONDS, SEED = 100.0, 9


def test_every_fault_at_random_kills_no_task_loses_no_sample_and_makes_no_value_wrong(tmp_path: Path) -> None:
    figures, soak = run(tmp_path, SECONDS, SEED, lambda text: None, lambda now, status: None)
    print(json.dumps(figures, indent=1))
    assert shortcomings(figures, LEAK_MB) == [], soak.gateway.last_words(20)
    assert set(figures["fault_windows"]) == EVERY_KIND
    assert figures["values"]["modbus"]["checked"] > 20_000 and figures["values"]["framed"]["checked"] > 2_000
    assert figures["polls"]["late_rejected"] > 0 and figures["polls"]["garbled"] > 0
    assert {"broker killed", "broker frozen", "host killed", "site.yaml changed"} <= set(figures["disturbances"])
    assert figures["writes"]["done"] > 5 and figures["writes"]["mismatch"] > 0


def test_the_trend_of_memory_is_that_of_the_last_two_thirds_and_an_outlier_is_none() -> None:
    climbing = [(float(s), 100 + max(0, s - 300) * 0.01) for s in range(900)]
    found = trend(climbing, 60.0)
    assert 5.5 < found["growth_mb"] < 6.5 and 4.9 < found["span_mb"] < 6.1
    first_third = [(float(s), 50.0 if s < 300 else 100.0 + 30 * (s % 97 == 0)) for s in range(900)]
    assert trend(first_third, 60.0) == {"start_mb": 100.0, "end_mb": 100.0, "growth_mb": 0.0, "span_mb": 0.0}


def sound() -> dict[str, Any]:
    waits = {"pauses": 400, "beyond": 1, "worst_ms": 1400, "allowed_ms": 1300, "period_ms": 1000}
    right = {"checked": 5000, "wrong": 0, "examples": []}
    return {
        "memory": {"gateway": {"growth_mb": 0.4, "span_mb": 1.0}},
        "restarts": {},
        "tracebacks": {"gateway": 0},
        "exit_code": 0,
        "silent_at_end": {},
        "balance": {"ok": True, "produced": 9, "stored": 9, "lost": 0, "in_flight": 0},
        "produced_by_outbox": 9,
        "values": {"modbus": right, "framed": right},
        "fault_windows": dict.fromkeys(EVERY_KIND, 1),
        "neighbours": {"bus": waits},
    }


def test_a_sound_soak_has_no_shortcomings() -> None:
    assert shortcomings(sound(), 2.0) == []


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("memory.gateway.growth_mb", 2.1, "memory is not flat"),
        ("memory.gateway.span_mb", 2.1, "memory is not flat"),
        ("restarts", {"line bus": 1}, "a task died"),
        ("tracebacks.gateway", 1, "a task died"),
        ("exit_code", 1, "a task died"),
        ("silent_at_end", {"meter": "dead"}, "not polled to the end"),
        ("balance.ok", False, "the balance does not hold"),
        ("balance.in_flight", 3, "the balance does not hold"),
        ("produced_by_outbox", 10, "the outbox counted 10 produced, the host 9"),
        ("values.modbus", {"checked": 5000, "wrong": 1}, "modbus"),
        ("values.framed", {"checked": 3, "wrong": 0}, "framed"),
        ("fault_windows", dict.fromkeys(EVERY_KIND - {"late"}, 1), "faults that never came: late"),
        ("neighbours.bus.beyond", 5, "beyond period and reserve"),
        ("neighbours.bus.worst_ms", 2301, "a neighbour on bus was left out"),
    ],
)
def test_each_promise_that_does_not_hold_is_said(place: str, value: object, told: str) -> None:
    figures = sound()
    *way, last = place.split(".")
    here = figures
    for key in way:
        here[key] = here = dict(here[key])
    here[last] = value
    [problem] = shortcomings(figures, 2.0)
    assert told in problem
