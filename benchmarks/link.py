"""A link between two processes of this machine that can be counted, cut, and made slow."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass(slots=True)
class Counted:
    """Bytes that went each way: up from the one who connects, down to it. TCP/IP's own headers are not in it."""

    up: int = 0
    down: int = 0


class Link:
    """Listens on a free port of 127.0.0.1 and passes everything on to another one, in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self.counted = Counted()
        self._target = ("127.0.0.1", target_port)
        self._open = threading.Event()
        self._ended = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Every connection breaks, and new ones break at once, until mended."""
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def _run(self) -> None:
        pairs = _Pairs(self.counted)
        self._listener.settimeout(0.0)
        while not self._ended.is_set():
            if not self._open.is_set():
                pairs.close()
            try:
                near, _ = self._listener.accept()
            except (BlockingIOError, TimeoutError):
                pairs.pass_on(0.005)
                continue
            if not self._open.is_set():
                near.close()
                continue
            try:
                pairs.add(near, socket.create_connection(self._target))
            except OSError:
                near.close()
        pairs.close()


@dataclass(slots=True)
class _Pairs:
    """The connections that stand, each with its other half."""

    counted: Counted
    other: dict[socket.socket, tuple[socket.socket, bool]] = field(default_factory=dict)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def add(self, near: socket.socket, far: socket.socket) -> None:
        for one, two, up in ((near, far, True), (far, near, False)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.other[one] = (two, up)
            self.selector.register(one, selectors.EVENT_READ)

    def pass_on(self, wait_s: float) -> None:
        if not self.other:
            time.sleep(wait_s)
            return
        for key, _ in self.selector.select(wait_s):
            one = key.fileobj
            if not isinstance(one, socket.socket) or one not in self.other:
                continue
            two, up = self.other[one]
            try:
                data = one.recv(_CHUNK)
                two.sendall(data)
            except OSError:
                data = b""
            if not data:
                self._drop(one)
            elif up:
                self.counted.up += len(data)
            else:
                self.counted.down += len(data)

    def _drop(self, one: socket.socket) -> None:
        two, _ = self.other[one]
        for each in (one, two):
            self.selector.unregister(each)
            del self.other[each]
            each.close()

    def close(self) -> None:
        while self.other:
            self._drop(next(iter(self.other)))
