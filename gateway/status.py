"""One gateway per outbox (a lock file), and a Unix socket beside it through which `status` and `read` ask it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from wire.errors import ConfigError, StoreFull

_ANSWER_S = 10.0
# sun_path holds 108 bytes on Linux (unix(7)).
_LONGEST = 100

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Busy(ConfigError):
    """Another process owns the outbox."""


@contextmanager
def sole_owner(outbox: Path) -> Iterator[None]:
    """Holds the lock file. Raises Busy when a gateway runs on this outbox, StoreFull when it cannot be made."""
    lock = outbox.with_name(outbox.name + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreFull(f"{lock} cannot be opened: {fault.strerror}; check outbox.path in site.yaml") from fault
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            pid = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise Busy(f"a gateway (pid {pid}) runs on {outbox} already; stop it first, or ask it") from fault
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


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
