"""What every detector offers to training, and the small tools with which its graph is built."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper

from wire.block import FloatArray


class Scored(NamedTuple):
    """scores: shape (n_rows,). shares, deviations: shape (n_rows, n_inputs); see runtime.Score."""

    scores: FloatArray
    shares: FloatArray
    deviations: FloatArray


class Detector(Protocol):
    """Fitted from normal rows only. Its graph is the truth; score() is the same in numpy, where a detector has it.

    Contract of the graph (models/runtime.py runs it): input `row`, float32 of shape (n_inputs,); where the hour
    matters `clock`, float32 of shape (2,): second of the local day and weekday (0 is Monday); every further input `x`
    is a state that begins as zeros and comes back as the output `x_next`. Outputs: `score` (1,), `shares` and
    `deviations` (n_inputs,); and, where a detector can say it, `expected` (n_inputs,): what the other inputs
    suggest for each, in its unit. A graph that deals with NaN inputs says so by the attribute `takes_missing = True`.
    """

    def graph(self) -> onnx.GraphProto:
        """The detector as an ONNX graph."""

    def reach(self) -> FloatArray:
        """Shape (n_inputs,): the highest score that each input alone can cause; inf where nothing bounds it."""

    def score(self, rows: FloatArray) -> Scored:
        """The reference in float64. rows: one contiguous stretch, shape (n_rows, n_inputs)."""


def rounded(values: FloatArray) -> FloatArray:
    """To 6 significant digits: the last bits of linear algebra differ between processors, the file must not."""
    flat = [float(f"{value:.6g}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))


def floats(name: str, size: int) -> onnx.ValueInfoProto:
    """A float32 vector as an input or output of a graph."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [size])
