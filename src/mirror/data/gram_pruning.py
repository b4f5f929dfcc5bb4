"""A classification problem on a Gram matrix whose features leave round by round.

Features are read in blocks, as rows of `columns_GN`, in whatever precision they are stored in; products are float64.
What ranks the features is sample weights only, so any linear model that is fitted on a Gram matrix can take the
place of the support vector machine. Shape legend: N samples, G features, P problems, C one-vs-rest machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirror.data.svm_dual import Array, solve_squared_hinge

Indices = NDArray[np.intp]

_GRAM_CELLS = 2**21  # float64 cells of features at once in a Gram product: 16 MiB whatever the matrix
_PRODUCT_CELLS = 2**19  # fewer for coefficients: the block is read once and should still lie in the cache


class Pruning:
    """One elimination under way: machines fitted on the samples `train`, judged on `test`, over the features `alive`.

    `gram_NN` covers all samples and the constant feature of the intercept; `weights_NC` are zero outside `train`.
    """

    def __init__(
        self, gram_NN: Array, signs_NC: Array, *, train: Indices, test: Indices, features: int, cost: float = 1.0
    ) -> None:
        self.gram_NN = gram_NN.copy()
        self.signs_NC, self.cost = signs_NC, cost
        self.train, self.test = train, test
        self.alive = np.arange(features)
        self.weights_NC = np.zeros_like(signs_NC)

    def fit(self) -> None:
        """Solve the machines on the training samples, from their last weights."""
        self.weights_NC[self.train] = solve_squared_hinge(
            self.gram_NN[self.train[:, None], self.train],
            self.signs_NC[self.train],
            cost=self.cost,
            start=self.weights_NC[self.train],
        )

    def accuracy(self, codes: Indices) -> float:
        """Share of the samples `test` whose class (0 .. C - 1; 0 or 1 where C = 1) the machines find."""
        outputs = self.gram_NN[self.test] @ self.weights_NC
        found = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
        return float(np.mean(found == codes[self.test]))

    def drop(self, importances_G: Array, count: int, columns_GN: NDArray[Any]) -> Indices:
        """Remove the `count` least important of the features alive, and return them."""
        weakest = weakest_first(importances_G[self.alive], count)
        leaving, self.alive = self.alive[weakest], np.delete(self.alive, weakest)
        if len(leaving) <= len(self.alive):
            self.gram_NN -= gram_of(columns_GN, leaving)
        else:  # cheaper, and what is left would be small beside the rounding of what leaves
            self.gram_NN = gram_of(columns_GN, self.alive) + 1
        return leaving


def importances_of(columns_GN: NDArray[Any], prunings: Sequence[Pruning]) -> Array:
    """Squared coefficients summed over machines, `[P, G]`; zero for a feature that is alive in no problem."""
    stacked = np.concatenate([pruning.weights_NC for pruning in prunings], axis=1)
    alive = np.zeros(len(columns_GN), dtype=np.bool_)
    for pruning in prunings:
        alive[pruning.alive] = True
    result = np.zeros((len(prunings), len(columns_GN)))
    for chosen, block in _blocks(columns_GN, np.flatnonzero(alive), _PRODUCT_CELLS):
        coefficients = block @ stacked
        result[:, chosen] = (coefficients**2).reshape(len(chosen), len(prunings), -1).sum(axis=2).T
    return result


def twins_of(columns_GN: NDArray[Any]) -> Indices:
    """For every feature the last one that equals it in all samples, itself where none does, `[G]`.

    A matrix product rounds equal columns differently, depending on where in a block they lie. Reading the importance
    of a feature at its twin keeps the tie; the twin is there, as of equal features the leftmost leaves first.
    """
    digests = [blake2b(feature, digest_size=16).digest() for feature in columns_GN]
    last = {digest: index for index, digest in enumerate(digests)}
    return np.array([last[digest] for digest in digests], dtype=np.intp)


def weakest_first(importances: Array, count: int) -> Indices:
    """Positions of the `count` smallest values, ascending; among equals the leftmost.

    The same set as `argsort(kind="stable")[:count]`, as scikit-learn's RFE takes it, without sorting the rest.
    """
    bound = np.partition(importances, count - 1)[count - 1]
    below = np.flatnonzero(importances < bound)
    equal = np.flatnonzero(importances == bound)[: count - len(below)]
    return np.sort(np.concatenate([below, equal]))


def gram_of(columns_GN: NDArray[Any], chosen: Indices) -> Array:
    """Inner products `[N, N]` of the samples over the `chosen` features, without the intercept."""
    total = np.zeros((columns_GN.shape[1], columns_GN.shape[1]))
    for _, block in _blocks(columns_GN, chosen, _GRAM_CELLS):
        total += block.T @ block  # numpy sees one array twice and computes half
    return total


def _blocks(columns_GN: NDArray[Any], chosen: Indices, cells: int) -> Iterator[tuple[Indices, Array]]:
    rows = max(1, cells // columns_GN.shape[1])
    for first in range(0, len(chosen), rows):
        part = chosen[first : first + rows]
        yield part, columns_GN[part].astype(np.float64, copy=False)
