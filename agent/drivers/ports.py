"""Ports: what a pseudo-terminal does not take, and words for a line that did not open."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from serial.rs485 import RS485Settings

from agent.spec import RtsSpec
from wire.errors import LineDown

NO_HOST = "cannot be reached, or refuses the connection; check address, port and cable"
NO_CONNECTION = "no connection in time; check address, port and cable, and that a firewall lets it pass"

# A peer that lost its power says nothing. Three probes, 5 s apart, after 10 s without a word: within 25 s the line is
# down and opened anew. TCP alone would wait 15 minutes for an unanswered request (tcp_retries2), and for ever where
# nothing is sent, as on a line of devices that only speak.
IDLE_S, PROBE_S, PROBES = 10, 5, 3


def notice_dead_peer(connection: asyncio.BaseTransport | None) -> None:
    """Lets the system end a connection whose other side is gone without a word. One that has ended is left alone."""
    sock = None if connection is None else connection.get_extra_info("socket")
    if sock is None:
        return
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * (IDLE_S + PROBE_S * PROBES))


def usable_parity(port: str, parity: str) -> str:
    """The parity to set on a port. A pseudo-terminal has none: glibc refuses to set one (EINVAL)."""
    return "N" if Path(port).resolve().is_relative_to("/dev/pts") else parity


def switch_rts(port: str, opened: Any, rts: RtsSpec) -> None:
    """Lets the kernel's driver switch RTS around every request. opened: the serial.Serial of the port.

    Raises LineDown where the port cannot: only the kernel is quick enough, so there is no way around it.
    """
    high = rts.sending == "high"
    try:
        opened.rs485_mode = RS485Settings(
            rts_level_for_tx=high, rts_level_for_rx=not high, delay_before_tx=rts.before_s, delay_before_rx=rts.after_s
        )
    except (ValueError, OSError) as fault:
        raise LineDown(
            f"{port}: its driver cannot switch RTS for RS-485 ({fault}); remove rts from the line if the adapter "
            "switches by itself, as USB adapters do, or use a port of the board"
        ) from fault


def why_port_fails(port: str) -> str:
    """Words for a serial port that did not open."""
    path = Path(port)
    if not path.exists():
        return f"{port}: there is no such port; is the adapter plugged in? (ls /dev/serial/by-id)"
    if path.is_dir():
        return f"{port}: is a directory, no serial port (ls /dev/serial/by-id)"
    if not path.is_char_device():
        return f"{port}: is no serial port (ls /dev/serial/by-id)"
    try:
        with path.open("rb+", buffering=0):
            holders = _holders(path)
    except PermissionError:
        return f"{port}: no permission; add the user to the group 'dialout'"
    except OSError as fault:
        return f"{port}: cannot be opened: {fault.strerror}"
    if not holders:
        return f"{port}: is in use by another program, or does not take these settings; see who has it: fuser {port}"
    return f"{port}: is in use by {', '.join(holders)}; end it, or give this line another port"


def _holders(path: Path) -> list[str]:
    """Who has the port open, as far as we may look: other programs, or else we ourselves."""
    device, ours, found = path.resolve(), str(os.getpid()), dict[str, str]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(_leads_to(link, device) for link in (process / "fd").iterdir()):
                found[process.name] = (process / "comm").read_text().strip()
    others = [f"{name} (process {number})" for number, name in found.items() if number != ours]
    return others or ["another line of this gateway"] * (ours in found)


def _leads_to(link: Path, device: Path) -> bool:
    with suppress(OSError):  # closed meanwhile
        return link.readlink() == device
    return False
