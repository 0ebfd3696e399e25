"""Runs a model file: one row in, one score with its shares out; state is carried from row to row."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import alarm_logic
from models import manifest as manifests
from models.baseline import Baseline
from models.manifest import Manifest
from models.missing import BoolArray, Filler, leave_out
from models.session import Verify, check_signature, open_session, refusals
from wire.block import FloatArray
from wire.errors import ModelError

ROW, CLOCK, SCORE, SHARES, DEVIATIONS, EXPECTED = "row", "clock", "score", "shares", "deviations", "expected"
# A value counts for so much at most: float32 ends at the square of it.
_LARGEST = 1e18
NEXT = "_next"  # the state `x` comes back as the output `x_next`

Clock = tuple[float, float]
"""Second of the local day, weekday (0 is Monday)."""


class Score(NamedTuple):
    """What one row is worth.

    score: >= 0, higher is stranger; NaN when the row held one that the model cannot do without. threshold: in the
    score's unit; a row in which a tag is missing has a lower one, for the same rate of false alarms. shares: shape
    (n_inputs,), each input's part of the score, >= 0, sum 1; NaN for an input that was missing. warming: True while too
    few rows were seen for the score to count. anomaly: the alarm after latch and hysteresis. deviations: shape
    (n_inputs,), smoothed distance of each input from its usual value in robust standard deviations; above 0: too high.
    expected: shape (n_inputs,), what the other inputs suggest for each, in its unit, to be held against centre +
    deviation * spread; None where the model does not say. shift, widening: shape (n_inputs,), how far the asset's own
    centre lies from the model's, in units, and how many times its spread is the model's; None where they are the same.
    """

    score: float
    threshold: float
    shares: FloatArray
    warming: bool
    anomaly: bool
    deviations: FloatArray
    expected: FloatArray | None = None
    shift: FloatArray | None = None
    widening: FloatArray | None = None


class Running:
    """One asset's way through a model. Not to be shared between assets or threads.

    Inputs and outputs lie in buffers that are bound to the session once: that halves the time of a row. Two bindings
    take turns, so that what one wrote as the next state is what the other reads.
    """

    def __init__(self, model: Model, threshold: float | None = None) -> None:
        """threshold: None for the model's own."""
        manifest = self._manifest = model.manifest
        self._threshold = manifest.threshold if threshold is None else threshold
        self._run = model.run
        n = len(manifest.inputs)
        self._row: NDArray[np.float32] = np.zeros(n, np.float32)
        self._clock: NDArray[np.float32] | None = np.zeros(2, np.float32) if model.wants_clock else None
        self._told: NDArray[np.float32] = np.zeros(1 + n * (3 if model.expects else 2), np.float32)
        self._states = [{name: np.zeros(size, np.float32) for name, size in model.states.items()} for _ in range(2)]
        parts = {SCORE: self._told[:1], SHARES: self._told[1 : n + 1], DEVIATIONS: self._told[n + 1 : 2 * n + 1]}
        if model.expects:
            parts[EXPECTED] = self._told[2 * n + 1 :]
        given = {ROW: self._row, **({} if self._clock is None else {CLOCK: self._clock})}
        read, written = self._states
        self._bindings = (
            model.bound(given | read, parts | _renamed(written)),
            model.bound(given | written, parts | _renamed(read)),
        )
        self.baseline = None if manifest.baseline is None else Baseline.of(manifest.baseline, manifest.inputs)
        self._filler = None if manifest.missing is None else Filler.of(manifest.missing, manifest.inputs)
        self._suspended = False
        self.reset()

    def reset(self) -> None:
        """Forgets every row seen: after a gap, or when the asset was switched off."""
        for states in self._states:
            for state in states.values():
                state.fill(0.0)
        self._rows = 0
        self._alarm = alarm_logic.CALM
        self._blamed = 0  # the input that had the greatest share when the alarm's threshold was last reached

    @property
    def suspended(self) -> bool:
        return self._suspended

    @property
    def alarm(self) -> alarm_logic.AlarmState:
        """As the last row has left it."""
        return self._alarm

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

    def inherit(self, old: Running) -> None:
        """Goes on where another run of the same model stands, with a threshold of its own."""
        for mine, theirs in zip(self._states, old._states, strict=True):
            for name, state in mine.items():
                state[:] = theirs[name]
        self._rows, self._alarm, self._blamed = old._rows, old._alarm, old._blamed
        self.baseline, self._suspended = old.baseline, old._suspended

    def score(self, row: FloatArray, clock: Clock = (0.0, 0.0)) -> Score:
        """Scores one row.

        row: shape (n_inputs,), in the manifest's order and units. A row with NaN or infinity in it gives a NaN score
        and is not remembered: state and alarm stay as they were; but where the model can do without what is NaN, the
        rest is scored, against a threshold for it. clock: for models with a daily profile.
        Raises ModelError where the graph fails.
        """
        manifest, n, baseline = self._manifest, len(row), self.baseline
        if self._suspended:
            return self._without(n, True)
        missing, gap = None, None
        if not np.add.reduce(np.abs(row)) <= _LARGEST:
            gone = np.isnan(row)
            missing = gone if gone.any() else None
            gap = None if self._filler is None or missing is None else self._filler.gap(gone)
            if np.isinf(row).any() or not (missing is None or gap or (manifest.takes_missing and not gone.all())):
                return self._without(n, self._rows <= manifest.warm_up_rows)
            row = np.minimum(np.maximum(row, -_LARGEST), _LARGEST)
        if baseline is not None and baseline.learning:
            if missing is None:
                baseline.learn(row)
            return self._without(n, True)
        placed, threshold = row, self._threshold
        shift = widening = None
        if baseline is not None:
            placed, shift, widening = baseline.placed(row), baseline.shift.copy(), baseline.widening
        if missing is not None and gap is not None and self._filler is not None:
            placed, threshold = self._filler.filled(placed, missing, gap), threshold * gap.factor
        self._row[:] = placed
        if self._clock is not None:
            self._clock[:] = clock
        try:
            self._run(self._bindings[self._rows & 1])
        except RuntimeError as fault:  # what onnxruntime raises for a node that fails
            raise ModelError(f"model {manifest.name} cannot be run: {str(fault).splitlines()[0]}") from fault
        told = self._told.astype(np.float64)
        number = float(told[0])
        if not math.isfinite(number):  # the next row begins with the state before this one
            return self._without(n, self._rows <= manifest.warm_up_rows)
        self._rows += 1
        warming = self._rows <= manifest.warm_up_rows
        shares, deviations = told[1 : n + 1], told[n + 1 : 2 * n + 1]
        expected = told[2 * n + 1 :] if len(told) > 2 * n + 1 else None
        if missing is not None:
            leave_out(missing, shares, deviations, expected)
        if not warming:
            self._step(number, threshold, shares, deviations, missing)
        return Score(number, threshold, shares, warming, self._alarm.raised, deviations, expected, shift, widening)

    def _step(
        self, score: float, threshold: float, shares: FloatArray, deviations: FloatArray, missing: BoolArray | None
    ) -> None:
        """The alarm after one more row; it does not end while the tag that it blames is missing."""
        rule, baseline = self._manifest.alarm, self.baseline
        held = missing is not None and self._alarm.raised and bool(missing[self._blamed])
        if baseline is None:
            self._alarm = alarm_logic.step(rule, self._alarm, score, threshold, (), held)
        else:
            self._alarm = baseline.step(rule, self._alarm, score, threshold, deviations, held)
        if self._alarm.raised and score >= threshold and not held:
            self._blamed = int(shares.argmax() if missing is None else np.nanargmax(shares))

    def _without(self, n: int, warming: bool) -> Score:
        nothing = np.full(n, np.nan)
        return Score(math.nan, self._threshold, nothing, warming, self._alarm.raised, nothing)


