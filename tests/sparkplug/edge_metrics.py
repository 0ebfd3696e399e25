"""Checks of metrics: times, aliases, datatypes, properties."""

from __future__ import annotations

from collections.abc import Callable

from tests.sparkplug import spoil
from tests.sparkplug.edge_messages import NEAR_MS
from tests.sparkplug.plant import DEVICES
from tests.sparkplug.recording import VALUES, Event, Json, Recording
from tests.sparkplug.table import check

SCENARIO_MS = 120_000
UNALIASED = {
    "bdSeq",
    "Node Control/Rebirth",
    "Delivery/Confirmed",
    "Delivery/Refill",
    "Delivery/Compression",
    "Delivery/Conflict",
}
FIELD_OF = {
    **dict.fromkeys((1, 2, 3, 5, 6, 7), "intValue"), 4: "longValue", 8: "longValue", 13: "longValue", 9: "floatValue",
    10: "doubleValue", 11: "booleanValue", 12: "stringValue", 14: "stringValue",
}  # fmt: skip
UINT32 = 7  # the witness reads it from another field than the specification's data type table says


def _drop(key: str) -> Callable[[Json], object]:
    return lambda found: found.pop(key)


@check("payloads-timestamp-in-UTC", spoil=spoil.payload(
    spoil.said("host", "NCMD"), lambda p: p.update(timestamp=str(int(p["timestamp"]) + 3_600_000))))  # fmt: skip
def payload_times_are_utc(rec: Recording) -> None:
    for e in [*rec.said("edge"), *rec.said("host", "NCMD")]:
        assert abs(int(e.payload["timestamp"]) - e.at_ms) < NEAR_MS


@check("payloads-metric-timestamp-in-UTC", spoil=spoil.metric(
    spoil.said("edge", "DDATA"), lambda m: m.update(timestamp=str(int(m["timestamp"]) - 3_600_000))))  # fmt: skip
def metric_times_are_utc(rec: Recording) -> None:
    for e in [*rec.said("edge"), *rec.said("host", "NCMD")]:
        assert all(abs(int(m["timestamp"]) - e.at_ms) < SCENARIO_MS for m in e.metrics)


@check("payloads-name-birth-data-requirement", spoil=spoil.metric(spoil.said("edge", "NBIRTH"), _drop("timestamp")))
def every_metric_has_a_time(rec: Recording) -> None:
    assert all("timestamp" in m for _, m in [*rec.birth_metrics(), *rec.data_metrics()])


@check("payloads-name-requirement", spoil=spoil.metric(spoil.said("edge", "DDATA"), _drop("alias")))
def a_metric_without_alias_has_its_name(rec: Recording) -> None:
    assert all("name" in m for _, m in rec.birth_metrics())
    assert all("name" in m or "alias" in m for _, m in rec.data_metrics())


@check("payloads-alias-uniqueness", spoil=spoil.metric(
    spoil.said("edge", "DBIRTH"), lambda m: m.update(name="other")))  # fmt: skip
def an_alias_means_one_metric(rec: Recording) -> None:
    meaning: dict[str, tuple[str, str]] = {}
    for e, m in rec.birth_metrics():
        if "alias" in m:
            assert meaning.setdefault(m["alias"], (e.device, m["name"])) == (e.device, m["name"])
    assert len(set(meaning.values())) == len(meaning) > 4 * len(DEVICES)


@check("payloads-alias-birth-requirement", spoil=spoil.metric(spoil.said("edge", "DBIRTH"), _drop("alias")))
def births_have_names_and_aliases_but_for_five(rec: Recording) -> None:
    for _, m in rec.birth_metrics():
        assert ("alias" in m) == (m["name"] not in UNALIASED)


@check("payloads-alias-data-cmd-requirement", spoil=spoil.metric(
    spoil.said("edge", "DDATA"), lambda m: m.update(name="flow")))  # fmt: skip
def data_bears_aliases_alone_and_commands_name_what_has_none(rec: Recording) -> None:
    assert all("alias" in m and "name" not in m for _, m in rec.data_metrics())
    assert {m.get("name") for e in rec.said("host", "NCMD") for m in e.metrics} <= UNALIASED


