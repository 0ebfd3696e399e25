"""What this gateway adds to its models: the key that it trusts, the site's time zone, the time."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from agent.scorer import Surroundings
from gateway.config import Site
from gateway.model_key import verifier


def surroundings(site: Site, utc_ms: Callable[[int], int | None] | None = None) -> Surroundings:
    """utc_ms: stamps of Blocks in UTC, None while the time is unknown. Raises ConfigError for a key that is none."""
    verify = verifier(site.model_key) if site.model_key is not None else None
    zone = ZoneInfo(site.time_zone) if site.time_zone else None
    return Surroundings(verify, zone) if utc_ms is None else Surroundings(verify, zone, utc_ms)
