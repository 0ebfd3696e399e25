"""Times, durations and reasons as people say them."""

from __future__ import annotations

from datetime import datetime, tzinfo

from cloud.web.texts import Texts
from wire.block import Reason

DAY_MS = 86_400_000


def clock(ts_ms: int, zone: tzinfo, now_ms: int) -> str:
    """'12:03:20' of today, else with its date."""
    at, now = (datetime.fromtimestamp(ms / 1000, zone) for ms in (ts_ms, now_ms))
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S}"


def hours_minutes(ts_ms: int, zone: tzinfo) -> str:
    """'19:00'."""
    return f"{datetime.fromtimestamp(ts_ms / 1000, zone):%H:%M}"


def age(ts_ms: int | None, now_ms: int, t: Texts) -> str:
    """'12 s ago'; the browser counts on from there in the same words."""
    if ts_ms is None:
        return ""
    seconds = max(0, now_ms - ts_ms) // 1000
    if seconds < 2:
        return t("js.now")
    for limit, key, unit in ((120, "js.seconds", 1), (7200, "js.minutes", 60), (172_800, "js.hours", 3600)):
        if seconds < limit:
            return t(key, n=seconds // unit)
    return t("js.days", n=seconds // 86_400)


def duration(length_ms: int, t: Texts) -> str:
    """'1 min 20 s'; at least one second."""
    seconds = max(1, round(length_ms / 1000))
    if seconds < 60:
        return t("duration.s", n=seconds)
    if seconds < 3600:
        return t("duration.min", n=seconds // 60, s=seconds % 60)
    return t("duration.h", n=seconds // 3600, m=seconds % 3600 // 60)


def reason(why: Reason, t: Texts) -> str:
    return t(f"reason.{why.name}")


_LINE = frozenset({Reason.TIMEOUT, Reason.GARBLED, Reason.LINE_DOWN, Reason.SUSPENDED, Reason.DEVICE_DEAD})


def advice(why: Reason, t: Texts) -> str:
    """What to check for a value that is missing for this reason."""
    if why in _LINE:
        return t("advice.line")
    return t("advice.range") if why is Reason.OUT_OF_RANGE else t("advice.device")
