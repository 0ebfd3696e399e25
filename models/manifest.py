"""What a model file says of itself: read from its metadata, without onnx and without onnxruntime."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.missing import BoolArray, MissingRule
from wire.errors import ModelError

FORMAT = "gaugeline-model/1"
MANIFEST_KEY, LIFE_KEY = "gaugeline.manifest", "gaugeline.life"
SEAL_KEY = "gaugeline.sha256"
SIGNATURE_KEY = "gaugeline.signature"

# onnx.proto: ModelProto has `graph` as field 7 and `metadata_props` as field 14, whose entries are key 1, value 2.
_GRAPH, _METADATA, _KEY, _VALUE = 7, 14, 1, 2

_UNSAID = ("peak_ratio", "settle_rows", "settle_ratio")


@dataclass(frozen=True, slots=True)
class Input:
    """One column of a row. unit: UCUM. centre, spread: its usual value and robust standard deviation, in that unit.

    follows: the inputs that say most about what this one should be, the first one most.
    """

    name: str
    unit: str
    centre: float
    spread: float
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One point of a calibration curve: a threshold for one false alarm per `rows` rows, and the alarms that such
    thresholds raised in the held-out rows."""

    rows: float
    threshold: float
    held_out_alarms: int


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """The rate for which the threshold was set, and what rows outside the fit showed.

    One false alarm per `rows` scored rows was asked for. In `held_out_rows` normal rows, none of which took part in
    the fit that judged it, `held_out_alarms` came, where held_out_rows / rows were expected. method: how the tail
    was fitted, and how far it reaches beyond what was seen. curve: other rates and their thresholds, rising.
    """

    rows: int
    held_out_rows: int
    held_out_alarms: int
    method: str
    curve: tuple[Calibrated, ...] = ()

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
    and scores on the rest. missing: which inputs it can do without, by what the others suggest in their place; None
    where it needs all. baseline: how the centre may follow each asset; None where it stands still.
    signature: '' where the file is not signed.
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
    baseline: BaselineRule | None = None
    missing: MissingRule | None = None
    signature: str = field(default="")

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.inputs)

    def goes_without(self, missing: BoolArray) -> bool:
        """Whether a row is scored in which these are missing. missing: shape (n_inputs,)."""
        if self.takes_missing:
            return not bool(missing.all())
        return not missing.any() if self.missing is None else self.missing.allows(missing)

    def threshold_for(self, every_s: float) -> float:
        """The threshold for one false alarm in that many seconds, from the calibration curve.

        Between two points of the curve the threshold is linear in the logarithm of the rows, as an exponential tail
        is. Raises ModelError outside of the curve, where nothing is known.
        """
        curve, rows = self.false_alarms.curve, every_s / self.period_s
        if not curve:
            raise ModelError(
                f"model {self.name} holds no calibration curve: leave false_alarms out (its own rate is "
                f"{self.false_alarms.statement}), or train it anew"
            )
        first, last = curve[0], curve[-1]
        if not first.rows * (1 - 1e-9) <= rows <= last.rows * (1 + 1e-9):
            raise ModelError(
                f"model {self.name} is calibrated for one false alarm in {duration(first.rows * self.period_s)} to "
                f"{duration(last.rows * self.period_s)}; one in {duration(every_s)} is outside: choose a rate between, "
                "or train it from more normal data"
            )
        for below, above in pairwise(curve):
            if rows <= above.rows:
                part = math.log(max(rows, below.rows) / below.rows) / math.log(above.rows / below.rows)
                return below.threshold + part * (above.threshold - below.threshold)
        return last.threshold

    def to_metadata(self, graph: bytes) -> dict[str, str]:
        """The pairs for ONNX' metadata_props; from_metadata is the way back. graph: the serialised GraphProto."""
        said = {"format": FORMAT, **asdict(self)}
        del said["signature"]
        # What is not used is not said: files without it stay the same, byte for byte.
        for key in ("baseline", "missing"):
            if said[key] is None:
                del said[key]
        said["alarm"] = {key: value for key, value in said["alarm"].items() if value or key not in _UNSAID}
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
            said["inputs"] = tuple(
                Input(**{**each, "follows": tuple(each.get("follows", ()))}) for each in said["inputs"]
            )
            rate = said["false_alarms"]
            curve = tuple(Calibrated(**each) for each in rate.get("curve", ()))
            said["false_alarms"] = FalseAlarms(**{**rate, "curve": curve})
            said["alarm"] = AlarmRule(**said["alarm"])
            if "baseline" in said:
                said["baseline"] = BaselineRule.of(said["baseline"])
            if "missing" in said:
                said["missing"] = MissingRule.of(said["missing"])
            said["training"] = Training(**said["training"])
            manifest = cls(**said, signature=metadata[SIGNATURE_KEY])
            _check(manifest)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise ModelError(f"{where}: its description is damaged: {fault}") from fault
        return manifest


def seal(description: str, graph: bytes) -> str:
    """SHA-256 over description and graph: finds a damaged file. Who wrote it is for the signature to say."""
    return hashlib.sha256(description.encode() + b"\0" + graph).hexdigest()


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would choose."""
    for size, unit in ((604800.0, "weeks"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _check(manifest: Manifest) -> None:
    """Raises ValueError or TypeError where a figure cannot be used."""
    if not manifest.inputs:
        raise ValueError("no inputs")
    if len(set(manifest.input_names)) != len(manifest.inputs):
        raise ValueError("two inputs with one name")
    for what, number in (("period_s", manifest.period_s), ("threshold", manifest.threshold)):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{what} must be above 0 (got {number})")
    if manifest.baseline is not None and not set(manifest.baseline.slow) <= set(manifest.input_names):
        raise ValueError("its baseline names a slow input that it does not have")
    if manifest.missing is not None and len(manifest.missing.factors) != len(manifest.inputs):
        raise ValueError("what it says of missing inputs does not fit its inputs")
    points = [(each.rows, each.threshold) for each in manifest.false_alarms.curve]
    rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in pairwise(points))
    if not (rising and all(math.isfinite(number) and number > 0 for point in points for number in point)):
        raise ValueError("the calibration curve must rise")
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
    return Manifest.from_metadata(*parts(content, where), where)


def signed_part(content: bytes, where: str) -> bytes:
    """What a signature of a model file covers: the seal, and with it description and graph. Raises ModelError."""
    pairs, graph = parts(content, where)
    return seal(pairs.get(MANIFEST_KEY, pairs.get(LIFE_KEY, "")), graph).encode()


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
