"""How surprising a standardised value is: the logarithm of its tail probability under a normal distribution.

Residuals of machines have heavier tails, so that the probability itself is not to be believed; its logarithm orders
surprises evenly all the same, which the thresholds need. The closed form (a bound of Mills' ratio: Sampford, Annals of
Mathematical Statistics 24, 1953) lies within 13 % of the true tail at 0 and within 1 % from 2 standard deviations on.
"""

from __future__ import annotations

import math

import numpy as np

from models.detectors.nodes import Nodes
from wire.block import FloatArray

# 1e-16, 8.2 standard deviations, is as surprising as it gets.
_FULL = 16.0 * math.log(10.0)
_OFFSET = math.log(4.0 / math.sqrt(2.0 * math.pi))


def surprise(z: FloatArray) -> FloatArray:
    """In [0, 1], of values in standard deviations: -log10 of the one-sided tail of |z|, 16 being full."""
    far = np.abs(z)
    logarithm = 0.5 * far * far - _OFFSET + np.log(3.0 * far + np.sqrt(far * far + 8.0))
    bounded: FloatArray = np.clip(logarithm / _FULL, 0.0, 1.0)
    return bounded


def nodes(to: Nodes, z: str) -> str:
    """The same as nodes."""
    far = to.add("Abs", z)
    square = to.add("Mul", far, far)
    root = to.add("Sqrt", to.add("Add", square, to.constant(8.0)))
    ratio = to.add("Log", to.add("Add", to.add("Mul", far, to.constant(3.0)), root))
    logarithm = to.add("Add", to.add("Sub", to.add("Mul", square, to.constant(0.5)), to.constant(_OFFSET)), ratio)
    part = to.add("Div", logarithm, to.constant(_FULL))
    return to.add("Min", to.add("Relu", part), to.constant(1.0))