class Model:
    """One loaded file. session: onnxruntime's; states: name -> number of float32 values carried from row to row.

    wants_clock: the graph judges by the hour, so every row needs its time. expects: the graph says what each input
    should be.
    """

    def __init__(
        self, manifest: Manifest, session: Any, states: dict[str, int], wants_clock: bool = False, expects: bool = False
    ) -> None:
        self.manifest = manifest
        self.session = session
        self.states = states
        self.wants_clock = wants_clock
        self.expects = expects
        self.run: Callable[[Any], None] = session.run_with_iobinding

    def start(self, threshold: float | None = None) -> Running:
        """A fresh run, for one asset; a model may have many. threshold: None for the model's own."""
        return Running(self, threshold)

    def bound(self, inputs: dict[str, NDArray[np.float32]], outputs: dict[str, NDArray[np.float32]]) -> Any:
        """A binding of these arrays, which must live as long as it is used."""
        binding = self.session.io_binding()
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding


def load(path: Path, verify: Verify | None = None) -> Model:
    """Opens a model file for scoring. verify: where only signed models may run. Raises ModelError."""
    return of_content(manifests.content_of(path), path, verify)


def of_content(content: bytes, path: Path, verify: Verify | None = None) -> Model:
    """As load, from the bytes of the file; path: for messages. Raises ModelError."""
    manifest = manifests.parse(content, str(path))
    if verify is not None:
        check_signature(content, manifest.signature, path, verify)
    session = open_session(content, str(path))
    with refusals(str(path)):
        model = _checked(session, manifest, path)
        # A graph that cannot run is found here, not at the first row of a machine.
        trial = model.start()
        trial.baseline = None  # it would first learn rows of its own
        trial.score(np.array([each.centre for each in manifest.inputs]))
    return model


def _renamed(states: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {name + NEXT: state for name, state in states.items()}


def _checked(session: Any, manifest: Manifest, path: Path) -> Model:
    """The model, if graph and description fit. Raises ModelError."""
    inputs = {each.name: each.shape for each in session.get_inputs()}
    outputs = {each.name: each.shape for each in session.get_outputs()}
    n = len(manifest.inputs)
    if inputs.pop(ROW, None) != [n]:
        raise ModelError(f"{path}: its graph does not take a row of the {n} inputs that it describes")
    wants_clock = inputs.pop(CLOCK, None) is not None
    wanted = {SCORE: [1], SHARES: [n], DEVIATIONS: [n]} | {name + NEXT: shape for name, shape in inputs.items()}
    if EXPECTED in outputs:
        wanted[EXPECTED] = [n]
    if missing := set(wanted) - set(outputs):
        raise ModelError(f"{path}: its graph does not give {', '.join(sorted(missing))}")
    if odd := sorted(
        name for name, shape in wanted.items() if outputs[name] != shape or [type(x) for x in shape] != [int]
    ):
        raise ModelError(f"{path}: its graph gives {', '.join(odd)} in another shape than is needed")
    kinds = {each.type for each in (*session.get_inputs(), *session.get_outputs())}
    if kinds != {"tensor(float)"}:
        raise ModelError(f"{path}: its graph must take and give float32 only")
    states = {name: int(shape[0]) for name, shape in inputs.items()}
    return Model(manifest, session, states, wants_clock, EXPECTED in outputs)


def packaged() -> dict[str, Path]:
    """The models that come with Gaugeline: name -> file."""
    folder = Path(str(resources.files("models") / "packaged"))
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}


def resolve(path_or_name: str, beside: Path) -> Path:
    """The file that a configuration in the folder `beside` means: a path, relative to that, or the name of a packaged
    model. Raises ModelError that lists the packaged names."""
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
