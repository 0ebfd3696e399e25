"""A process under strace: what it wrote, synced and sent, in order, byte for byte."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_CALLS = "openat,close,pwrite64,write,fdatasync,fsync,sendto,connect,dup"
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)$", re.DOTALL)
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_RESULT = re.compile(r"= (-?\d+)")
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """name, its first number (a file descriptor), bytes given, last number given (an offset), result.

    begun: the line at which it was entered; done: at which it returned.
    """

    name: str
    fd: int
    data: bytes
    offset: int
    result: int
    begun: int
    done: int


def command(log: Path, *argv: str) -> list[str]:
    """Skips the test where strace is missing or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    probe = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"strace may not trace here: {probe.stderr[:200]}")
    options = ["-f", "-qq", "--seccomp-bpf", "-xx", "-s", "10000000", "-o", str(log), "-e", f"trace={_CALLS}"]
    return ["strace", *options, *argv]


def calls(log: Path) -> list[Call]:
    """In the order in which they returned; a send in the order in which it was entered."""
    found: list[Call] = []
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(log.read_text(errors="replace").splitlines()):
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, text = parts.groups()
        if text.endswith("<unfinished ...>"):
            begun[thread] = (number, text.removesuffix("<unfinished ...>").rstrip())
            continue
        start = number
        if (resumed := _RESUMED.match(text)) is not None:
            start, head = begun.pop(thread, (number, ""))
            text = head + resumed[2]
        if (call := _CALL.match(text)) is not None:
            found.append(_call(call[1], call[2], start, number))
    return sorted(found, key=lambda c: c.begun if c.name == "sendto" else c.done)


def _call(name: str, rest: str, begun: int, done: int) -> Call:
    given, _, tail = rest.rpartition(")")
    result = _RESULT.search(tail)
    texts = _BYTES.findall(given)
    data = bytes.fromhex(texts[0].replace("\\x", "")) if texts else b""
    numbers = re.findall(r"(?:^|, )(-?\d+)(?=,|$)", _BYTES.sub("", given))
    fd = int(numbers[0]) if numbers else -1
    return Call(name, fd, data, int(numbers[-1]) if numbers else 0, int(result[1]) if result else -1, begun, done)


@dataclass
class Disk:
    """A disk that keeps only what was synced: every write waits until its file descriptor's fdatasync has returned."""

    names: dict[int, str] = field(default_factory=dict)
    synced: dict[str, bytearray] = field(default_factory=dict)
    waiting: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    def take(self, call: Call) -> None:
        if call.name == "openat" and call.result >= 0:
            self.names[call.result] = Path(call.data.decode(errors="replace")).name
        elif call.name == "pwrite64" and call.fd in self.names:
            self.waiting.setdefault(self.names[call.fd], []).append((call.offset, call.data))
        elif call.name in ("fdatasync", "fsync") and call.fd in self.names and call.result == 0:
            content = self.synced.setdefault(self.names[call.fd], bytearray())
            for offset, data in self.waiting.pop(self.names[call.fd], []):
                content.extend(b"\0" * (offset + len(data) - len(content)))
                content[offset : offset + len(data)] = data

    def write_out(self, folder: Path, names: Iterator[str] | list[str]) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            if name in self.synced:
                (folder / name).write_bytes(self.synced[name])
