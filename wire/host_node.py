"""What a host knows of one edge node from its births: names, aliases, datatypes. Kept over restarts as JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wire.block import Sample
from wire.delivery import BATCH, PROTOCOL_METRIC
from wire.errors import PayloadError
from wire.ids import NodeId
from wire.payload import Metric, Payload, decode
from wire.quick import Table
from wire.tag import Datatype
from wire.topic import Topic


class Alias(NamedTuple):
    device: str
    name: str
    datatype: Datatype


@dataclass(slots=True)
class Device:
    """What a device's birth said: metrics by name (for nodes that do not use aliases) and which aliases it took.

    others: metrics of datatypes that we do not speak, name -> datatype.
    """

    by_name: dict[str, Datatype]
    aliases: list[int]
    others: dict[str, str] = field(default_factory=dict)
    table: Table | None = None  # made when data comes that can be decoded by columns


@dataclass(slots=True)
class Node:
    """One node between NBIRTH and NDEATH. remembered: its births were heard by an earlier session of the host."""

    id: NodeId
    bd_seq: int | None
    confirming: bool
    expected: int = 1
    remembered: bool = False
    aliases: dict[int, Alias] = field(default_factory=dict)
    datatypes: dict[int, Datatype] = field(default_factory=dict)  # the same aliases, as decode wants them
    others: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # alias -> device, name, datatype
    devices: dict[str, Device] = field(default_factory=dict)
    waiting: dict[int, tuple[Topic, bytes]] = field(default_factory=dict)  # seq -> message
    waiting_since_ms: int = 0

    def forget(self, device: str) -> None:
        """The device is dead: its names mean nothing until it is born again."""
        gone = self.devices.pop(device, None)
        for alias in gone.aliases if gone else ():
            self.aliases.pop(alias, None)
            self.datatypes.pop(alias, None)
            self.others.pop(alias, None)

    def resolve(self, device: str, m: Metric) -> Alias | None:
        """Which tag a data metric means, None when no birth said so."""
        if m.alias is not None:
            known = self.aliases.get(m.alias)
            return known if known is not None and known.device == device else None
        by_name = self.devices[device].by_name
        if m.name is None or m.name not in by_name:
            return None
        return Alias(device, m.name, by_name[m.name])

    def other(self, device: str, m: Metric) -> tuple[str, str] | None:
        """(name, datatype) of a metric that was born with a datatype that we do not speak."""
        if m.alias is not None:
            found = self.others.get(m.alias)
            return found[1:] if found is not None and found[0] == device else None
        kind = self.devices[device].others.get(m.name or "")
        return (m.name or "", kind) if kind is not None else None

    def memory(self) -> dict[str, Any]:
        """What `remembered_node` needs: JSON."""
        rows = [[alias, a.device, a.name, int(a.datatype)] for alias, a in self.aliases.items()]
        return {"bd_seq": self.bd_seq, "devices": list(self.devices), "aliases": rows}


def remembered_node(node: NodeId, memory: dict[str, Any]) -> Node:
    """A confirming node as an earlier process of the host knew it. Raises PayloadError when that cannot be read."""
    try:
        devices = {str(d): Device({}, []) for d in memory["devices"]}
        found = Node(node, memory["bd_seq"], confirming=True, remembered=True, devices=devices)
        for alias, device, name, code in memory["aliases"]:
            known = Alias(str(device), str(name), Datatype(code))
            found.aliases[int(alias)] = known
            found.datatypes[int(alias)] = known.datatype
            devices[known.device].aliases.append(int(alias))
            devices[known.device].by_name[known.name] = known.datatype
    except (KeyError, TypeError, ValueError) as fault:
        raise PayloadError(f"a memory of {node} that cannot be read: {fault}") from fault
    return found


def decoded(node: Node | None, topic: Topic, data: bytes) -> Payload:
    if node is None or topic.type.endswith("BIRTH"):
        return decode(data)
    device = node.devices.get(topic.device)
    return decode(data, node.datatypes, device.by_name if device else None)


def own_sample(m: Metric, payload_ts_ms: int | None) -> Sample | None:
    """A protocol metric of a birth as a sample, so that it is read like the same metric in data."""
    ts_ms = m.ts_ms if m.ts_ms is not None else payload_ts_ms
    if m.value is None or m.datatype is None or ts_ms is None or m.name in (None, PROTOCOL_METRIC, BATCH):
        return None
    return Sample(str(m.name), m.datatype, ts_ms, m.quality, m.value)
