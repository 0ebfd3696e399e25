"""What a model file says of itself: read from its metadata, without onnx and without onnxruntime."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.alarm_logic import AlarmRule
from wire.errors import ModelError

FORMAT = "gaugeline-model/1"
MANIFEST_KEY = "gaugeline.manifest"
SEAL_KEY = "gaugeline.sha256"
SIGNATURE_KEY = "gaugeline.signature"

# onnx.proto: ModelProto has `graph` as field 7 and `metadata_props` as field 14, whose entries are key 1, value 2.
_GRAPH, _METADATA, _KEY, _VALUE = 7, 14, 1, 2


@dataclass(frozen=True, slots=True)
class Input:
    """One column of a row. unit: UCUM. centre, spread: its usual value and robust standard deviation, in that unit."""

    name: str
    unit: str
    centre: float
    spread: float


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """The rate for which the threshold was set, and what rows outside the fit showed.

    One false alarm per `rows` scored rows was asked for. In `held_out_rows` normal rows, none of which took part in
    the fit that judged it, `held_out_alarms` came, where held_out_rows / rows were expected. method: how the tail
    was fitted, and how far it reaches beyond what was seen.
    """

    rows: int
    held_out_rows: int
    held_out_alarms: int
    method: str

    @property
    def statement(self) -> str:
        return f"one false alarm per {self.rows} rows"


@dataclass(frozen=True, slots=True)
class Training:
    """Where the normal data came from. sha256: of the file's bytes. window: first and last row, in words."""

    source: str
    window: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a gateway must know before it believes a score.

    period_s: sampling period of the rows. A score at or above `threshold` speaks for an anomaly; `alarm` turns scores
    into one. warm_up_rows: rows before the first score counts. takes_missing: the graph itself deals with NaN inputs
    and scores on the rest. signature: '' where the file is not signed.
    """

    name: str
    version: str
    detector: str
    inputs: tuple[Input, ...]
    period_s: float
    threshold: float
    warm_up_rows: int
    false_alarms: FalseAlarms
    alarm: AlarmRule
    training: Training
    takes_missing: bool = False
    signature: str = field(default="")

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.inputs)

    def to_metadata(self, graph: bytes) -> dict[str, str]:
        """The pairs for ONNX' metadata_props; from_metadata is the way back. graph: the serialised GraphProto."""
        said = {"format": FORMAT, **asdict(self)}
        del said["signature"]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return {MANIFEST_KEY: text, SEAL_KEY: seal(text, graph), SIGNATURE_KEY: self.signature}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], graph: bytes, where: str) -> Manifest:
        """where: the file's name, for the message. Raises ModelError."""
        if MANIFEST_KEY not in metadata:
            raise ModelError(
                f"{where}: an ONNX file, but not one of ours (it has no {MANIFEST_KEY}); "
                "make one with `gaugeline models train`"
            )
        if SIGNATURE_KEY not in metadata or metadata.get(SEAL_KEY) != seal(metadata[MANIFEST_KEY], graph):
            raise ModelError(f"{where}: truncated or damaged: graph and description are not as they were written")
        try:
            said: dict[str, Any] = json.loads(metadata[MANIFEST_KEY])
            if said.pop("format") != FORMAT:
                raise ModelError(f"{where}: made by another version of Gaugeline; this one reads {FORMAT}")
            said["inputs"] = tuple(Input(**each) for each in said["inputs"])
            said["false_alarms"] = FalseAlarms(**said["false_alarms"])
            said["alarm"] = AlarmRule(**said["alarm"])
            said["training"] = Training(**said["training"])
            manifest = cls(**said, signature=metadata[SIGNATURE_KEY])
            _check(manifest)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise ModelError(f"{where}: its description is damaged: {fault}") from fault
        return manifest


def seal(description: str, graph: bytes) -> str:
    """SHA-256 over description and graph: finds a damaged file. Who wrote it is for the signature to say."""
    return hashlib.sha256(description.encode() + b"\0" + graph).hexdigest()


def _check(manifest: Manifest) -> None:
    """Raises ValueError or TypeError where a figure cannot be used."""
    if not manifest.inputs:
        raise ValueError("no inputs")
    if len(set(manifest.input_names)) != len(manifest.inputs):
        raise ValueError("two inputs with one name")
    for what, number in (("period_s", manifest.period_s), ("threshold", manifest.threshold)):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{what} must be above 0 (got {number})")
    if manifest.warm_up_rows < 0:
        raise ValueError(f"warm_up_rows must not be negative (got {manifest.warm_up_rows})")


def read(path: Path) -> Manifest:
    """The manifest of one model file. Raises ModelError for a missing, foreign, truncated or damaged file."""
    return parse(content_of(path), str(path))


def content_of(path: Path) -> bytes:
    """The file's bytes. Raises ModelError."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise ModelError(f"{path}: cannot be read: {fault.strerror}") from fault


def parse(content: bytes, where: str) -> Manifest:
    """The manifest in the bytes of a model file; where: its name, for the message. Raises ModelError."""
    pairs, graph = parts(content, where)
    return Manifest.from_metadata(pairs, graph, where)


def parts(content: bytes, where: str) -> tuple[dict[str, str], bytes]:
    """(metadata, graph) of an ONNX file; where: its name, for the message. Raises ModelError."""
    pairs: dict[str, str] = {}
    graph = b""
    try:
        for number, value in _fields(content):
            if number == _GRAPH:
                graph = value
            elif number == _METADATA:
                entry = {key: part.decode() for key, part in _fields(value)}
                pairs[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    except ValueError as fault:
        raise ModelError(f"{where}: not an ONNX file, or a truncated one ({fault}, {len(content)} bytes)") from fault
    if not graph:
        raise ModelError(f"{where}: not an ONNX file (no graph in its {len(content)} bytes)")
    return pairs, graph


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, bytes) of one protobuf message; empty bytes where it is a number. Raises ValueError."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field numbered 0")
        if wire_type == 0:
            _, at = _varint(content, at)
            yield number, b""
            continue
        if wire_type == 2:
            size, at = _varint(content, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if at + size > len(content):
            raise ValueError("it ends in the middle of a field")
        yield number, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            raise ValueError("it ends in the middle of a number")
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number of more than 64 bits")
