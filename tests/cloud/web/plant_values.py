"""Living tags made through births and samples, as the collector makes them."""

from __future__ import annotations

from cloud.live import LiveAsset, LiveValues
from wire.block import Quality, Reason, Sample, Value
from wire.ids import NodeId
from wire.tag import Asset, Datatype, Tag, birth_properties

NODE = NodeId("plant", "gw")
NOW_MS = 1_767_225_600_000
MACHINE, PARK = Asset("m1", "Machine 1", "machine"), Asset("park", "Car park", "car_park")
METER = Asset("meter", "Main meter", "meter")

Told = tuple[str, Datatype, str, str, Value | None, Quality, Reason]


def said(
    name: str,
    value: Value | None,
    unit: str = "",
    measures: str = "",
    kind: Datatype = Datatype.FLOAT,
    quality: Quality = Quality.GOOD,
    reason: Reason = Reason.NONE,
) -> Told:
    return name, kind, unit, measures, value, quality, reason


def hear(live: LiveValues, device: str, asset: Asset | None, *told: Told, ts_ms: int = NOW_MS) -> None:
    tags = [Tag(n, device, kind, unit, asset.id if asset else "", what) for n, kind, unit, what, *_ in told]
    live.born(NODE, device, [(tag.name, tag.datatype, birth_properties(tag, asset)) for tag in tags])
    live.update(NODE, device, [Sample(n, kind, ts_ms, q, v, r) for n, kind, _, _, v, q, r in told])


def machine(live: LiveValues, off: bool, power: bool = False) -> LiveAsset:
    """A scored machine; off: its model says that something is unusual."""
    more = [said("power", 40.0, "kW", "power")] if power else []
    hear(live, "plc", MACHINE, said("temperature", 96.5, "[degF]"), said("speed_rpm", 1475.0, "1/min"), *more)
    hear(
        live,
        "m1",
        MACHINE,
        said("score", 4.2 if off else 1.1, measures="score"),
        said("threshold", 3.0, measures="threshold"),
        said("anomaly", off, measures="anomaly", kind=Datatype.BOOLEAN),
        said("share/temperature", 0.81, measures="share"),
        said("share/speed_rpm", 0.19, measures="share"),
    )
    return only(live, "m1")


def only(live: LiveValues, asset: str) -> LiveAsset:
    (found,) = [a for a in live.assets() if a.id == asset]
    return found
