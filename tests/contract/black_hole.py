"""A peer that is gone without a word: whatever is sent to it is lost, and nothing is acknowledged any more."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # classic BPF: return 0 bytes of every segment


def lose_everything(connection: asyncio.BaseTransport) -> None:
    """From now on the system throws away every segment that comes for this socket, before TCP sees it."""
    program = ctypes.create_string_buffer(_DROP_ALL)
    sock: socket.socket = connection.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
