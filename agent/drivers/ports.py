"""Serial ports: what a pseudo-terminal does not take, and words for a port that did not open."""

from __future__ import annotations

from pathlib import Path


def usable_parity(port: str, parity: str) -> str:
    """The parity to set on a port. A pseudo-terminal has none: glibc refuses to set one (EINVAL)."""
    return "N" if Path(port).resolve().is_relative_to("/dev/pts") else parity


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
