"""A machine of its own for one gateway: a wall clock that is wrong, boots by a time namespace and a boot id."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import psutil

from firmware_sim.demo.processes import Child, gaugeline

SOURCE = Path(__file__).with_name("wrong_clock.c")


def no_machine() -> str:
    """Why no such machine can be made here; '' when it can."""
    if shutil.which("gcc") is None:
        return "the wrong clock is compiled, and gcc is not installed: run deploy/setup/servers.sh"
    program = shutil.which("unshare")
    tried = [program or "unshare", "--time", "--mount", "--fork", "true"]
    if program is None or subprocess.run(tried, capture_output=True, check=False).returncode:
        return "only root may give a process a boot of its own (unshare --time --mount)"
    return ""


class Machine:
    """The gateway's machine. wall: how far its clock is off the true time, changed while the gateway runs."""

    def __init__(self, folder: Path, off_s: int) -> None:
        self._folder = folder
        self._wall, self._boot, self._library = folder / "wall", folder / "boot_id", folder / "wrong_clock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"], check=True)
        self._wall.write_bytes(bytes(8))
        self.wall(off_s)
        self._zero_s = 0

    def wall(self, off_s: int) -> None:
        """At once."""
        with self._wall.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", off_s))

    def boot(self) -> None:
        """What starts from now on runs in another boot, which began within this second."""
        time.sleep(1.1)
        self._boot.write_text(f"{uuid4()}\n")
        self._zero_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))

    def gateway(self, site: Path) -> Child:
        """A gateway on this machine, in its present boot; not started. Before the first boot it shares ours."""
        mounted = f"mount --bind {self._boot} /proc/sys/kernel/random/boot_id && " if self._zero_s else ""
        inside = f'{mounted}exec env LD_PRELOAD={self._library} WRONG_CLOCK={self._wall} "$@"'
        command = [
            *("unshare", "--time", "--boottime", str(-self._zero_s), "--mount", "--fork", "--kill-child"),
            *("sh", "-c", inside, "sh", *gaugeline("gateway", "run", "--verbose", str(site))),
        ]
        return Child("gateway", command, self._folder)


def inside(gateway: Child) -> list[psutil.Process]:
    """The gateway itself, which is a child of unshare."""
    if gateway.process is None:
        raise RuntimeError("the gateway was not started")
    return psutil.Process(gateway.process.pid).children(recursive=True)


def end(gateway: Child, number: int, wait_s: float) -> int:
    """A signal to the gateway itself; the exit code."""
    outer, found = gateway.process, inside(gateway)
    for process in found:
        process.send_signal(number)
    return outer.wait(wait_s) if outer is not None else 0
