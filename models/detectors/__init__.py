"""Detectors: one file each, trained from normal operation, exported as one ONNX graph. A new one is one line below.

What is named here is a class with `fit`, or a function: called with the normal pieces, each of shape
(n_rows, n_inputs), it returns a fitted Detector. Its other parameters are the keys of `detector_settings` in the
training file, checked by their annotations; but what is a field of Given comes from the training, where a detector
asks for it by that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from models.alarm_logic import AlarmRule
from wire.block import FloatArray

if TYPE_CHECKING:
    from models.detectors.detector import Detector

# name -> module:attribute, imported when it is used: some bring much.
DETECTORS: Mapping[str, str] = {
    "robust_distance": "models.detectors.robust_distance:RobustDistance",
    "level": "models.detectors.trained:level",
    "pca": "models.detectors.pca:Pca",
    "neighbours": "models.detectors.neighbours:Neighbours",
    "combined": "models.detectors.trained:combined",
    "novelty": "models.detectors.trained:novelty",
    "seasonal": "models.detectors.trained:seasonal",
    "forecast": "models.detectors.trained:forecast",
    "seasonal_novelty": "models.detectors.trained:seasonal_novelty",
}
# They judge one series, learn on while they run, and tell an anomaly once, in one row. What they were fitted to does
# not surprise them, so that their thresholds come from rows that did not take part in the fit.
SINGLE_SERIES = frozenset({"novelty", "seasonal", "forecast", "seasonal_novelty"})
# They judge how several tags go together.
_SEVERAL = frozenset({"pca"})


@dataclass(frozen=True)
class Given:
    """What the training says to a detector that asks for it.

    period_s: of the rows. seed: of what is drawn at random. clocks: one array of shape (n_rows, 2) a piece: second of
    the local day, weekday. inputs: (name, unit) of each. rule, every_rows: when an alarm is raised, and the rows for
    one false alarm. warm_up_rows: of each piece, whose scores do not count.
    """

    period_s: float
    seed: int
    clocks: Sequence[FloatArray]
    inputs: Sequence[tuple[str, str]]
    rule: AlarmRule
    every_rows: int
    warm_up_rows: int


_GIVEN = frozenset(each.name for each in fields(Given))


def factory(name: str) -> Callable[..., Detector]:
    """What fits the detector of that name. Raises KeyError, and ModuleNotFoundError where its packages are missing."""
    module, _, attribute = DETECTORS[name].partition(":")
    found = getattr(import_module(module), attribute)
    made: Callable[..., Detector] = getattr(found, "fit", found)
    return made


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """What the training file may say of it: name -> parameter with its usual value."""
    _pieces, *others = inspect.signature(factory(name)).parameters.values()
    return {each.name: each for each in others if each.name not in _GIVEN}


def checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as the detector takes them. Raises pydantic's ValidationError."""
    hints = get_type_hints(factory(name), include_extras=True)
    fields: dict[str, Any] = {
        each.name: (hints.get(each.name, Any), ... if each.default is inspect.Parameter.empty else each.default)
        for each in parameters(name).values()
    }
    model = create_model(f"{name} settings", __config__=ConfigDict(extra="forbid", strict=True), **fields)
    found = model.model_validate(dict(given))
    return {key: getattr(found, key) for key in fields}


def check_inputs(name: str, count: int) -> None:
    """Raises ValueError where the detector does not take so many inputs."""
    if name in SINGLE_SERIES and count != 1:
        raise ValueError(f"{name} judges one series: give one input, and train a model for each of the {count}")
    if name in _SEVERAL and count < 2:
        raise ValueError(f"{name} judges how tags go together: give two inputs or more")


def fit(name: str, pieces: Sequence[FloatArray], settings: Mapping[str, Any], given: Given) -> Detector:
    """A detector fitted from normal pieces. Raises ModelError where they will not do for it."""
    make = factory(name)
    wanted = inspect.signature(make).parameters
    return make(list(pieces), **settings, **{key: getattr(given, key) for key in _GIVEN if key in wanted})


__all__ = [
    "DETECTORS", "SINGLE_SERIES", "Given", "ValidationError", "check_inputs", "checked", "factory", "fit", "parameters",
]  # fmt: skip
