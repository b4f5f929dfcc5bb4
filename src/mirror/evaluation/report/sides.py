"""The two sides that pictures set against each other."""

from __future__ import annotations

import pandas as pd

from mirror.evaluation.representations import is_learned, is_set_against
from mirror.evaluation.scores import summarise


def shown_sides(scores: pd.DataFrame, predictions: pd.DataFrame, *, protocol: str, metric: str) -> list[str]:
    """The fused (or best learned) representation and the best baseline of a protocol, of those with predictions."""
    summary = summarise(scores).dropna(subset=["mean"])
    ranked = summary[(summary["protocol"] == protocol) & (summary["metric"] == metric)]
    ranked = ranked[ranked["representation"].isin(predictions["representation"])].sort_values("mean", ascending=False)
    names = list(filter(is_set_against, ranked["representation"]))
    learned = [name for name in names if is_learned(name)]
    baselines = [name for name in names if not is_learned(name)]
    return [*(["fused"] if "fused" in learned else learned[:1]), *baselines[:1]]
