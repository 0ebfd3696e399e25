"""Small real file systems for tests: a tmpfs that fills up, an ext4 image that turns read-only after a fault."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def mounted(target: Path, *options: str) -> Iterator[Path]:
    """Skips the test, with the reason, where this user or this kernel cannot mount."""
    if os.geteuid() != 0:
        pytest.skip("a file system of its own needs root to be mounted")
    target.mkdir()
    try:
        run("mount", *options, str(target))
    except (OSError, subprocess.CalledProcessError) as fault:
        pytest.skip(f"mount {' '.join(options)} is refused here: {getattr(fault, 'stderr', fault)}")
    try:
        yield target
    finally:
        run("umount", "--lazy", str(target))  # a failed test still has its file open there


@contextmanager
def tmpfs(target: Path, size: str) -> Iterator[Path]:
    with mounted(target, "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as folder:
        yield folder


@contextmanager
def ext4(target: Path) -> Iterator[Path]:
    """8 MB in an image, read-only after its first fault, as card images are set up."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 (Debian's e2fsprogs) is not installed")
    image = target.with_suffix(".img")
    image.write_bytes(b"")
    os.truncate(image, 8_000_000)
    run("mkfs.ext4", "-q", str(image))
    with mounted(target, "-o", "loop,errors=remount-ro", str(image)) as folder:
        yield folder


def break_ext4(folder: Path) -> None:
    """The kernel's own switch: the file system notices a fault and goes read-only."""
    device = Path(run("findmnt", "-no", "SOURCE", str(folder)).strip()).name
    Path("/sys/fs/ext4", device, "trigger_fs_error").write_text("test of a gateway")
