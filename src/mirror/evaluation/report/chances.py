"""Whether predicted chances come true, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mirror.evaluation.calibration import Calibrated, nearest_horizon, reliability, survival_reliability
from mirror.evaluation.report import pictures
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.names import protocol_label, representation_label
from mirror.evaluation.report.sides import shown_sides
from mirror.evaluation.representations import is_learned


def calibration(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Subtype and survival of the fused representation and the best baseline, where chances were predicted."""
    predictions = inputs.predictions
    if predictions.empty:
        return []
    months = nearest_horizon(predictions)
    panels: list[dict[str, Any]] = []
    for protocol, metric in (("linear", "auroc"), ("cox", "c_index")):
        part = predictions[predictions["protocol"] == protocol]
        for name in shown_sides(inputs.scores, part, protocol=protocol, metric=metric):
            judged = part[part["representation"] == name]
            if metric == "auroc":
                task, groups, of = "subtyping", reliability(judged), "subtype"
            elif months is not None:
                task, of = "survival", f"survival at {months:g} months"
                groups = survival_reliability(judged, months=months)
            else:
                continue
            if groups:
                of = f"{of}, {protocol_label(protocol)}"
                panels.append({"task": task, "groups": groups, **_calibration_panel(groups, name=name, of=of)})
    return panels


def _calibration_panel(groups: Sequence[Calibrated], *, name: str, of: str) -> dict[str, Any]:
    said = "; ".join(f"{100 * group.predicted:.0f} % predicted, {100 * group.observed:.0f} % seen" for group in groups)
    lowest = min(min(group.predicted, group.low) for group in groups)
    svg = pictures.reliability_picture(
        groups,
        learned=is_learned(name),
        low=max(0.0, float(np.floor(10 * lowest) / 10)),
        description=f"Calibration of {of}, {representation_label(name)}: {said}.",
    )
    return {"title": representation_label(name), "name": name, "learned": is_learned(name), "of": of, "svg": svg}
