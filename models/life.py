"""Remaining useful life of one machine, row by row, from a model file: an estimate with its interval.

Reads the file's description and runs its graph; needs numpy and onnxruntime only. models/life_train.py makes the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models import manifest as manifests
from models.manifest import LIFE_KEY, SEAL_KEY, SIGNATURE_KEY, Input, Training, seal
from models.session import open_session
from wire.block import FloatArray
from wire.errors import ModelError

FORMAT = "gaugeline-life/1"
ROW, RUL, LOWER, UPPER = "row", "rul", "lower", "upper"
NEXT = "_next"  # the state `x` comes back as the output `x_next`


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How good the model was on units that took no part in its fit: each tenth of the units, cut at many points.

    rmse, width: in the unit of life, against the true life, not capped. score: NASA's, per 100 units. coverage: part
    of the true lives within the interval, whose margins come from the other tenths.
    """

    units: int
    cuts: int
    rmse: float
    score: float
    coverage: float
    width: float


@dataclass(frozen=True, slots=True)
class Cap:
    """One candidate for the longest life that training tells apart, and what held-out units said of it."""

    cap: float
    rmse: float
    score: float


@dataclass(frozen=True, slots=True)
class LifeManifest:
    """What a remaining-life file says of itself.

    life_unit: what is counted down, `cycles` for instance; one row is one of it. cap: the longest remaining life that
    training told apart; a prediction near it means "at least so much". horizon: the longest remaining life for which
    the figures in held_out hold. level: of the interval. warm_up_rows: rows before an estimate counts. longest: the
    longest life seen. The graph takes one value for each of `inputs`, in their units and order, from a machine's first
    row on. ignored: input -> why nothing was learnt from it.
    """

    name: str
    version: str
    inputs: tuple[Input, ...]
    life_unit: str
    cap: float
    caps: tuple[Cap, ...]
    horizon: float
    level: float
    warm_up_rows: int
    longest: float
    regimes: int
    held_out: HeldOut
    training: Training
    ignored: dict[str, str]
    signature: str = field(default="")

    def to_metadata(self, graph: bytes) -> dict[str, str]:
        """The pairs for ONNX' metadata_props; from_metadata is the way back. graph: the serialised GraphProto."""
        said = {"format": FORMAT, **asdict(self)}
        del said["signature"]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return {LIFE_KEY: text, SEAL_KEY: seal(text, graph), SIGNATURE_KEY: self.signature}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], graph: bytes, where: str) -> LifeManifest:
        """where: the file's name, for the message. Raises ModelError."""
        if LIFE_KEY not in metadata:
            raise ModelError(f"{where}: an ONNX file, but not a remaining-life model of ours (it has no {LIFE_KEY})")
        if SIGNATURE_KEY not in metadata or metadata.get(SEAL_KEY) != seal(metadata[LIFE_KEY], graph):
            raise ModelError(f"{where}: truncated or damaged: graph and description are not as they were written")
        try:
            said: dict[str, Any] = json.loads(metadata[LIFE_KEY])
            if said.pop("format") != FORMAT:
                raise ModelError(f"{where}: made by another version of Gaugeline; this one reads {FORMAT}")
            said["inputs"] = tuple(
                Input(each["name"], each["unit"], each["centre"], each["spread"]) for each in said["inputs"]
            )
            said["caps"] = tuple(Cap(**each) for each in said["caps"])
            said["held_out"] = HeldOut(**said["held_out"])
            said["training"] = Training(**said["training"])
            manifest = cls(**said, signature=metadata[SIGNATURE_KEY])
            if not manifest.inputs or not all(x > 0 and math.isfinite(x) for x in (manifest.cap, manifest.longest)):
                raise ValueError("inputs, cap and longest life must be there")
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise ModelError(f"{where}: its description is damaged: {fault}") from fault
        return manifest


class Life(NamedTuple):
    """Remaining life in the manifest's life_unit. lower, upper: the interval. warming: too few rows were seen; the
    interval is then as wide as anything that training showed."""

    rul: float
    lower: float
    upper: float
    warming: bool


