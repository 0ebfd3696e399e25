"""What a run's report says per device and gateway."""

from __future__ import annotations

from firmware_sim.demo.report import gaps_of, reconcile

OUT = {"stored": 0, "dead_letters": 0, "dropped": 0, "in_flight": 0, "collided": 0}


def test_duplicates_are_told_per_device_and_per_gateway() -> None:
    told = {**OUT, "produced": 9, "suppressed": 0, "stored": 9, "lost": 0, "duplicates": 2}
    balance = {
        **told,
        "devices": {"demo-plant/gw/meter": told, "demo-plant/gw/road": {**told, "duplicates": 0}},
        "gateways": {"demo-plant/gw": {**told, "stored": 18, "duplicates": 3, "gaps": 1}},
    }
    counters = {"meter": {"produced": 9, "suppressed": 1}, "road": {"produced": 10, "suppressed": 0}}
    found = reconcile({**balance, "stored": 18}, counters, "gw")
    assert {name: entry["duplicates"] for name, entry in found["devices"].items()} == {"meter": 2, "road": 0}
    assert {name: entry["lost"] for name, entry in found["devices"].items()} == {"meter": 0, "road": 1}
    assert found["gateways"]["gw"] | {"produced": 19, "lost": 1, "duplicates": 3, "gaps": 1} == found["gateways"]["gw"]
    assert found["lost"] == 1


def test_a_gap_belongs_to_the_devices_of_its_lines_and_to_the_assets_scored_from_them() -> None:
    site = {
        "devices": [{"id": "press", "line": "plc"}, {"id": "meter", "line": "bus"}],
        "assets": [{"id": "press-1", "devices": ["press"]}],
    }
    records = [{"lines": [{"line": "plc"}]}, {"lines": [{"line": "plc"}, {"line": "bus"}]}, {"lines": []}]
    assert {device: gaps_of(device, site, records) for device in ("press", "meter", "press-1", "other")} == {
        "press": 2, "meter": 1, "press-1": 2, "other": 0,
    }  # fmt: skip
