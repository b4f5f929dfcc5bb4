"""Survival of the patients whom a model calls at high risk, and of the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from mirror.evaluation.report import pictures
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.names import protocol_label, representation_label
from mirror.evaluation.report.risk_split import RiskSplit, split_by_risk
from mirror.evaluation.report.sides import shown_sides
from mirror.evaluation.representations import is_learned
from mirror.evaluation.scores import summarise


def survival_by_risk(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The fused representation beside the best baseline of the same protocol."""
    if "risk" not in inputs.predictions:
        return []
    summary = summarise(inputs.scores).dropna(subset=["mean"])
    with_risk = inputs.predictions.dropna(subset=["risk"])
    protocol = "cox" if (with_risk["protocol"] == "cox").any() else "discrete"
    predicted = with_risk[with_risk["protocol"] == protocol]
    ranked = summary[(summary["protocol"] == protocol) & (summary["metric"] == "c_index")]
    shown = shown_sides(inputs.scores, predicted, protocol=protocol, metric="c_index")
    tried = (split_by_risk(predicted, inputs.patients, representation=name) for name in shown)
    splits = [split for split in tried if split is not None]
    means = ranked.set_index("representation")["mean"]
    groups = [group for split in splits for group in (split.low, split.high)]
    until = max((float(group.months.max(initial=0.0)) for group in groups), default=0.0)
    return [
        _survival_panel(split, protocol=protocol, c_index=float(means[split.representation]), until=until)
        for split in splits
    ]


def _survival_panel(split: RiskSplit, *, protocol: str, c_index: float, until: float) -> dict[str, Any]:
    groups = [group for group in (split.low, split.high) if len(group.months)]
    two = {"low": split.low, "high": split.high}
    title = representation_label(split.representation)
    said = "; ".join(f"{group.label}: {len(group.months)} patients, {group.events.sum()} events" for group in groups)
    p = "not defined" if np.isnan(split.p) else "< 0.001" if split.p < 0.001 else f"= {split.p:.3f}"
    sides = {name: {"patients": len(one.months), "events": int(one.events.sum())} for name, one in two.items()}
    return {
        "representation": split.representation,
        "log_rank_p": split.p,
        "groups": sides,
        "title": title,
        "learned": is_learned(split.representation),
        "protocol": protocol_label(protocol),
        "p": p,
        "c_index": c_index,
        "said": said,
        "unsplit": split.unsplit,
        "svg": pictures.survival_picture(
            groups,
            until=max(until, 1.0),
            description=f"Kaplan-Meier curves by predicted risk, {title}. {said}. Log-rank p {p}.",
        )
        if groups
        else "",
    }