class Running:
    """One machine's way through a model, from its first row on. Not to be shared between machines or threads."""

    def __init__(self, model: LifeModel) -> None:
        self._manifest = model.manifest
        self._session = model.session
        self._states = model.states
        self._outputs = [RUL, LOWER, UPPER, *(name + NEXT for name in model.states)]
        self.reset()

    def reset(self) -> None:
        """Forgets every row seen: after an overhaul."""
        self._feed: dict[str, Any] = {name: np.zeros(size, np.float32) for name, size in self._states.items()}
        self._rows = 0

    @property
    def rows(self) -> int:
        """Seen since the machine's first one."""
        return self._rows

    def saved(self) -> dict[str, Any]:
        """What must outlive a restart, as JSON's own types; restore() is the way back."""
        return {"rows": self._rows, "states": {name: self._feed[name].tolist() for name in self._states}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError where it was saved for another model."""
        states = {name: np.array(saved["states"][name], np.float32) for name in self._states}
        if any(states[name].shape != (size,) for name, size in self._states.items()) or int(saved["rows"]) < 0:
            raise ValueError("the states of another remaining-life model")
        self._feed, self._rows = dict(states), int(saved["rows"])

    def step(self, row: FloatArray) -> Life:
        """What is left after this row. Raises ModelError where the graph fails.

        row: shape (n_inputs,), in the manifest's order and units. A value that is NaN keeps its last one; infinity
        counts as NaN.
        """
        feed = self._feed
        feed[ROW] = np.where(np.isfinite(row), row, np.nan).astype(np.float32)
        try:
            rul, lower, upper, *states = self._session.run(self._outputs, feed)
        except RuntimeError as fault:  # what onnxruntime raises for a node that fails
            raise ModelError(f"model {self._manifest.name} cannot be run: {str(fault).splitlines()[0]}") from fault
        for name, state in zip(self._states, states, strict=True):
            feed[name] = state
        self._rows += 1
        estimate = float(rul[0])
        if self._rows < self._manifest.warm_up_rows:
            return Life(estimate, 0.0, max(self._manifest.longest - self._rows, float(upper[0])), warming=True)
        return Life(estimate, float(lower[0]), float(upper[0]), warming=False)


class LifeModel:
    """One loaded file. session: onnxruntime's; states: name -> number of float32 values carried from row to row."""

    def __init__(self, manifest: LifeManifest, session: Any, states: dict[str, int]) -> None:
        self.manifest = manifest
        self.session = session
        self.states = states

    def start(self) -> Running:
        """A fresh run, for one machine; a model may have many."""
        return Running(self)

    def after(self, rows: FloatArray) -> Life:
        """What is left after the last of these rows of one machine. rows: shape (n_rows, n_inputs), n_rows >= 1."""
        running = self.start()
        for row in rows[:-1]:
            running.step(row)
        return running.step(rows[-1])


def read(path: Path) -> LifeManifest:
    """The manifest of one file. Raises ModelError for a missing, foreign, truncated or damaged file."""
    metadata, graph = manifests.parts(manifests.content_of(path), str(path))
    return LifeManifest.from_metadata(metadata, graph, str(path))


def load(path: Path) -> LifeModel:
    """Opens a remaining-life file. Raises ModelError."""
    return of_content(manifests.content_of(path), path)


def of_content(content: bytes, path: Path) -> LifeModel:
    """As load, from the bytes of the file; path: for messages. Raises ModelError."""
    metadata, graph = manifests.parts(content, str(path))
    manifest = LifeManifest.from_metadata(metadata, graph, str(path))
    session = open_session(content, str(path))
    states = {each.name: int(each.shape[0]) for each in session.get_inputs()}
    if states.pop(ROW, None) != len(manifest.inputs):
        raise ModelError(f"{path}: its graph does not take a row of the {len(manifest.inputs)} inputs it describes")
    missing = {RUL, LOWER, UPPER, *(name + NEXT for name in states)} - {each.name for each in session.get_outputs()}
    if missing:
        raise ModelError(f"{path}: its graph does not give {', '.join(sorted(missing))}")
    return LifeModel(manifest, session, states)
