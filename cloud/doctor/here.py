"""This machine: the page's port, the disk, the archive, the clock."""

from __future__ import annotations

import ctypes
import errno
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from cloud.config import ArchiveChoice, Config, DuckDbFile
from cloud.doctor.finding import Finding, failed, ok, warning
from wire.errors import ConfigError

LITTLE_BYTES, NO_BYTES = 2_000_000_000, 200_000_000
"""A week of a small site; what a commit with its write-ahead log may need at once."""
ANSWER_S = 3.0
OFF_S, FAR_OFF_S = 2.0, 60.0
"""A Date header is whole seconds old; samples of a minute ago are shown as stale."""
_TIME_ERROR = 5  # of adjtimex(2): nobody keeps the clock right


def running_host(config: Config) -> dict[str, Any] | None:
    """What a host of ours at the page's address says of its health; None: there is none."""
    address, port = config.http
    name = f"[{address}]" if ":" in address else address
    try:
        answer = httpx.get(f"http://{name}:{port}/api/health", timeout=ANSWER_S, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return found if isinstance(found, dict) and {"status", "problems"} <= set(found) else None


def page(config: Config, host: dict[str, Any] | None) -> Finding:
    """The port is free, or a host of ours has it."""
    address, port = config.http
    if host is not None:
        if host["problems"]:
            return warning("page", f"a host runs at {address}:{port} and tells of: {'; '.join(host['problems'])}",
                           "see its log; the other checks may say more")  # fmt: skip
        return ok("page", f"a host runs at {address}:{port}, status {host['status']}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            what = f"another program listens at {address}:{port}"
        else:
            what = f"{address}:{port}: {fault.strerror or fault}"
        return failed("page", what, "choose another port with http: 127.0.0.1:PORT")
    return ok("page", f"{address}:{port} is free")


def existing(path: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    return next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))


def unwritable(path: Path) -> str:
    """Why a database file cannot be made or written here; '' when it can."""
    try:
        if path.exists():
            path.open("r+b").close()
        with tempfile.TemporaryFile(dir=path.absolute().parent):  # of its write-ahead log
            return ""
    except OSError as fault:
        return fault.strerror or str(fault)


def disk(config: Config) -> Iterable[Finding]:
    """Free space wherever this host writes."""
    places: dict[str, Path] = {}
    if isinstance(config.store, DuckDbFile):
        places["samples"] = config.store.path.absolute().parent
    if isinstance(config.state, Path):
        places["state"] = config.state.absolute().parent
    if config.archive is not None and "://" not in config.archive.place:
        places["archive"] = Path(config.archive.place).absolute()
    by_disk: dict[int, tuple[list[str], Path]] = {}
    for name, path in places.items():
        there = existing(path)
        by_disk.setdefault(there.stat().st_dev, ([], there))[0].append(name)
    for names, path in by_disk.values():
        free = shutil.disk_usage(path).free
        what = f"{free / 1e9:,.1f} GB free at {path} (for {', '.join(names)})"
        if free < NO_BYTES:
            yield failed("disk", what, "make room now: the host stops confirming when the disk is full")
        elif free < LITTLE_BYTES:
            yield warning("disk", what, "make room, or name another disk: a million samples take about 10 MB")
        else:
            yield ok("disk", what)


def archive(choice: ArchiveChoice | None) -> Finding:
    """A file is written and taken away again."""
    if choice is None:
        return ok("archive", "none is configured")
    from cloud.archive.folder import open_folder, shown

    try:
        open_folder(choice.place).check()
    except (ConfigError, OSError) as fault:
        return failed(
            "archive",
            f"{shown(choice.place)}: {fault}",
            "give the host's user the right to write there, or name another place",
        )
    return ok("archive", f"{shown(choice.place)} can be written")


def clock(date: str | None, kept: bool | None = None) -> Finding:
    """date: an HTTP server's Date header. kept: whether the kernel's clock is kept right; None: asked here."""
    kept = _kept_right() if kept is None else kept
    todo = "let chrony or systemd-timesyncd keep the clock"
    if date is not None:
        off_s = time.time() - parsedate_to_datetime(date).timestamp()
        if abs(off_s) > OFF_S:
            state = failed if abs(off_s) > FAR_OFF_S else warning
            return state("clock", f"{abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} the database's", todo)
    if not kept:
        return warning("clock", "the kernel says that nobody keeps this clock right", todo)
    return ok("clock", "kept right" + (", and as the database's" if date else ""))


def _kept_right() -> bool:
    """adjtimex(2), which only reads when its `modes` are 0. struct timex is 208 bytes on 64-bit Linux, 128 before."""
    return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)) not in (-1, _TIME_ERROR)
