"""Legal names, and where one Sparkplug device or node stands in the world."""

from __future__ import annotations

import re
from typing import NamedTuple

from wire.errors import ConfigError

# An id is one level of an MQTT topic: no '/', '+', '#'; Sparkplug B 3.0, section 4.1 (tck-id-topic-structure).
# We allow less, so that an id also serves as a file name, a URL segment and a metric label.
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")
_TAG = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9_.\-]+)*$")


class NodeId(NamedTuple):
    """One edge node (a gateway) of one group (a site)."""

    group: str
    node: str

    def __str__(self) -> str:
        return f"{self.group}/{self.node}"


def check_id(name: str, what: str) -> str:
    """The name unchanged. Raises ConfigError when it cannot be a group, edge node, device, asset or host id."""
    if not _ID.match(name):
        raise ConfigError(
            f"{what} id {name!r}: 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"
        )
    return name


def check_tag_name(name: str) -> str:
    """The name unchanged. Raises ConfigError when it cannot be a tag's name ('/' may group, '@' is reserved)."""
    if not _TAG.match(name) or len(name) > 128:
        raise ConfigError(f"tag name {name!r}: letters, digits, '_', '-', '.', grouped by '/', at most 128 characters")
    return name
