"""A folder of models and their versions: which one is current, who made it so and when, and the way back.

    <folder>/<name>/<version>.onnx   as added, never changed
    <folder>/<name>/current.onnx     the one that site.yaml names
    <folder>/log.jsonl               who did what, one JSON object a line

`current.onnx` is exchanged by a rename: whoever reads it sees the old one or the new one, whole. What was meant stands
in the log before the rename; after a crash between the two, the bytes of current.onnx say which it is, and an
entry that did not come to pass is passed over.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from models import manifest as manifests
from models.manifest import Manifest
from wire.errors import ConfigError, ModelError
from wire.ids import check_id

CURRENT = "current"
_LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. what: add, promote, rollback, or void: the one before did not come to pass. sha256: of the
    version's file."""

    when: str
    who: str
    what: str
    name: str
    version: str
    sha256: str


class Version(NamedTuple):
    """One version in the folder. since, who: of its promotion, '' where it was never current."""

    manifest: Manifest
    sha256: str
    current: bool
    since: str
    who: str


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Registry:
    """One folder. who, now: for the log."""

    def __init__(self, folder: Path, who: str | None = None, now: Callable[[], str] = _now) -> None:
        self._folder = folder
        self._who = who
        self._now = now

    def add(self, file: Path) -> Manifest:
        """Takes a model's file in, with its card and pictures where they lie beside it. Raises ModelError."""
        content = manifests.content_of(file)
        said = manifests.parse(content, str(file))
        if said.version == CURRENT:
            raise ModelError(f"{file}: its version cannot be {said.version!r}")
        target = self._file(said.name, said.version)
        digest = hashlib.sha256(content).hexdigest()
        if target.exists():
            if _digest(target) == digest:
                raise ModelError(f"{said.name} version {said.version} is in {self._folder} already")
            raise ModelError(
                f"{self._folder} has another {said.name} version {said.version}: give the new one another version"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        for beside in sorted(file.parent.glob(f"{file.stem}.*")):
            if beside.suffix in (".md", ".png"):
                _write(target.parent / f"{said.version}{beside.name.removeprefix(file.stem)}", beside.read_bytes())
        _write(target, content)
        self._note("add", said.name, said.version, digest)
        return said

    def versions(self, name: str | None = None) -> dict[str, list[Version]]:
        """name -> its versions in the order in which they were added. Raises ModelError for a damaged file."""
        log = self._log()
        found: dict[str, list[Version]] = {}
        for folder in sorted(each for each in self._folder.glob("*") if each.is_dir() and name in (None, each.name)):
            files = {file.stem: file for file in folder.glob("*.onnx") if file.stem != CURRENT}
            order = [entry.version for entry in log if entry.what == "add" and entry.name == folder.name]
            current = self._current(folder.name)
            for version in sorted(files, key=lambda v: (order.index(v) if v in order else len(order), v)):
                digest = _digest(files[version])
                made = [entry for entry in self._made(folder.name) if entry.version == version]
                since, who = (made[-1].when, made[-1].who) if made else ("", "")
                said = manifests.read(files[version])
                found.setdefault(folder.name, []).append(Version(said, digest, digest == current, since, who))
        return found

    def promote(self, name: str, version: str) -> Manifest:
        """Makes it the current one. Raises ModelError."""
        return self._make_current(name, version, "promote")

    def rollback(self, name: str) -> Manifest:
        """Makes the one current that was so before. Raises ModelError."""
        past = self._past(name)
        if len(past) < 2:
            raise ModelError(f"{name}: no version was current before {past[0] if past else 'now'}")
        return self._make_current(name, past[-2], "rollback")

    def log(self, name: str | None = None) -> list[Entry]:
        return [entry for entry in self._log() if name in (None, entry.name)]

    def _make_current(self, name: str, version: str, what: str) -> Manifest:
        file = self._file(name, version)
        if not file.is_file():
            known = [each.manifest.version for each in self.versions(name).get(name, ())]
            raise ModelError(f"{self._folder}: no {name} version {version}; there are: {', '.join(known) or 'none'}")
        content = manifests.content_of(file)
        said = manifests.parse(content, str(file))
        digest = hashlib.sha256(content).hexdigest()
        if digest == self._current(name):
            raise ModelError(f"{name} version {version} is current already")
        if (made := self._made(name)) and made[-1].sha256 != self._current(name):
            self._note("void", name, made[-1].version, made[-1].sha256)
        self._note(what, name, version, digest)
        _write(file.with_name(f"{CURRENT}.onnx"), content)
        return said

    def _past(self, name: str) -> list[str]:
        """The versions that were current one after the other, but for those that were taken back."""
        past: list[tuple[str, str]] = []
        entries, current = self._made(name), self._current(name)
        if entries and entries[-1].sha256 != current:
            entries.pop()
        for entry in entries:
            if entry.what == "rollback" and len(past) > 1:
                past.pop()
            if not past or past[-1][1] != entry.sha256:
                past.append((entry.version, entry.sha256))
        return [version for version, _ in past]

    def _made(self, name: str) -> list[Entry]:
        """What made a version current; the last one perhaps only meant to."""
        made: list[Entry] = []
        for entry in self._log():
            if entry.name == name and entry.what == "void":
                made = made[:-1]
            elif entry.name == name and entry.what != "add":
                made.append(entry)
        return made

    def _file(self, name: str, version: str) -> Path:
        for part, what in ((name, "model"), (version, "version")):
            try:
                check_id(part, what)
            except ConfigError as fault:
                raise ModelError(str(fault)) from fault
        return self._folder / name / f"{version}.onnx"

    def _current(self, name: str) -> str:
        file = self._folder / name / f"{CURRENT}.onnx"
        return _digest(file) if file.is_file() else ""

    def _log(self) -> list[Entry]:
        """A last line that a crash cut off is no entry."""
        try:
            text = (self._folder / _LOG).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        found = []
        for line in text.split("\n")[:-1]:
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # the torn end of a line that another one was then written behind
        return found

    def _note(self, what: str, name: str, version: str, sha256: str) -> None:
        entry = Entry(self._now(), self._who or _person(), what, name, version, sha256)
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOG).open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the power fails. Raises ModelError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as fault:
        raise ModelError(f"{path}: cannot be written: {fault.strerror}") from fault
