"""Short ways to write points and devices in the agent's tests."""

from __future__ import annotations

from typing import Any

from agent.spec import DeviceSpec, PointSpec, datatype_of
from wire.tag import Tag


def point(name: str, table: Any = "holding", address: int = 0, raw: Any = "uint16", **rest: Any) -> PointSpec:
    """A point whose tag has the datatype that follows from its type and scale."""
    unit, device = rest.pop("unit", ""), rest.pop("device", "dev")
    datatype = rest.pop("datatype", None) or datatype_of(raw, rest.get("scale", 1.0), rest.get("offset", 0.0))
    return PointSpec(Tag(name, device, datatype, unit), table, address, raw, **rest)


def device(*points: PointSpec, **rest: Any) -> DeviceSpec:
    name = rest.pop("id", points[0].tag.device if points else "dev")
    return DeviceSpec(name, rest.pop("line", "line"), points=points, **rest)
