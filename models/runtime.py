"""Runs a model file: one row in, one score with its shares out; state is carried from row to row."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models import alarm_logic
from models import manifest as manifests
from models.baseline import Baseline
from models.manifest import Manifest
from wire.block import FloatArray
from wire.errors import ModelError

ROW, CLOCK, SCORE, SHARES, DEVIATIONS = "row", "clock", "score", "shares", "deviations"
NEXT = "_next"  # the state `x` comes back as the output `x_next`


class Score(NamedTuple):
    """What one row is worth.

    score: >= 0, higher is stranger; NaN when the row held one. threshold: in the score's unit. shares: shape
    (n_inputs,), each input's part of the score, >= 0, sum 1. warming: True while too few rows were seen for the
    score to count. anomaly: the alarm after latch and hysteresis. deviations: shape (n_inputs,), smoothed distance of
    each input from its usual value in robust standard deviations; above 0 is too high.
    """

    score: float
    threshold: float
    shares: FloatArray
    warming: bool
    anomaly: bool
    deviations: FloatArray


class Running:
    """One asset's way through a model. Not to be shared between assets or threads."""

    def __init__(self, model: Model) -> None:
        self._manifest = model.manifest
        self._run: Callable[[Any, dict[str, Any]], list[Any]] = model.session.run
        self._states = model.states
        self._wants_clock = model.wants_clock
        self._outputs = [SCORE, SHARES, DEVIATIONS, *(name + NEXT for name in model.states)]
        self._feed: dict[str, Any] = {}
        rule = model.manifest.baseline
        self.baseline = None if rule is None else Baseline.of(rule, model.manifest.inputs)
        self._suspended = False
        self.reset()

    def reset(self) -> None:
        """Forgets every row seen: after a gap, or when the asset was switched off."""
        self._feed = {name: np.zeros(size, np.float32) for name, size in self._states.items()}
        self._rows = 0
        self._alarm = alarm_logic.CALM

    def suspend(self) -> None:
        """The asset is off or in maintenance: nothing is scored, learnt or in alarm until resume()."""
        self.reset()
        self._suspended = True

    def resume(self) -> None:
        """The asset runs again: warm-up begins anew, with the baseline as it was."""
        self._suspended = False

    def accept(self) -> None:
        """A person says that the present level is normal. Raises ModelError where the model has no managed baseline."""
        if self.baseline is None:
            raise ModelError(f"model {self._manifest.name} has no managed baseline: train another one for this level")
        self.baseline.accept()
        self.reset()

    def score(self, row: FloatArray, clock: tuple[float, float] = (0.0, 0.0)) -> Score:
        """Scores one row.

        row: shape (n_inputs,), in the manifest's order and units. A row with NaN or infinity in it gives a NaN score
        and is not remembered: state and alarm stay as they were; but a model that takes missing values scores the rest
        of a row in which at least one value is left. clock: second of the local day and weekday (0 is Monday), for
        models with a daily profile.
        """
        feed, manifest = self._feed, self._manifest
        if self._suspended:
            return self._without(row, True)
        if not math.isfinite(float(row.sum())) and not (manifest.takes_missing and _some_left(row)):
            return self._without(row, self._rows <= manifest.warm_up_rows)
        baseline = self.baseline
        if baseline is not None:
            if baseline.learning:
                baseline.learn(row)
                return self._without(row, True)
            row = baseline.placed(row)
        feed[ROW] = row.astype(np.float32)
        if self._wants_clock:
            feed[CLOCK] = np.array(clock, np.float32)
        score, shares, deviations, *states = self._run(self._outputs, feed)
        for name, state in zip(self._states, states, strict=True):
            feed[name] = state
        self._rows += 1
        number = float(score[0])
        warming = self._rows <= manifest.warm_up_rows
        told = deviations.astype(np.float64)
        if not warming:
            rule, threshold = manifest.alarm, manifest.threshold
            if baseline is None:
                self._alarm = alarm_logic.step(rule, self._alarm, number, threshold)
            else:
                self._alarm = baseline.step(rule, self._alarm, number, threshold, told)
        return Score(number, manifest.threshold, shares.astype(np.float64), warming, self._alarm.raised, told)

    def _without(self, row: FloatArray, warming: bool) -> Score:
        nothing = np.full(len(row), np.nan)
        return Score(math.nan, self._manifest.threshold, nothing, warming, self._alarm.raised, nothing)


class Model:
    """One loaded file. session: onnxruntime's; states: name -> number of float32 values carried from row to row.

    wants_clock: the graph judges by the hour, so every row needs its time.
    """

    def __init__(self, manifest: Manifest, session: Any, states: dict[str, int], wants_clock: bool = False) -> None:
        self.manifest = manifest
        self.session = session
        self.states = states
        self.wants_clock = wants_clock

    def start(self) -> Running:
        """A fresh run, for one asset; a model may have many."""
        return Running(self)


def load(path: Path) -> Model:
    """Opens a model file for scoring. Raises ModelError."""
    content = manifests.content_of(path)
    manifest = manifests.parse(content, str(path))
    try:
        import onnxruntime
    except ImportError as fault:
        raise ModelError(
            f"{path}: scoring is off on this machine: onnxruntime is not installed "
            "(there is none for 32-bit ARM; elsewhere: pip install onnxruntime). Everything else runs."
        ) from fault
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # a row is a few bytes: the arena would only cost memory
    options.log_severity_level = 3
    # onnxruntime's errors have no common base but Exception, and no public home.
    kinds = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "NoModel", "NoSuchFile")
    failures = tuple(getattr(onnxruntime.capi.onnxruntime_pybind11_state, kind) for kind in kinds)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except failures as fault:
        raise ModelError(f"{path}: onnxruntime cannot load it: {str(fault).splitlines()[0]}") from fault
    states = _states(session, manifest, path)
    wants_clock = states.pop(CLOCK, None) is not None
    return Model(manifest, session, states, wants_clock)


def _some_left(row: FloatArray) -> bool:
    """Whether NaN is the only thing wrong with a row, and not with all of it."""
    return not bool(np.isinf(row).any()) and not bool(np.isnan(row).all())


def _states(session: Any, manifest: Manifest, path: Path) -> dict[str, int]:
    """The graph's states, and `clock` where it asks for it, if graph and description fit. Raises ModelError."""
    inputs = {each.name: each.shape for each in session.get_inputs()}
    outputs = {each.name for each in session.get_outputs()}
    wanted = [len(manifest.inputs)]
    if inputs.pop(ROW, None) != wanted:
        raise ModelError(f"{path}: its graph does not take a row of the {wanted[0]} inputs that it describes")
    missing = {SCORE, SHARES, DEVIATIONS, *(name + NEXT for name in inputs if name != CLOCK)} - outputs
    if missing:
        raise ModelError(f"{path}: its graph does not give {', '.join(sorted(missing))}")
    return {name: int(shape[0]) for name, shape in inputs.items()}


def packaged() -> dict[str, Path]:
    """The models that come with Gaugeline: name -> file."""
    folder = Path(str(resources.files("models") / "packaged"))
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}


def resolve(path_or_name: str, beside: Path) -> Path:
    """The file that a configuration means: a path (relative ones beside it), or the name of a packaged model.

    beside: the folder of the configuration file. Raises ModelError that lists the packaged names.
    """
    file = beside / path_or_name
    if file.is_file():
        return file
    ours = packaged()
    name = path_or_name.removesuffix(".onnx")
    if name in ours:
        return ours[name]
    raise ModelError(
        f"model {path_or_name!r}: no such file in {beside}, and no packaged model of that name "
        f"(there are: {', '.join(ours) or 'none'})"
    )