def _known_type(m: Json) -> bool:
    return isinstance(m["datatype"], int) and 1 <= m["datatype"] <= 34 and m["understood"]["type"] is not None


@check("payloads-metric-datatype-value-type", "payloads-metric-datatype-value", spoil=spoil.metric(
    spoil.said("edge", "NBIRTH"), lambda m: m.update(datatype=99)))  # fmt: skip
def datatypes_are_known_codes(rec: Recording) -> None:
    commands = [m for e in rec.said("host", "NCMD") for m in e.metrics]
    assert all(_known_type(m) for m in [*(m for _, m in rec.birth_metrics()), *commands] if "datatype" in m)


@check("payloads-metric-datatype-req", spoil=spoil.metric(spoil.said("edge", "DBIRTH"), _drop("datatype")))
def births_say_datatypes(rec: Recording) -> None:
    assert all("datatype" in m for _, m in rec.birth_metrics())


@check("payloads-metric-datatype-not-req", spoil=spoil.metric(
    spoil.said("edge", "DDATA"), lambda m: m.update(datatype=9)))  # fmt: skip
def data_repeats_no_datatype_and_a_command_need_not(rec: Recording) -> None:
    assert not any("datatype" in m for _, m in rec.data_metrics())
    bare = rec.after(rec.note("BARE REBIRTH"), before=rec.note("DEVICE DIES"))
    assert any(e.who == "edge" and e.up and e.type == "NBIRTH" for e in bare)


def _properties(rec: Recording) -> list[tuple[Event, Json]]:
    found = [(e, m["properties"]) for e, m in [*rec.birth_metrics(), *rec.data_metrics()] if "properties" in m]
    assert found
    return found


def _with_properties(edit: Callable[[Json], object], key: str = "") -> Callable[[Recording], Recording]:
    def fits(m: Json) -> bool:
        return "properties" in m and (not key or key in m["properties"]["keys"])

    def which(e: Event) -> bool:
        return e.who == "edge" and e.up and e.kind == "PUBLISH" and any(fits(m) for m in e.metrics)

    return spoil.payload(which, lambda p: edit(next(m["properties"] for m in p["metrics"] if fits(m))))


@check("payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size", spoil=_with_properties(
    lambda p: p["keys"].append("more")))  # fmt: skip
def property_sets_have_as_many_keys_as_values(rec: Recording) -> None:
    assert all(len(p["keys"]) == len(p["values"]) for _, p in _properties(rec))


@check(
    "payloads-metric-propertyvalue-type-type", "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req", spoil=_with_properties(lambda p: p["values"][0].pop("type")),
)  # fmt: skip
def properties_have_known_types(rec: Recording) -> None:
    for _, p in _properties(rec):
        for value in p["values"]:
            assert value.get("type") in (*range(1, 16), 20, 21)
            assert FIELD_OF[value["type"]] in value


def _qualities(rec: Recording) -> list[Json]:
    found = [dict(zip(p["keys"], p["values"], strict=True)).get("Quality") for _, p in _properties(rec)]
    qualities = [q for q in found if q is not None]
    assert qualities
    return qualities


def _first_quality(**fields: object) -> Callable[[Json], object]:
    return lambda p: p["values"][p["keys"].index("Quality")].update(fields)


@check("payloads-propertyset-quality-value-type", spoil=_with_properties(_first_quality(type=7), "Quality"))
def quality_is_an_int32(rec: Recording) -> None:
    assert {q["type"] for q in _qualities(rec)} == {3}


@check("payloads-propertyset-quality-value-value", spoil=_with_properties(_first_quality(intValue=64), "Quality"))
def quality_is_one_of_three(rec: Recording) -> None:
    assert {q["intValue"] for q in _qualities(rec)} <= {0, 192, 500}


def value_fits(m: Json) -> bool:
    """One value of the field that the datatype asks for, or null and no value; the witness reads it alike."""
    present = [field for field in VALUES if field in m]
    if m.get("isNull"):
        return not present
    if present != [FIELD_OF[m["datatype"]]]:
        return False
    return m["understood"]["value"] is not None or m["datatype"] == UINT32
