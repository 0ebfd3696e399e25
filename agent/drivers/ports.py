"""Serial ports: what a pseudo-terminal does not take, and words for a port that did not open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serial.rs485 import RS485Settings

from agent.spec import RtsSpec
from wire.errors import LineDown


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
    try:
        with path.open("rb+", buffering=0):
            return f"{port}: is in use by another program, or does not take these settings"
    except PermissionError:
        return f"{port}: no permission; add the user to the group 'dialout'"
    except OSError as fault:
        return f"{port}: cannot be opened: {fault.strerror}"
