"""What a card shows: values, quality in words, state, charts."""

from __future__ import annotations

from cloud.live import LiveValues
from cloud.web.texts import Texts
from cloud.web.view import card, cards, layout
from tests.cloud.web.plant_values import METER, NODE, NOW_MS, PARK, hear, machine, only, said
from wire.block import Quality, Reason
from wire.tag import Asset, Datatype

T = Texts()


def test_a_machines_card_leads_with_the_models_inputs_and_its_score() -> None:
    shown = card(machine(LiveValues(), off=True), NOW_MS, T)
    assert shown.state == "anomaly"
    assert [(r.label, r.text, r.unit) for r in shown.tiles] == [
        ("temperature", "96.5", "°F"),
        ("speed", "1\u202f475", "rpm"),
    ]
    assert shown.score is not None and shown.score.text == "4.20"
    assert [(s.label, s.percent) for s in shown.shares] == [("temperature", 81), ("speed", 19)]
    score, temperature, _ = shown.charts
    assert [line.role for line in score.lines] == ["value", "threshold"] and score.from_zero
    assert temperature.axis == "temperature (°F)" and temperature.asset == "m1"


def test_without_an_anomaly_a_machine_is_normal_and_while_warming_up_says_so() -> None:
    assert card(machine(LiveValues(), off=False), NOW_MS, T).state == "ok"
    live = LiveValues()
    machine(live, off=False)
    score = said("score", 0.0, measures="score", quality=Quality.UNCERTAIN, reason=Reason.WARMING_UP)
    hear(live, "m1", Asset("m1", "Machine 1", "machine"), score, ts_ms=NOW_MS + 1)
    assert card(only(live, "m1"), NOW_MS, T).state == "warming"


def test_a_bad_value_is_told_with_its_reason_and_shows_no_number() -> None:
    live = LiveValues()
    hear(live, "plc", None, said("flow", None, "m3/h", quality=Quality.BAD, reason=Reason.TIMEOUT))
    shown = card(only(live, "plc"), NOW_MS, T)
    (r,) = shown.tiles
    assert shown.state == "bad" and shown.kind == "other"
    assert (r.text, r.unit, r.quality, r.why) == ("no value", "", "bad", "the device did not answer in time")


def test_an_uncertain_value_is_shown_and_doubted() -> None:
    live = LiveValues()
    hear(live, "plc", None, said("t", 400.0, "Cel", quality=Quality.UNCERTAIN, reason=Reason.OUT_OF_RANGE))
    shown = card(only(live, "plc"), NOW_MS, T)
    (r,) = shown.tiles
    assert shown.state == "uncertain" and r.text == "400.0" and r.quality == "uncertain" and "range" in r.why


def test_a_device_that_is_gone_keeps_its_last_value_and_says_so() -> None:
    live = LiveValues()
    hear(live, "plc", None, said("t", 20.0, "Cel"))
    live.stale(NODE, "plc")
    shown = card(only(live, "plc"), NOW_MS + 90_000, T)
    (r,) = shown.tiles
    assert shown.state == "stale" and (r.text, r.quality, r.age) == ("20.0", "bad", "90 s ago")
    assert (r.quality_text, r.why) == ("last known value", "not heard any more")


def test_a_car_park_shows_its_spaces_once() -> None:
    live = LiveValues()
    u16 = Datatype.UINT16
    told = [said("capacity", 100, "", "capacity", u16), said("free_spaces", 8, "", "free_spaces", Datatype.INT16)]
    hear(live, "park-plc", PARK, *told)
    shown = card(only(live, "park"), NOW_MS, T)
    assert shown.spaces is not None and (shown.spaces.free, shown.spaces.taken, shown.spaces.percent) == (8, 92, 92)
    assert shown.state == "full" and shown.tiles == () and len(shown.charts) == 1
    assert shown.free is not None and shown.free.text == "8" and [r.label for r in shown.rest] == ["capacity"]


def test_a_counter_that_drifted_below_zero_is_shown_as_it_is_and_the_bar_stays_whole() -> None:
    live = LiveValues()
    told = [said("capacity", 100, "", "capacity", Datatype.UINT16), said("free_spaces", -3, "", "free_spaces")]
    hear(live, "park-plc", PARK, *told)
    shown = card(only(live, "park"), NOW_MS, T)
    assert shown.spaces is not None and shown.spaces.free == -3 and shown.spaces.percent == 100


def test_a_meters_power_leads_and_its_texts_have_no_chart() -> None:
    live = LiveValues()
    serial = said("serial", "A17", kind=Datatype.STRING)
    hear(live, "m", METER, said("voltage", 230.0, "V"), serial, said("p", 41.0, "kW", "power"))
    shown = card(only(live, "meter"), NOW_MS, T)
    assert [r.label for r in shown.tiles] == ["p"] and {r.label for r in shown.rest} == {"voltage", "serial"}
    assert not shown.measures_energy and [c.title for c in shown.charts] == ["P"]


def test_the_layout_changes_with_tags_and_not_with_values() -> None:
    live = LiveValues()
    machine(live, off=False)
    before = layout(cards(live.assets(), NOW_MS, T))
    machine(live, off=True)
    assert layout(cards(live.assets(), NOW_MS, T)) == before
    hear(live, "new", None, said("x", 1.0))
    found = cards(live.assets(), NOW_MS, T)
    assert layout(found) != before and [c.kind for c in found] == ["machine", "other"]


def test_what_belongs_to_the_edge_node_itself_is_no_asset() -> None:
    live = LiveValues()
    live.born(NODE, "", [("Delivery/Protocol", Datatype.STRING, {})])
    assert cards(live.assets(), NOW_MS, T) == []
