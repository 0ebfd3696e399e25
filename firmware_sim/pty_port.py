"""A pseudo-terminal that behaves like a serial port: raw, at a path of its own, as slow as its baud rate."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from firmware_sim import own_folder
from firmware_sim.errors import ScenarioError

# Linux keeps about this much for a reader that does not read; a UART's driver drops what comes after.
_INPUT_QUEUE = 4000


class PtyPort:
    """The device's end of a serial line. The link at `path` leads to the reader's end."""

    def __init__(self, line: str, path: Path | None, baud: int, bits_per_char: int) -> None:
        self._line, self._path = line, path
        self.char_s = bits_per_char / baud
        self._device = self._reader = -1
        self._folder: Path | None = None

    def open(self) -> Path:
        """Raises ScenarioError when the link cannot be made."""
        if self._path is None:
            self._folder = own_folder.make()
            self._path = self._folder / self._line
        self._device, self._reader = pty.openpty()
        tty.setraw(self._reader)
        # Our own hold on the reader's end keeps the line alive while readers come and go.
        os.set_blocking(self._device, False)
        self._link()
        return self._path

    def _link(self) -> None:
        assert self._path is not None
        key = f"lines.{self._line}.port"
        if self._path.exists() and not self._path.is_symlink():
            raise ScenarioError(f"{key}: {self._path} exists and is not a link; choose a path that is free")
        # A link that is there was left by a run that was killed.
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            fresh.symlink_to(os.ttyname(self._reader))
            fresh.replace(self._path)
        except OSError as fault:
            raise ScenarioError(f"{key}: cannot make the link {self._path}: {fault.strerror}") from fault

    def close(self) -> None:
        if self._device < 0:
            return
        if self._path is not None and self._path.is_symlink() and str(self._path.readlink()) == self._name():
            self._path.unlink()
        os.close(self._device)
        os.close(self._reader)
        self._device = self._reader = -1
        if self._folder is not None:
            own_folder.remove(self._folder)

    def _name(self) -> str:
        return os.ttyname(self._reader)

    def on_bytes(self, receive: Callable[[bytes], None]) -> None:
        """Calls `receive` with what a reader writes, while the loop runs."""
        asyncio.get_running_loop().add_reader(self._device, lambda: receive(os.read(self._device, 4096)))

    def deaf(self) -> None:
        asyncio.get_running_loop().remove_reader(self._device)

    async def send(self, data: bytes, leaving: Callable[[], None]) -> None:
        """Sends at the pace of the wire; calls `leaving` just before the last byte goes, if all had room."""
        loop = asyncio.get_running_loop()
        begin, done, whole = loop.time(), 0, True
        while done < len(data):
            await asyncio.sleep(begin + (done + 1) * self.char_s - loop.time())
            due = min(len(data), max(done + 1, int((loop.time() - begin) / self.char_s)))
            whole = whole and self._room() >= due - done
            if due == len(data) and whole:
                leaving()
            if whole:
                os.write(self._device, data[done:due])
            done = due

    def _room(self) -> int:
        waiting = struct.unpack("i", fcntl.ioctl(self._reader, termios.FIONREAD, b"\0\0\0\0"))[0]
        return _INPUT_QUEUE - int(waiting)
