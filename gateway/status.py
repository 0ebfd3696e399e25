"""One gateway per outbox (a lock file), and a Unix socket beside it through which `status` and `read` ask it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from wire.errors import ConfigError, StoreFull

_ANSWER_S = 10.0
# sun_path holds 108 bytes on Linux (unix(7)).
_LONGEST = 100

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


_LOOKS = " looks"
LOOK_S = 10.0
"""How long a command that looks into the outbox of no running gateway is waited for."""
_SURE_S = 0.2  # whoever has just taken the lock has not written its name into it yet


class Busy(ConfigError):
    """Another process owns the outbox."""


@contextmanager
def sole_owner(outbox: Path, looks: bool = False) -> Iterator[None]:
    """Holds the lock file. looks: a command that only looks; a gateway that starts meanwhile waits for it.

    Raises Busy when a gateway runs on this outbox, or a command looks into it for longer than LOOK_S; StoreFull when
    the lock file cannot be made.
    """
    lock = outbox.with_name(outbox.name + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreFull(f"{lock} cannot be opened: {fault.strerror}; check outbox.path in site.yaml") from fault
    try:
        _locked(handle, outbox, 0.0 if looks else _SURE_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}{_LOOKS if looks else ''}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _locked(handle: int, outbox: Path, sure_s: float) -> None:
    began_s = time.monotonic()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as fault:
            name = os.pread(handle, 40, 0).decode("ascii", "replace")
            looks = name.endswith(_LOOKS) or not name
            if time.monotonic() - began_s >= (LOOK_S if looks else sure_s):
                pid = name.removesuffix(_LOOKS) or "unknown"
                raise Busy(
                    f"a command (pid {pid}) has looked into {outbox} for {LOOK_S:g} s; stop it, or wait for its end"
                    if looks
                    else f"a gateway (pid {pid}) runs on {outbox} already; stop it first, or ask it"
                ) from fault
        time.sleep(0.02)


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name for the socket that fits into a socket address, however deep the folder is."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _uid(writer: asyncio.StreamWriter) -> int:
    """The user at the other end of a Unix socket (unix(7), SO_PEERCRED: pid, uid, gid)."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])


def socket_path(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".sock")


@asynccontextmanager
async def listening(outbox: Path, answer: Answer) -> AsyncIterator[None]:
    """Answers one JSON object a line. Only the owner of the outbox listens, so a left-over socket may go."""

    talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks[task] = writer
            task.add_done_callback(talks.pop)
        try:
            while line := await reader.readline():
                try:
                    asked = json.loads(line)
                    # Who asks is what the kernel says, never what the one who asks says.
                    reply = await answer((asked if isinstance(asked, dict) else {}) | {"uid": _uid(writer)})
                except ValueError:
                    reply = {"error": "not JSON"}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return  # the one who asked has gone
        finally:
            writer.close()

    path = socket_path(outbox)
    path.unlink(missing_ok=True)
    with _reachable(path) as name:
        server = await asyncio.start_unix_server(serve, name)
        try:
            path.chmod(0o600)
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)
            for writer in talks.values():
                writer.close()
            if talks:
                await asyncio.wait(list(talks), timeout=1.0)


async def ask(outbox: Path, command: dict[str, Any]) -> dict[str, Any]:
    """The running gateway's answer. Raises ConfigError when none answers."""
    path = socket_path(outbox)
    try:
        with _reachable(path) as name:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(name, limit=16_000_000)
                try:
                    writer.write(json.dumps(command).encode() + b"\n")
                    await writer.drain()
                    line = await reader.readline()
                finally:
                    writer.close()
    except (OSError, TimeoutError) as fault:
        raise ConfigError(f"no gateway answers at {path}: {fault}") from fault
    if not line:
        raise ConfigError(f"the gateway at {path} closed the connection without an answer")
    found: dict[str, Any] = json.loads(line)
    return found
