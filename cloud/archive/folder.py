"""Where the archive lies: a local folder or a bucket of an S3-compatible storage. Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs

from wire.errors import ConfigError, StoreDown

TEMPORARY = ".tmp-"
"""What a name begins with until the file is whole; what a killed process leaves behind."""
_PIECE = 1 << 20


class ArchiveDown(StoreDown):
    """The archive's folder cannot be read or written; what was to be archived stays due."""


@dataclass(slots=True)
class Folder:
    """place: as it was given. Paths are relative to it, with '/'. All raise ArchiveDown."""

    place: str
    _fs: Any = field(repr=False)
    _root: str = ""
    _local: Path | None = None

    @property
    def scratch(self) -> str:
        """Where temporary files are made: on the disk of the archive, so that a whole file is only renamed."""
        return str(self._local) if self._local is not None else tempfile.gettempdir()

    @property
    def is_local(self) -> bool:
        return self._local is not None

    def path_of(self, path: str) -> Path:
        """Of a file in a local folder."""
        assert self._local is not None
        return self._local / path

    def dataset(self, paths: list[str], schema: Any) -> Any:
        """Parquet files as one Arrow dataset."""
        with self._told(paths[0]):
            return ds.dataset([self._at(path) for path in paths], schema, format="parquet", filesystem=self._fs)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError too."""
        with self._told(path), self._fs.open_input_stream(self._at(path)) as stream:
            content: bytes = stream.read()
            return content

    def open(self, path: str) -> Any:
        """A pyarrow file for random access. Raises FileNotFoundError too."""
        with self._told(path):
            return self._fs.open_input_file(self._at(path))

    def hashed(self, path: str) -> tuple[int, str]:
        """Bytes and SHA-256 as hex digits. Raises FileNotFoundError too."""
        digest, size = hashlib.sha256(), 0
        with self._told(path), self._fs.open_input_stream(self._at(path)) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        return size, digest.hexdigest()

    def names(self, path: str = "") -> list[str]:
        """What lies directly below, sorted; nothing where there is no such folder."""
        with self._told(path):
            found = self._fs.get_file_info(fs.FileSelector(self._at(path), allow_not_found=True))
        return sorted(str(f.base_name) for f in found)

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A local file to be written and then put; gone at the end whatever happens."""
        with self._told("a temporary file", made=True):
            if self._local is not None:
                self._local.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=self.scratch)
            os.close(number)
        try:
            yield Path(name)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()

    def put(self, source: Path, path: str) -> None:
        """A local file becomes this one, replacing what stood there. The source may be gone afterwards."""
        with self._told(path, made=True):
            if self._local is not None:
                target = self._local / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as stream:
                    os.fsync(stream.fileno())
                source.chmod(0o644)
                source.replace(target)
                _sync(target.parent)
                return
            with source.open("rb") as stream, self._fs.open_output_stream(self._at(path)) as out:
                while piece := stream.read(_PIECE):
                    out.write(piece)

    def put_text(self, text: str, path: str) -> None:
        with self.temporary() as file:
            with self._told(path):
                file.write_text(text, encoding="utf-8")
            self.put(file, path)

    def get(self, path: str, target: Path) -> None:
        """A local copy. Raises FileNotFoundError too."""
        with self._told(path), self._fs.open_input_stream(self._at(path)) as stream, target.open("wb") as out:
            while piece := stream.read(_PIECE):
                out.write(piece)

    def delete(self, path: str) -> None:
        with self._told(path), suppress(FileNotFoundError):
            self._fs.delete_file(self._at(path))

    def check(self) -> None:
        """Raises ConfigError when nothing can be kept here."""
        try:
            self.put_text("", f"{TEMPORARY}check")
            self.delete(f"{TEMPORARY}check")
        except ArchiveDown as fault:
            raise ConfigError(str(fault)) from fault

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _told(self, path: str, made: bool = False) -> Iterator[None]:
        """made: it is about to be made, so that nothing is missing but a place for it."""
        try:
            yield
        except OSError as fault:
            if isinstance(fault, FileNotFoundError) and not made:
                raise
            what = fault.strerror or str(fault)
            raise ArchiveDown(f"archive {shown(self.place)}, {path or 'the folder'}: {what}") from fault


def shown(place: str) -> str:
    """Without what may be secret behind the path."""
    scheme, _, rest = place.rpartition("://")
    return f"{scheme}://{rest.split('?')[0].rpartition('@')[2]}" if scheme else place


def open_folder(place: str, base: Path = Path()) -> Folder:
    """A path (relative to base), or s3://BUCKET/PREFIX[?endpoint_override=HOST:PORT&scheme=http&region=R].

    The keys of an S3 storage come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Raises ConfigError.
    """
    if "://" not in place:
        root = Path(os.path.abspath(base / place))  # noqa: PTH100 - symbolic links stay
        return Folder(str(root), fs.LocalFileSystem(), str(root), root)
    if not place.startswith("s3://"):
        raise ConfigError(f"archive {shown(place)!r}: write a folder, or s3://BUCKET/PREFIX")
    try:
        found, root_path = fs.FileSystem.from_uri(place)
    except (ValueError, OSError) as fault:
        raise ConfigError(f"archive {shown(place)}: {fault}") from fault
    return Folder(place, found, root_path.rstrip("/"))


def _sync(folder: Path) -> None:
    """A rename is durable once the folder is."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
