"""Which side leads in each task, protocol and metric, and how far folds and patients drawn anew agree on it.

None of it speaks of significance where no test was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from mirror.evaluation.bootstrap import RESAMPLES, Interval, paired_difference, shared_patients
from mirror.evaluation.metrics import LOWER_IS_BETTER
from mirror.evaluation.report.names import METRICS, TASKS, protocol_order, rank
from mirror.evaluation.representations import is_learned, is_set_against
from mirror.seeding import rng_for


class Verdict(NamedTuple):
    """The best learned representation against the best baseline, both by mean; a difference a fold, in fold order.

    A difference is positive where the learned representation is better, also where lower values are.
    """

    task: str
    protocol: str
    metric: str
    learned: str
    learned_mean: float
    baseline: str
    baseline_mean: float
    differences: tuple[float, ...]
    interval: Interval | None = None
    """Of the mean difference, from the patients drawn anew; signed as `differences`."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    @property
    def spread(self) -> float:
        """Standard deviation over folds (n - 1); NaN for a single fold."""
        return float(np.std(self.differences, ddof=1)) if len(self.differences) > 1 else float("nan")

    @property
    def ahead(self) -> int:
        """Folds in which the learned representation has the better value."""
        return sum(difference > 0 for difference in self.differences)

    @property
    def outcome(self) -> Literal["one fold", "ahead", "behind", "undecided"]:
        """`ahead` or `behind` only where every fold says so and the mean is larger than the spread."""
        folds = len(self.differences)
        if folds == 1:
            return "one fold"
        if abs(self.mean) <= self.spread:
            return "undecided"
        behind = sum(difference < 0 for difference in self.differences)
        return "ahead" if self.ahead == folds else "behind" if behind == folds else "undecided"


def fold_means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a task, protocol, metric, representation and fold: `value`, the mean over seeds that have one."""
    keys = ["task", "protocol", "metric", "representation", "fold"]
    return scores.dropna(subset=["value"]).groupby(keys, sort=False)["value"].mean().reset_index()


def chance(metric: str, *, classes: int) -> float | None:
    """What guessing reaches in a task of so many classes; None where that depends on how rare they are."""
    if metric in ("auroc", "c_index", "time_auroc"):
        return 0.5
    return 1 / classes if metric == "balanced_accuracy" and classes else None


def direction(metric: str) -> int:
    """1 where higher values are better, -1 where lower ones are."""
    return -1 if metric in LOWER_IS_BETTER else 1


def verdicts(scores: pd.DataFrame) -> list[Verdict]:
    """A verdict for each task, protocol and metric that was measured on both sides of at least one fold."""
    found: list[Verdict] = []
    for (task, protocol, metric), part in fold_means(scores).groupby(["task", "protocol", "metric"], sort=False):
        table = part.pivot(index="fold", columns="representation", values="value").sort_index()
        means = table.mean()
        names = list(filter(is_set_against, map(str, table)))
        learned = [name for name in names if is_learned(name)]
        baselines = [name for name in names if not is_learned(name)]
        if not learned or not baselines:
            continue
        sign = direction(str(metric))
        best, rival = str((sign * means[learned]).idxmax()), str((sign * means[baselines]).idxmax())
        shared = table[[best, rival]].dropna()
        if len(shared):
            sides = (best, float(shared[best].mean()), rival, float(shared[rival].mean()))
            differences = tuple(float(value) for value in sign * (shared[best] - shared[rival]))
            found.append(Verdict(str(task), str(protocol), str(metric), *sides, differences))
    return found


def headline_intervals(
    scores: pd.DataFrame, predictions: pd.DataFrame, *, seed: int, resamples: int = RESAMPLES
) -> dict[tuple[str, str, str], Interval]:
    """Task, protocol and metric of each headline -> the paired interval of its difference, positive for learned better.

    Of the patients whom both sides judged. Headlines whose predictions are not there are left out.
    """
    found: dict[tuple[str, str, str], Interval] = {}
    for verdict in headlines(verdicts(scores)):
        judged = predictions[predictions["protocol"] == verdict.protocol]
        sides = [judged[judged["representation"] == name] for name in (verdict.learned, verdict.baseline)]
        both = shared_patients(*(sides if direction(verdict.metric) > 0 else sides[::-1]))
        if not any(side.empty for side in both):
            rng = rng_for(seed, "bootstrap", "headlines")
            found[verdict.task, verdict.protocol, verdict.metric] = paired_difference(
                *both, metric=verdict.metric, rng=rng, resamples=resamples
            )
    return found


def headlines(found: Sequence[Verdict]) -> list[Verdict]:
    """The verdict of the preferred metric for each task and protocol, the foremost protocol of a task first."""
    first: dict[tuple[str, str], Verdict] = {}
    for verdict in sorted(found, key=lambda verdict: rank(verdict.metric, METRICS)):
        first.setdefault((verdict.task, verdict.protocol), verdict)
    return sorted(first.values(), key=lambda verdict: (rank(verdict.task, TASKS), protocol_order(verdict.protocol)))
