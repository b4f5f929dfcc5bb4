"""Subtypes from a frozen representation, by all training patients: a linear probe, and the nearest prototype.

The linear probe is L2-penalised multinomial logistic regression on columns that the representation has standardised,
with classes of equal weight: without that the strong penalties that serve AUROC best would name everybody the commonest
class. Nothing is stopped early and nothing is chosen on the patients a probe is judged on. N patients, D columns, K
classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import softmax

from mirror.errors import DataError
from mirror.evaluation.metrics import Codes, Floats, auroc

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

LINEAR_STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse penalties (scikit-learn's C) among which inner folds choose, from strong to weak; ties go to the strong."""


class Probe(NamedTuple):
    """A fitted probe and the inverse penalty it was fitted with."""

    model: LogisticRegression
    strength: float

    def probabilities(self, x: Floats) -> Floats:
        """(N, K), rows sum to one."""
        return np.asarray(self.model.predict_proba(x), dtype=np.float64)


def fit_linear_probe(x: Floats, codes: Codes, *, inner_folds: int, seed: int) -> Probe:
    """Probe on all of `x` (N, D) and `codes` (N,), its strength chosen by mean macro AUROC over stratified inner folds.

    As many inner folds as asked for, fewer where a class has fewer patients than that. Raises `DataError` when a class
    has fewer than two; ask `why_not` before.
    """
    folds = min(inner_folds, thinnest_class(codes, int(codes.max(initial=0)) + 1))
    if folds < 2:
        raise DataError(
            "a linear probe chooses its penalty on held-out training patients: each class needs two of them"
        )
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    areas = np.zeros(len(LINEAR_STRENGTHS))
    for fit, held in splitter.split(codes, codes):
        probes = (fit_probe(x[fit], codes[fit], strength=strength) for strength in LINEAR_STRENGTHS)
        areas += [auroc(codes[held], probe.probabilities(x[held])) for probe in probes]
    return fit_probe(x, codes, strength=LINEAR_STRENGTHS[int(areas.argmax())])


class Prototypes(NamedTuple):
    """The mean of each class, (K, D), and the mean squared distance `spread` of patients to that of their own class."""

    means: Floats
    spread: float

    def probabilities(self, x: Floats) -> Floats:
        """(N, K), rows sum to one: the nearer a prototype, the likelier its class.

        Those of one normal distribution a class, whose variance in all directions together is `spread`: in the right
        order, and not meant to come true.
        """
        distances = ((x[:, None, :] - self.means) ** 2).sum(axis=2)
        return softmax(-distances / (2.0 * self.spread), axis=1)


def fit_prototypes(x: Floats, codes: Codes) -> Prototypes:
    """Nearest prototype on all of `x` (N, D) and `codes` (N,), every class of which has a patient."""
    means = np.stack([x[codes == label].mean(axis=0) for label in range(int(codes.max()) + 1)])
    spread = float(((x - means[codes]) ** 2).sum(axis=1).mean())
    return Prototypes(means, max(spread, float(np.finfo(np.float64).tiny)))


def fit_probe(x: Floats, codes: Codes, *, strength: float) -> Probe:
    """Logistic regression of `codes` (N,) on `x` (N, D): summed loss + |weights|^2 / (2 `strength`), balanced."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=20_000)
    return Probe(model.fit(x, codes), strength)


def thinnest_class(codes: Codes, classes: int) -> int:
    """How many patients the rarest of the classes 0 ... `classes` - 1 has."""
    return int(np.bincount(codes, minlength=classes).min(initial=len(codes)))


def why_not(codes: Codes, classes: Sequence[str], *, needed: int) -> str | None:
    """The reason why no probe can be fitted where each class needs `needed` patients, or None when one can."""
    counts = np.bincount(codes, minlength=len(classes))
    thin = [f"{name} has {count}" for name, count in zip(classes, counts, strict=True) if count < needed]
    return f"{needed} training patients a class are needed and {', '.join(thin)}" if thin else None
