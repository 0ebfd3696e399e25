"""A temporary folder with its owner's name on it, so that what a killed simulator left can be told from what one uses.

`owner` in it holds the process id, when that process started, the boot and the process namespace. A folder whose owner
has ended is removed at the next start; one without such a file, or with that of another boot's or container's
processes, is nobody's to judge and stays.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "gaugeline-sim-"
OWNER = "owner"


def make(parent: Path | None = None) -> Path:
    """A new folder of this process, in the system's temporary folder unless another is named."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if (owner := _owner(os.getpid())) is not None:
        (folder / OWNER).write_text(json.dumps(owner))
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path | None = None) -> list[Path]:
    """Removes folders whose owners have ended. Returns which."""
    swept = []
    for folder in sorted((parent or Path(tempfile.gettempdir())).glob(f"{PREFIX}*")):
        if _left_behind(folder):
            remove(folder)
            swept.append(folder)
    return swept


def _left_behind(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        owner = json.loads((folder / OWNER).read_text())
        pid = int(owner["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no owner's name, one that is being written, or a folder that has just gone
    here = _owner(os.getpid())
    if here is None or any(owner.get(key) != here[key] for key in ("boot", "namespace")):
        return False
    return bool(_started(pid) != owner.get("started"))


def _owner(pid: int) -> dict[str, str | int] | None:
    """None where there is no /proc to ask: then nothing is known, and nothing is swept."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    started = _started(pid)
    return None if started is None else {"pid": pid, "started": started, "boot": boot, "namespace": namespace}


def _started(pid: int) -> int | None:
    """Clock ticks since boot at which a process started, field 22 of proc(5) stat; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])  # a zombie has ended and is only not yet reaped
