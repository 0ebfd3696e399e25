"""The comparison of stored values with the truth finds what is wrong, and only that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.demo.report import overlap, reconcile, shortcomings
from firmware_sim.demo.witness import (
    EARLY_MS,
    LATE_MS,
    Comparison,
    compare_all,
    read_truth,
    same,
    served_values,
    standstills,
    true_windows,
)


def served(*answers: tuple[int, float]) -> list[dict[str, object]]:
    return [{"kind": "served", "t_ms": t, "device": "pump", "values": {"flow": v}} for t, v in answers]


def compare(stored: list[tuple[int, float | None]], *answers: tuple[int, float]) -> Comparison:
    return compare_all(served_values(served(*answers)), [("pump", "flow", stored)])


def test_a_value_that_was_served_shortly_before_its_stamp_is_right() -> None:
    found = compare([(1003, 1.5), (2004, None)], (1000, 1.5), (2000, 2.5))
    assert (found.checked, found.wrong) == (1, 0)


@pytest.mark.parametrize("stamp", [1000 - EARLY_MS - 1, 1000 + LATE_MS + 1])
def test_a_value_at_another_time_is_wrong(stamp: int) -> None:
    assert compare([(stamp, 1.5)], (1000, 1.5)).wrong == 1


def test_what_came_while_the_gateway_stood_still_may_be_as_old_as_that_and_no_older() -> None:
    truth = served_values(served((1000, 1.0), (3000, 3.0), (9000, 9.0)))
    still = standstills([9001, 1001, 1001, 2000])
    assert still == [(2000, 9001)]
    for stamp, value, wrong in ((9001, 3.0, 0), (9001, 5.0, 1), (9001 + LATE_MS + 1, 3.0, 1), (9001, 1.0, 0)):
        assert compare_all(truth, [("pump", "flow", [(stamp, value)])], still).wrong == wrong
    assert compare_all(truth, [("pump", "flow", [(9001, 3.0)])]).wrong == 1


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(1e-5, 1.0))
def test_a_value_of_another_register_is_wrong(value: float, off: float) -> None:
    other = value + max(abs(value) * off, off)
    assert compare([(1001, other)], (1000, value)).wrong == 1
    assert compare([(1001, value)], (1000, value)).wrong == 0


def test_a_tag_that_was_never_served_is_wrong_and_an_example_is_kept() -> None:
    found = compare_all(served_values(served((1, 1.0))), [("pump", "pressure", [(5, 2.0)])])
    assert found.wrong == 1
    assert found.examples == [{"device": "pump", "tag": "pressure", "ts_ms": 5, "stored": 2.0, "served": []}]


def test_24_bits_of_a_float_are_the_same_value_and_one_step_of_a_register_is_not() -> None:
    assert same(23.399999618530273, 23.4)
    assert not same(23.41, 23.4)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(json.dumps({"kind": "served", "t_ms": 1}) + '\n{"kind":"ser')
    assert [entry["t_ms"] for entry in read_truth(truth)] == [1]


def test_true_windows_are_cut_to_the_run_and_the_last_word_counts() -> None:
    def fault(begin: int, end: int | None) -> dict[str, object]:
        return {"kind": "fault", "device": "pump", "name": "recorded failure", "from_ms": begin, "to_ms": end}

    entries = [fault(100, None), fault(100, 900), fault(50, 60), fault(950, None)]
    assert true_windows(entries, 80, 1000) == [(100, 900), (950, 1000)]
    assert overlap([(890, 1200)], [(100, 900)])
    assert not overlap([(901, 940)], [(100, 900), (950, 1000)])
    assert not overlap([], [(100, 900)])


def balance(**changes: object) -> dict[str, object]:
    entry = dict.fromkeys(("produced", "suppressed", "stored", "dead_letters", "dropped", "in_flight", "collided"), 0)
    device = {**entry, "produced": 10, "stored": 10, **changes}
    total = {**device, "duplicates": 0, "gaps": 0}
    return {
        **total,
        "devices": {"demo-plant/demo-gateway/pump": device},
        "gateways": {"demo-plant/demo-gateway": total},
    }


def test_produced_is_what_the_outbox_counted_whatever_the_host_believes() -> None:
    counters = {"pump": {"produced": 12, "suppressed": 3}}
    found = reconcile(balance(), counters)
    assert (found["produced"], found["suppressed"], found["lost"]) == (12, 3, 2)
    assert found["devices"]["pump"]["lost"] == 2


def test_a_device_that_the_host_never_heard_of_is_lost_and_not_left_out() -> None:
    counters = {"pump": {"produced": 10, "suppressed": 0}, "fan": {"produced": 5, "suppressed": 0}}
    found = reconcile(balance(), counters)
    assert (found["lost"], found["devices"]["fan"]["lost"]) == (5, 5)


def test_rows_of_an_earlier_run_in_the_same_database_are_not_this_runs() -> None:
    heard = json.loads(json.dumps(balance()).replace("demo-gateway", "demo-gateway-2"))
    found = reconcile(heard, {"pump": {"produced": 10, "suppressed": 0}}, "demo-gateway-2")
    assert (list(found["devices"]), found["lost"]) == (["pump"], 0)


def test_what_falls_short_is_said() -> None:
    good = {**reconcile(balance(), {"pump": {"produced": 10, "suppressed": 0}}), "database": "",
            "values_compared": {"checked": 10, "wrong": 0}, "true_window_hit": True,
            "anomalies": {"detected": [[1, 2]], "true": [[0, 20_000]]}}  # fmt: skip
    assert shortcomings(good) == []
    assert "2 samples are neither stored" in shortcomings({**good, "lost": 2})[0]
    assert "1 dead letters" in shortcomings({**good, "dead_letters": 1})[0]
    assert "nothing was stored" in shortcomings({**good, "stored": 0})[0]
    assert "not noticed" in shortcomings({**good, "true_window_hit": False})[0]
    just_begun = {"detected": [], "true": [[0, 5_000]]}
    assert shortcomings({**good, "true_window_hit": False, "anomalies": just_begun}) == []
    down = {**good, "database": "it does not answer", "in_flight": 7, "lost": None, "stored": None}
    assert [text.startswith("the database was down to the end (it does not answer); 7 samples wait")
            for text in shortcomings(down)] == [True]  # fmt: skip
    assert "3 of 10 stored values" in shortcomings({**good, "values_compared": {"checked": 10, "wrong": 3}})[0]
