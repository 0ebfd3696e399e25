"""Detectors: one file each, trained from normal operation, exported as one ONNX graph. A new one is one line below.

What is named here is a class with `fit`, or a function: called with the normal pieces, each of shape
(n_rows, n_inputs), it returns a fitted Detector. Its other parameters are the keys of `detector_settings` in the
training file, checked by their annotations; but `period_s`, `seed` and `clocks` (one array of shape (n_rows, 2) a
piece: second of the local day, weekday) come from the training, where a detector asks for them by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from wire.block import FloatArray

if TYPE_CHECKING:
    from models.detectors.detector import Detector

# name -> module:attribute, imported when it is used: some bring much.
DETECTORS: Mapping[str, str] = {
    "robust_distance": "models.detectors.robust_distance:RobustDistance",
}

_GIVEN = frozenset({"period_s", "seed", "clocks"})


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


def fit(
    name: str, pieces: Sequence[FloatArray], settings: Mapping[str, Any], *, period_s: float, seed: int,
    clocks: Sequence[FloatArray],
) -> Detector:  # fmt: skip
    """A detector fitted from normal pieces."""
    make = factory(name)
    wanted = inspect.signature(make).parameters
    known = {"period_s": period_s, "seed": seed, "clocks": list(clocks)}
    return make(list(pieces), **settings, **{key: value for key, value in known.items() if key in wanted})


__all__ = ["DETECTORS", "ValidationError", "checked", "factory", "fit", "parameters"]
