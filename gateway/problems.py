"""What of a gateway's status needs somebody to look at it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OLD_S = 600.0
LONG_ALARM_S = 3600.0
_STARTS_S = 15.0  # a line may take so long to open for the first time


def problems(status: Mapping[str, Any]) -> list[str]:
    """One text each, the worst first; empty when all is well now. What once was and is over is no problem."""
    uplink, outbox = status["uplink"], status["outbox"]
    found = [f"stands still: {part}" for part in status.get("stalled", ())]
    if outbox.get("trouble"):
        found.append(f"outbox: {outbox['trouble']}")
    found += [
        f"ALARM: a damaged outbox was set aside: {name}; keep it for analysis, then delete it"
        for name in outbox.get("set_aside", ())
    ]
    if uplink["state"] != "online":
        why = uplink.get("trouble") or (
            "nothing is published before it is there" if "waiting" in uplink["state"] else ""
        )
        found.append(f"uplink: {uplink['state']}" + (f": {why}" if why else ""))
    elif outbox.get("oldest_age_s", 0.0) > OLD_S:
        found.append(f"outbox: the oldest batch has waited {outbox['oldest_age_s'] / 60:.0f} min for its confirmation")
    if why := status.get("config", {}).get("error"):
        found.append(f"site.yaml is not used as it is: {why}")
    for name, line in status["lines"].items():
        if line["state"] == "backing-off" or (line["state"] == "closed" and status["uptime_s"] > _STARTS_S):
            found.append(f"line {name}: {line['state']}" + (f": {line['last_error']}" if line["last_error"] else ""))
        for device, unit in line["units"].items():
            if unit["state"] in ("silent", "dead"):
                found.append(f"device {device}: {unit['state']}: {unit['last_error']}")
    for asset, scoring in status["scoring"].items():
        if why := scoring.get("life", {}).get("problem"):
            found.append(f"asset {asset}: what is left of its life is not told as configured: {why}")
        if scoring["state"] == "off":
            found.append(f"asset {asset} is not scored: {scoring['problem']}")
        elif scoring["problem"]:
            found.append(f"asset {asset}: the new model is not used: {scoring['problem']}")
        found += [f"asset {asset}: {text}" for text in _of_asset(asset, scoring)]
    if why := status.get("baselines", {}).get("trouble"):
        found.append(f"baselines: {why}")
    if why := status.get("clock", {}).get("problem"):
        found.append(f"clock: {why}")
    if why := status.get("metrics", {}).get("trouble"):
        found.append(f"metrics: {why}")
    return found


def _of_asset(asset: str, scoring: Mapping[str, Any]) -> Iterator[str]:
    """What only a person can decide."""
    running, held = scoring.get("running"), scoring.get("maintenance")
    if running and running["bad"]:
        yield f"whether it runs is not known, {running['tag']} is BAD; it counts as {running['state']} as before"
    if held and held["until_ms"] is None:
        resume = f"`gaugeline gateway model resume SITE {asset}`"
        yield f"suspended by {held['who']} without an end; when maintenance is over: {resume}"
    if missing := scoring.get("missing"):
        yield f"judged without {', '.join(missing)}: BAD for now; what only that tag shows is not seen"
    alarm, baseline = scoring.get("alarm"), scoring.get("baseline")
    if baseline is None:
        return
    accept = f"`gaugeline gateway model accept SITE {asset}`"
    if alarm and alarm["for_s"] > LONG_ALARM_S:
        yield (
            f"in alarm for {alarm['for_s'] / 3600:.1f} h, and nothing is learnt meanwhile; look at the machine, and "
            f"where this level is normal from now on: {accept}"
        )
    for notice in baseline["notices"]:
        yield f"{notice_text(notice)}; look at the machine, and where that is normal: {accept}"


def notice_text(notice: Mapping[str, Any]) -> str:
    amount = f"{abs(notice['amount']):.4g} {notice['unit']}".rstrip()
    if notice["kind"] == "drift":
        way = "risen" if notice["amount"] > 0 else "fallen"
        return f"what is normal for {notice['tag']} has {way} by {amount} since it was learnt or accepted"
    return f"{notice['tag']} lies {amount} away from what its class of machines has"
