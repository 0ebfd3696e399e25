"""Which addresses and host names mean this machine alone. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """host: a name or an address, an IPv6 one without brackets. No name but localhost is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_loopback(authority: str) -> bool:
    """authority: NAME[:PORT], as the Host header has it; the port may be any, for tunnels have their own."""
    try:
        return is_loopback(urlsplit(f"//{authority}").hostname or "")
    except ValueError:
        return False
