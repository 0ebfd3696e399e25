"""Small nets, trained side by side in one go: their mean is steadier than any of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wire.block import FloatArray

# Adam (Kingma and Ba, 2015) with its usual constants; the rate falls to 0 along a half cosine.
_RATE, _MEAN, _SQUARE, _TINY = 0.005, 0.9, 0.999, 1e-8
_BATCH = 256
# Keeps weights small: a part of each weight per row.
_DECAY = 0.01 / _BATCH


@dataclass(frozen=True)
class Nets:
    """Nets of the same shape whose outputs are averaged: tanh, tanh, linear.

    centre, scale, low, high: shape (n_features,): how features are standardised, and the range that training showed.
    layers: (weights, bias) of each layer, shapes (n_nets, n_in, n_out) and (n_nets, 1, n_out). middle, spread: what
    turns an output into cycles.
    """

    centre: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    middle: float
    spread: float

    @classmethod
    def fit(
        cls, features: FloatArray, target: FloatArray, *, nets: int, hidden: tuple[int, ...], rounds: int, seed: int
    ) -> Nets:
        """features: shape (n, n_features). target: shape (n,). Each net starts elsewhere and sees the rows in an order
        of its own. The same call gives the same nets."""
        centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
        middle, spread = float(target.mean()), max(float(target.std()), 1e-9)
        x, y = (features - centre) / scale, ((target - middle) / spread)[:, None]
        sizes = (features.shape[1], *hidden, 1)
        dice = np.random.default_rng(seed)
        values: list[FloatArray] = []
        for wide, narrow in pairwise(sizes):
            bound = np.sqrt(6.0 / (wide + narrow))
            values.append(dice.uniform(-bound, bound, (nets, wide, narrow)))
            values.append(np.zeros((nets, 1, narrow)))
        _descend(values, x, y, rounds, dice)
        layers = tuple(zip(values[::2], values[1::2], strict=True))
        return cls(centre, scale, features.min(axis=0), features.max(axis=0), layers, middle, spread)

    def predict(self, features: FloatArray) -> FloatArray:
        """The reference in numpy. features: shape (n, n_features); gives shape (n,), in cycles, at least 0."""
        values = (np.clip(features, self.low, self.high) - self.centre) / self.scale
        mean: FloatArray = _outputs([part for layer in self.layers for part in layer], values)[-1].mean(axis=0)[:, 0]
        return np.maximum(mean * self.spread + self.middle, 0.0)


def _outputs(values: list[FloatArray], x: FloatArray) -> list[FloatArray]:
    """What goes into each layer, and what comes out of the last one; shapes (n_nets, n, size)."""
    through = [x]
    for i in range(0, len(values), 2):
        out = through[-1] @ values[i] + values[i + 1]
        through.append(np.tanh(out) if i < len(values) - 2 else out)
    return through


def _descend(values: list[FloatArray], x: FloatArray, y: FloatArray, rounds: int, dice: np.random.Generator) -> None:
    """Changes the values in place, round by round over all rows, to lessen the squared error."""
    nets, rows = len(values[0]), len(x)
    batch = min(_BATCH, rows)
    each = rows // batch
    means, squares = [np.zeros_like(value) for value in values], [np.zeros_like(value) for value in values]
    step, last = 0, rounds * each
    for _ in range(rounds):
        order = np.argsort(dice.random((nets, rows)), axis=1)
        for part in range(each):
            taken = order[:, part * batch : (part + 1) * batch]
            slopes = _slopes(values, x[taken], y[taken])
            step += 1
            rate = _RATE * 0.5 * (1.0 + np.cos(np.pi * step / last))
            rate *= np.sqrt(1.0 - _SQUARE**step) / (1.0 - _MEAN**step)
            for value, slope, mean, square in zip(values, slopes, means, squares, strict=True):
                mean += (1.0 - _MEAN) * (slope - mean)
                square += (1.0 - _SQUARE) * (slope * slope - square)
                value -= rate * mean / (np.sqrt(square) + _TINY)


def _slopes(values: list[FloatArray], x: FloatArray, y: FloatArray) -> list[FloatArray]:
    """Of half the mean squared error and the decay, for each of the values."""
    through = _outputs(values, x)
    error = (through[-1] - y) / x.shape[1]
    slopes: list[FloatArray] = [error] * len(values)
    for i in range(len(values) - 2, -1, -2):
        entered = through[i // 2]
        slopes[i] = np.swapaxes(entered, 1, 2) @ error + _DECAY * values[i]
        slopes[i + 1] = error.sum(axis=1, keepdims=True)
        if i:
            error = (error @ np.swapaxes(values[i], 1, 2)) * (1.0 - entered * entered)
    return slopes
