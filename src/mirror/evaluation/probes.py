"""Subtypes from a frozen representation: a linear probe on all training patients, and one on a few of each class.

Both are L2-penalised multinomial logistic regression on columns that the representation has standardised, with classes
of equal weight: without that the strong penalties that serve AUROC best would name everybody the commonest class.
Nothing is stopped early and nothing is chosen on the patients the probe is judged on. N patients, D columns, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from mirror.errors import DataError
from mirror.evaluation.metrics import Codes, Floats, auroc

LINEAR_STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse penalties (scikit-learn's C) among which inner folds choose, from strong to weak; ties go to the strong."""

FEW_SHOT_STRENGTH = 0.03
"""The inverse penalty of the few-shot probe: a few patients a class leave none to choose it on. Measured on BRCA folds
0 and 1 over the baselines: from 0.01 to 0.3 no mean AUROC moves by more than 0.012."""


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
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    areas = np.zeros(len(LINEAR_STRENGTHS))
    for fit, held in splitter.split(codes, codes):
        probes = (fit_probe(x[fit], codes[fit], strength=strength) for strength in LINEAR_STRENGTHS)
        areas += [auroc(codes[held], probe.probabilities(x[held])) for probe in probes]
    return fit_probe(x, codes, strength=LINEAR_STRENGTHS[int(areas.argmax())])


def fit_few_shot_probe(x: Floats, codes: Codes, *, keys: Floats, shots: int) -> Probe:
    """Probe on `shots` patients of each class of `x` (N, D), those with the smallest of `keys` (N,).

    Random keys, drawn once a fold for all its training patients, make this a draw without replacement that is the same
    for every representation, and in which fewer shots are a part of more. Raises `DataError` when a class has too few.
    """
    chosen = few_shot_rows(codes, keys=keys, shots=shots)
    return fit_probe(x[chosen], codes[chosen], strength=FEW_SHOT_STRENGTH)


def few_shot_rows(codes: Codes, *, keys: Floats, shots: int) -> NDArray[np.intp]:
    """Rows of the `shots` patients of each class with the smallest `keys` (N,), ascending."""
    classes = np.unique(codes)
    if thinnest_class(codes, len(classes)) < shots:
        raise DataError(f"{shots} shots a class were asked for and a class has fewer training patients")
    by_key = np.argsort(keys, kind="stable")
    return np.sort(np.concatenate([by_key[codes[by_key] == label][:shots] for label in classes]))


def fit_probe(x: Floats, codes: Codes, *, strength: float) -> Probe:
    """Logistic regression of `codes` (N,) on `x` (N, D): summed loss + |weights|^2 / (2 `strength`), balanced."""
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
