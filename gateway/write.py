"""`gateway write`: one value into one device, within its limits, by the owner of its line, and on record."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

from agent.command import Outcome, Write, carry_out
from agent.drivers import DRIVERS
from agent.encode import encode
from agent.spec import LineSpec
from gateway.clock import now_ms
from gateway.config import Site
from gateway.readings import shortest, shown_value
from gateway.status import Busy, ask, sole_owner
from wire.errors import ConfigError

LONGEST_S = 8.0
"""How long a write may wait for its line; the one who asks waits 10 s."""

CarryOut = Callable[[LineSpec, Write], Awaitable[Outcome]]


def audit_path(site: Site) -> Path:
    return site.outbox.path.with_name(site.outbox.path.name + ".audit.jsonl")


def prepared(site: Site, target: str, text: str) -> tuple[LineSpec, Write]:
    """The write that is meant. Raises ConfigError with what is wrong and what to do."""
    if not site.writes:
        raise ConfigError("writing is off; put `commands: {write: true}` into site.yaml to allow it")
    name, _, tag = target.partition("/")
    for line in site.lines:
        for device in line.devices:
            if device.id != name:
                continue
            for point in device.points:
                if point.tag.name == tag:
                    return line, Write(device, point, encode(point, text))
            if any(derived.point.tag.name == tag for derived in device.derived):
                raise ConfigError(f"{target}: is calculated; write one of the tags that it is calculated from")
            writable = ", ".join(f"{name}/{p.tag.name}" for p in device.points if p.writable)
            raise ConfigError(f"device {name} has no tag {tag!r}; writable are: {writable or 'none'}")
    raise ConfigError(
        f"no device {name!r}; write it as DEVICE/TAG; devices are {', '.join(d.id for d in site.devices)}"
    )


async def written(site: Site, target: str, text: str, who: str, carry: CarryOut) -> dict[str, Any]:
    """Carries out one write and puts it on record, before and after. Raises ConfigError: nothing was done then."""
    line, write = prepared(site, target, text)
    entry: dict[str, Any] = {"id": token_hex(6), "ts_ms": now_ms(), "who": who, "what": target, "to": text.strip()}
    record(site, entry | {"result": "asked"})
    try:
        outcome = await carry(line, write)
    except TimeoutError as fault:
        outcome = Outcome("failed", error=str(fault))
    except BaseException as fault:
        record(site, entry | {"result": "unknown", "error": type(fault).__name__})
        raise
    before, after = (shortest(v) if isinstance(v, float) else v for v in (outcome.before, outcome.after))
    entry |= {"ts_ms": now_ms(), "from": before, "read_back": after, "result": outcome.result}
    entry |= {"error": outcome.error} if outcome.error else {}
    record(site, entry)
    return entry | {"unit": write.point.tag.unit}


def record(site: Site, entry: dict[str, Any]) -> None:
    """Durable before anything else happens. Raises ConfigError: what cannot be recorded is not done."""
    path = audit_path(site)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(handle, json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as fault:
        raise ConfigError(
            f"{path}: the record of commands cannot be kept: {fault.strerror}; nothing is done"
        ) from fault


def user(uid: int) -> str:
    """The name of a user of this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def write_now(site: Site, target: str, text: str) -> dict[str, Any]:
    """Through the running gateway; on a line opened for it only when none runs. Raises ConfigError."""
    prepared(site, target, text)
    try:
        with sole_owner(site.outbox.path, looks=True):
            return await written(site, target, text, user(os.getuid()), _on_a_line_of_its_own)
    except Busy:
        said = await ask(site.outbox.path, {"cmd": "write", "tag": target, "value": text})
    if "result" not in said:
        raise ConfigError(str(said.get("error", "the gateway does not know how to write")))
    return said


async def _on_a_line_of_its_own(line: LineSpec, write: Write) -> Outcome:
    driver = DRIVERS[line.driver](line, now_ms)
    try:
        return await carry_out(driver, write, now_ms)
    finally:
        await driver.close()


def told(entry: dict[str, Any]) -> str:
    """One line for a person."""
    unit = f" {entry['unit']}" if entry["unit"] else ""
    before, after = ("?" if v is None else shown_value(v) for v in (entry["from"], entry["read_back"]))
    if entry["result"] == "done":
        return f"{entry['what']}: {before} -> {after}{unit}, read back"
    return f"{entry['what']}: {entry['result']}: {entry['error']} (before: {before}, now: {after}{unit})"
