"""What few labels are worth: the score against the number of labelled patients a class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mirror.evaluation.report.verdicts import fold_means
from mirror.evaluation.representations import is_learned, is_set_against

BASELINES_SHOWN = 3
"""Beside the learned ones; the table has all."""


class ShotCurve(NamedTuple):
    """Mean AUROC of one representation at each number of `shots` a class; `ends` are 95 % intervals where known."""

    representation: str
    learned: bool
    shots: tuple[int, ...]
    means: tuple[float, ...]
    ends: tuple[tuple[float, float] | None, ...]
    all_labels: float | None
    """The linear probe on all training patients."""


def shots_of(protocol: str) -> int | None:
    """`shot10` -> 10; None for another protocol."""
    found = re.fullmatch(r"shot(\d+)", protocol)
    return int(found[1]) if found else None


def shot_curves(scores: pd.DataFrame, intervals: Mapping[tuple[str, str, str], tuple[float, float]]) -> list[ShotCurve]:
    """A curve each of the learned representations and of the baselines that are best over all shots; learned first.

    Empty where fewer than two numbers of shots were scored. `intervals`: representation, protocol, metric -> ends.
    """
    means = fold_means(scores[(scores["task"] == "subtyping") & (scores["metric"] == "auroc")])
    means = means.assign(
        shots=pd.Series([shots_of(str(name)) for name in means["protocol"]], index=means.index, dtype=float)
    )
    everything = means[means["protocol"] == "linear"].groupby("representation")["value"].mean()
    table = means.dropna(subset=["shots"]).groupby(["representation", "shots"], sort=False)["value"].mean().unstack()
    if table.shape[1] < 2:
        return []
    table = table[sorted(map(float, table.columns))]
    whole = table.notna().sum(axis=1)  # a mean over fewer shots is of other numbers: it comes last
    names = filter(is_set_against, map(str, table.index))
    ranked = sorted(names, key=lambda name: (-whole[name], -float(np.nanmean(table.loc[name]))))
    shown = [name for name in ranked if is_learned(name)]
    shown += [name for name in ranked if not is_learned(name)][:BASELINES_SHOWN]
    curves: list[ShotCurve] = []
    for name in shown:
        counts, values = table.columns.to_numpy(dtype=float), table.loc[name].to_numpy(dtype=float)
        row = {int(count): float(value) for count, value in zip(counts, values, strict=True)}
        row = {count: value for count, value in row.items() if not np.isnan(value)}
        shots = tuple(row)
        ends = tuple(intervals.get((name, f"shot{count}", "auroc")) for count in shots)
        with_all = float(everything[name]) if name in everything else None
        curves.append(ShotCurve(name, is_learned(name), shots, tuple(row.values()), ends, with_all))
    return curves
