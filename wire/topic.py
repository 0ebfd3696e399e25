"""Sparkplug B topics as values. Source: Sparkplug B 3.0, chapter 4."""

from __future__ import annotations

from typing import NamedTuple

from wire.errors import PayloadError

NAMESPACE = "spBv1.0"
MESSAGE_TYPES = frozenset({"NBIRTH", "NDEATH", "NDATA", "NCMD", "DBIRTH", "DDEATH", "DDATA", "DCMD"})


class Topic(NamedTuple):
    """spBv1.0/{group}/{type}/{node}[/{device}]; device is '' for node messages."""

    group: str
    type: str
    node: str
    device: str = ""

    def __str__(self) -> str:
        tail = f"/{self.device}" if self.device else ""
        return f"{NAMESPACE}/{self.group}/{self.type}/{self.node}{tail}"


def parse_topic(text: str) -> Topic:
    """Raises PayloadError when the topic is not a node's or device's message in our namespace."""
    parts = text.split("/")
    if parts[0] != NAMESPACE or len(parts) not in (4, 5) or not all(parts):
        raise PayloadError(f"not a Sparkplug B topic: {text[:200]!r}")
    topic = Topic(*parts[1:])
    if topic.type not in MESSAGE_TYPES or (topic.type[0] == "D") != bool(topic.device):
        raise PayloadError(f"no such Sparkplug B message: {text[:200]!r}")
    return topic


def state_topic(host: str) -> str:
    """Where a host application says whether it is online."""
    return f"{NAMESPACE}/STATE/{host}"
