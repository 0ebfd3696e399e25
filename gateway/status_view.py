"""`gaugeline gateway status`: asks the running gateway, or reads its file; the answer as text, and as an exit code."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.clock import now_ms
from gateway.clock_text import clock_lines
from gateway.config import Site
from gateway.problems import notice_text
from gateway.status import Busy, ask, sole_owner

WELL, PROBLEM, NOT_RUNNING = 0, 1, 3
EXIT_CODES = "0 all is well; 1 something needs attention, or an error; 2 a wrong call; 3 no gateway runs here"

_COUNTERS = ("produced", "confirmed", "in_flight", "suppressed", "refused", "dropped", "parked")
_UNIT = ("polls", "answers", "timeouts", "garbled", "refused")


async def status_of(site: Site) -> dict[str, Any]:
    """Raises ConfigError when no gateway runs and none has ever run, or when the one that runs does not answer."""
    try:
        with sole_owner(site.outbox.path, looks=True):
            from gateway.outbox.inspect import stored_status

            status = stored_status(site)
            status["outbox"]["limit_bytes"] = site.outbox.max_bytes
    except Busy:
        status = await ask(site.outbox.path, {"cmd": "status"})
    return {"problems": [], **status}


def exit_code(status: Mapping[str, Any]) -> int:
    if status["pid"] is None:
        return NOT_RUNNING
    return PROBLEM if status["problems"] else WELL


def status_text(status: Mapping[str, Any], at_ms: int | None = None) -> str:
    """at_ms: now, UTC epoch milliseconds."""
    at_ms = now_ms() if at_ms is None else at_ms
    runs = status["pid"] is not None
    lines = [_head(status)]
    lines += _uplink(status["uplink"], at_ms) if runs else []
    lines += _outbox(status)
    lines += _samples(status["devices"])
    for name, line in status["lines"].items():
        lines += _line(name, line, at_ms)
    for asset, scoring in status["scoring"].items():
        lines += _scoring(asset, scoring, at_ms)
    kept = status.get("baselines", {})
    lines += [f"baselines: {kept[key]}" for key in ("trouble", "ignored") if kept.get(key)]
    lines += clock_lines(status.get("clock", {}))
    if "box" in status:
        lines += _box(status)
    if found := status["problems"]:
        lines += ["", f"{len(found)} {'thing needs' if len(found) == 1 else 'things need'} attention:"]
        lines += [f"  {problem}" for problem in found]
    return "\n".join(lines)


def _head(status: Mapping[str, Any]) -> str:
    text = f"{status['group']}/{status['gateway']}: {status['uplink']['state']}"
    if status["pid"] is None:
        return f"{text}; figures of the outbox file"
    text += f", pid {status['pid']}, for {duration(status['uptime_s'])}"
    restarts = ", ".join(f"{task} {count}" for task, count in status["restarts"].items())
    return text + (f"; tasks started again: {restarts}" if restarts else "")


def _uplink(uplink: Mapping[str, Any], at_ms: int) -> list[str]:
    host = uplink["primary_host"]
    text = f"uplink: {uplink['state']}{_since(uplink, at_ms)}, broker {uplink['broker']}, "
    text += f"primary host {host['id']} {host['state']}"
    if uplink["round_trip_ms"] is not None:
        text += f", confirmed after {uplink['round_trip_ms']:g} ms"
    counts = [f"{uplink[name]} {name}" for name in ("sessions", "births", "rebirths", "published", "resent")]
    lines = [text, f"  {', '.join(counts)}"]
    lines += [f"  broker {b['broker']}: {b['trouble']}" for b in uplink.get("brokers", ()) if b.get("trouble")]
    return lines


def _outbox(status: Mapping[str, Any]) -> list[str]:
    outbox, devices = status["outbox"], status["devices"].values()
    waiting = sum(counters["in_flight"] for counters in devices)
    text = f"outbox: {outbox['pending_batches']} batches ({waiting} samples) wait"
    if outbox.get("oldest_ms") is not None:
        text += f", the oldest for {duration(outbox['oldest_age_s'])}"
    text += f"; {outbox['bytes'] / 1e6:.1f} MB kept"
    text += f" of {outbox['limit_bytes'] / 1e6:.0f} MB" if "limit_bytes" in outbox else ""
    dropped, refused = (sum(counters[name] for counters in devices) for name in ("dropped", "refused"))
    text += f"; {dropped} samples dropped, {refused} refused, {len(status['gaps'])} gaps on record"
    lines = [text]
    if outbox["commits"]:
        lines.append(f"  {outbox['commits']} commits, 99 of 100 within {outbox['commit_ms_p99']:g} ms")
    return lines


def _samples(devices: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The balance of every device that ever gave a sample."""
    rows = [["samples of", *_COUNTERS]]
    rows += [[device, *(str(counters[name]) for name in _COUNTERS)] for device, counters in devices.items()]
    return table(rows)


