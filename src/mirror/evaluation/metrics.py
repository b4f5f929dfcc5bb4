"""The numbers that are reported, each for one half of one fold. N patients, K classes; `horizons` has those over time.

Where a number has no meaning (a class that nobody in the half has, no pair of patients that can be ordered) it is NaN,
never a number that looks like one; `mirror.evaluation.protocols` says which and why in its notes.

The libraries that compute them take a second to start, which who wants a name or a type from here does not pay.
"""

from __future__ import annotations

import math
import warnings
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
"""Class of each patient as its position 0 ... K - 1 in the task's classes."""
Flags: TypeAlias = NDArray[np.bool_]

CLASSIFICATION_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "calibration_error")
SURVIVAL_METRICS = ("c_index", "time_auroc", "integrated_brier")
TOP = (1, 5, 10)
"""How many of the closest patients retrieval looks at."""
RETRIEVAL_METRICS = (*(f"recall@{k}" for k in TOP), "median_rank")
LOWER_IS_BETTER = frozenset({"calibration_error", "integrated_brier", "median_rank"})
VERSION = 3
"""Raised whenever a row or a metric is added or means something else: scores of another version are made again."""

CONFIDENCE_BINS = 10


def has_every_class(codes: Codes, classes: int) -> bool:
    """Whether each of the classes 0 ... `classes` - 1 is there at least once."""
    return len(np.unique(codes)) == classes


def accuracy(codes: Codes, probabilities: Floats) -> float:
    """Share of patients whose most probable class is theirs; [0, 1], NaN without patients."""
    return float(np.mean(probabilities.argmax(axis=1) == codes)) if len(codes) else math.nan


def balanced_accuracy(codes: Codes, probabilities: Floats) -> float:
    """Mean over the K classes of the share found; [0, 1], chance 1 / K. NaN when a class is absent."""
    if not has_every_class(codes, probabilities.shape[1]):
        return math.nan
    from sklearn.metrics import recall_score

    return float(recall_score(codes, probabilities.argmax(axis=1), average="macro"))


def macro_f1(codes: Codes, probabilities: Floats) -> float:
    """Mean over the K classes of F1; [0, 1], a class never predicted counts 0. NaN when a class is absent."""
    if not has_every_class(codes, probabilities.shape[1]):
        return math.nan
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import f1_score

    with warnings.catch_warnings():
        # scikit-learn warns where precision of a class never predicted is 0 / 0; the value, 0, is what we document.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return float(f1_score(codes, probabilities.argmax(axis=1), average="macro"))


def auroc(codes: Codes, probabilities: Floats) -> float:
    """Area under the ROC curve, mean of the K one-versus-rest areas (for two classes: the usual one).

    [0, 1], chance 0.5. NaN when a class is absent.
    """
    classes = probabilities.shape[1]
    if not has_every_class(codes, classes):
        return math.nan
    from sklearn.metrics import roc_auc_score

    scored = range(1, 2) if classes == 2 else range(classes)
    return float(np.mean([roc_auc_score(codes == k, probabilities[:, k]) for k in scored]))


def confidence_bins(probabilities: Floats) -> Codes:
    """The bin, 0 ... 9, of each patient's largest probability, (N,): ten of equal width, an edge in the higher one."""
    return np.minimum((probabilities.max(axis=1) * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)


def calibration_error(codes: Codes, probabilities: Floats) -> float:
    """Expected calibration error: how far, on average, the largest probability is from the share that is right.

    Patients in `confidence_bins`, gaps weighted by their number; [0, 1], lower is better. Of few patients it is above 0
    even where probabilities are true. NaN without patients.
    """
    surplus = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == codes)
    sums = np.bincount(confidence_bins(probabilities), surplus, minlength=CONFIDENCE_BINS)
    return float(np.abs(sums).sum() / len(codes)) if len(codes) else math.nan


def c_index(time: Floats, event: Flags, risk: Floats) -> float:
    """Harrell's concordance: share of comparable pairs in which the patient of higher `risk` has the event earlier.

    `time` months (N,), `event` True = happened, `risk` any scale, ties count a half. [0, 1], chance 0.5.
    NaN when no pair is comparable. lifelines orders by predicted survival, so the sign of the risk is turned.
    """
    from lifelines.utils import concordance_index

    try:
        return float(concordance_index(time, -risk, event))
    except ZeroDivisionError:
        return math.nan


def classification_metrics(codes: Codes, probabilities: Floats) -> dict[str, float]:
    """All of `CLASSIFICATION_METRICS` for class `codes` (N,) and `probabilities` (N, K)."""
    functions = (accuracy, balanced_accuracy, macro_f1, auroc, calibration_error)
    return {name: f(codes, probabilities) for name, f in zip(CLASSIFICATION_METRICS, functions, strict=True)}