def _line(name: str, line: Mapping[str, Any], at_ms: int) -> list[str]:
    text = f"line {name}: {line['state']}{_since(line, at_ms)}; {line['late_rejected']} late answers rejected, "
    text += f"{line['overruns']} overruns, {line['reconnects']} reconnects{_last_error(line, at_ms)}"
    rows = [["  device", "state", *_UNIT, "answered"]]
    notes = []
    for device, unit in line["units"].items():
        counts = [str(unit[counter]) for counter in _UNIT]
        rows.append([f"  {device}", unit["state"], *counts, _ago(unit["last_answer_ms"], at_ms)])
        if unit["last_error"]:
            notes.append(f"  device {device}{_last_error(unit, at_ms)}")
        notes += [f"  device {device}: {said}" for said in _walls(unit)]
    return [text, *table(rows), *notes]


def _scoring(asset: str, scoring: Mapping[str, Any], at_ms: int) -> list[str]:
    which = [scoring["state"] or "no model", *(scoring[key] for key in ("model", "problem") if scoring.get(key))]
    lines = [f"scoring {asset}: {'; '.join(which)}"]
    if life := scoring.get("life"):
        words = life.get("words") or life["problem"] or life["state"]
        lines.append(f"  life: {words} ({life['model'] or 'off'}, {life['rows']} rows)")
    if running := scoring.get("running"):
        bad = " (BAD now: what it said last counts)" if running["bad"] else ""
        lines.append(f"  {running['tag']} says: {running['state']}{_since(running, at_ms)}{bad}")
    if suspended := scoring.get("suspended"):
        lines.append(f"  suspended: {suspended['why']}{_since(suspended, at_ms)}")
    if held := scoring.get("maintenance"):
        until = "until it is resumed"
        if held["until_ms"] is not None:
            until = f"for {duration((held['until_ms'] - at_ms) / 1000)} more"
        why = f": {held['why']}" if held["why"] else ""
        lines.append(f"  in maintenance, by {held['who']}{_since(held, at_ms)}, {until}{why}")
    if missing := scoring.get("missing"):
        lines.append(f"  judged without {', '.join(missing)}")
    if alarm := scoring.get("alarm"):
        lines.append(f"  in alarm{_since(alarm, at_ms)}")
    if baseline := scoring.get("baseline"):
        lines.append(f"  baseline: {_baseline(baseline)}")
        lines += [f"  notice: {notice_text(notice)}" for notice in baseline["notices"]]
    return lines


_BASELINE = {
    "suspended": "stands still while the asset is suspended",
    "frozen": "frozen in alarm: nothing is learnt",
    "relearning": "comes after the machine after an alarm",
    "follows": "follows the machine",
}


def _baseline(baseline: Mapping[str, Any]) -> str:
    learning = baseline["learnt_rows"] < baseline["own_rows"]
    if learning:
        text = f"learning its own centre, {baseline['learnt_rows']} of {baseline['own_rows']} rows"
        return text + ("; suspended" if baseline["state"] == "suspended" else "")
    whose = f"own, of {baseline['own_rows']} rows" if baseline["own_rows"] else "the model's"
    return f"{whose}; {_BASELINE[baseline['state']]}"


def _walls(unit: Mapping[str, Any]) -> list[str]:
    """What became of addresses that a device refused."""
    said = [
        f"{len(unit[key])} {words}: {', '.join(unit[key])}"
        for key, words in (("illegal", "found illegal"), ("suspected", "refused once, asked again soon"))
        if unit.get(key)
    ]
    return [*said, *([f"{unit['healed']} found illegal answered again"] if unit.get("healed") else [])]


def _box(status: Mapping[str, Any]) -> list[str]:
    box, clock, scored = status["box"], status["kernel_clock"], status["scored"]
    cpu = f"CPU {box['cpu_percent']:g} %, " if box["cpu_percent"] is not None else ""
    text = f"box: {cpu}memory {box['rss_bytes'] / 1e6:.0f} MB, {box['open_fds']} files open, "
    text += f"event loop at most {1000 * status['loop']['worst_s']:.0f} ms late"
    if box["temperature_celsius"]:
        text += f", board {max(box['temperature_celsius'].values()):.0f} °C"
    text += f"; clock {clock['state']}"
    if clock["max_error_s"] is not None:
        text += f" within {1000 * clock['max_error_s']:.0f} ms"
    if scored["rows"]:
        text += f"; {scored['rows']} rows scored in {scored['seconds']:.1f} s"
    if "metrics" in status:
        text += f"; metrics on port {status['metrics']['port']}"
    return [text]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right, two spaces apart."""
    if len(rows) < 2:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def duration(seconds: float) -> str:
    """Two of its units at most: `3 s`, `4 min 10 s`, `2 h 5 min`, `3 d 1 h`."""
    s = max(0, int(seconds))
    for size, name, small, small_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if s >= size:
            rest = s % size // small
            return f"{s // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{s} s"


def _ago(ts_ms: int | None, at_ms: int) -> str:
    return "never" if ts_ms is None else f"{duration((at_ms - ts_ms) / 1000)} ago"


def _since(part: Mapping[str, Any], at_ms: int) -> str:
    since_ms = part.get("since_ms")
    if since_ms is None:
        return ""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_ms / 1000))
    return f" since {stamp} ({duration((at_ms - since_ms) / 1000)})"


def _last_error(part: Mapping[str, Any], at_ms: int) -> str:
    if not part["last_error"]:
        return ""
    when = f" {_ago(part['last_error_ms'], at_ms)}" if part.get("last_error_ms") is not None else ""
    return f"; last error{when}: {part['last_error']}"
