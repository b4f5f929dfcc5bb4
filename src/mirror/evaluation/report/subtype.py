"""The subtype in pictures: ROC with its band, few labels, who is taken for whom, and site by site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mirror.evaluation.report.by_site import SiteScore, subtype_by_site, survival_by_site
from mirror.evaluation.report.confusion import Confusion, confusion
from mirror.evaluation.report.curves import Roc, roc_picture, shot_picture, site_picture
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.names import metric_label, protocol_label, representation_label
from mirror.evaluation.report.roc import RocCurve, roc_curve
from mirror.evaluation.report.score_tables import interval_ends
from mirror.evaluation.report.shots import ShotCurve, shot_curves
from mirror.evaluation.report.sides import shown_sides
from mirror.evaluation.report.verdicts import fold_means
from mirror.evaluation.representations import is_learned

PROTOCOL = "linear"


class SubtypePictures(NamedTuple):
    """`curves` class -> representation -> curve; `tables` representation -> who is taken for whom."""

    curves: Mapping[str, Mapping[str, RocCurve]]
    shots: tuple[ShotCurve, ...]
    tables: Mapping[str, Confusion]
    panels: Mapping[str, Any]


def subtype_pictures(inputs: ReportInputs) -> SubtypePictures:
    """Of the two sides under the linear probe; every part may be empty."""
    part = inputs.predictions
    part = part[part["protocol"] == PROTOCOL] if "protocol" in part else part.head(0)
    sides = shown_sides(inputs.scores, part, protocol=PROTOCOL, metric="auroc") if len(part) and "label" in part else []
    predictions = {name: part[part["representation"] == name] for name in sides}
    classes = sorted(set(part["label"].dropna().astype(str))) if sides else []
    # Of two classes one curve says all: that of the rarer one.
    counts = part.drop_duplicates("patient")["label"].value_counts() if sides else {}
    chosen = [min(classes, key=lambda name: (counts[name], name))] if len(classes) == 2 else classes
    curves: dict[str, dict[str, RocCurve]] = {}
    for of in chosen if len(classes) > 1 else ():
        found = {name: roc_curve(one, of=of, seed=inputs.seed) for name, one in predictions.items()}
        curves[of] = {name: curve for name, curve in found.items() if curve is not None}
    shots = tuple(shot_curves(inputs.scores, interval_ends(inputs.intervals, "subtyping")))
    tables = {name: table for name, one in predictions.items() if (table := confusion(one)) is not None}
    panels = {
        "roc": [_roc(of, sides) for of, sides in curves.items() if sides],
        "shots": _shots(shots) if shots else None,
        "confusion": [
            {"title": representation_label(name), "learned": is_learned(name), "table": table}
            for name, table in tables.items()
        ],
    }
    return SubtypePictures(curves, shots, tables, panels)


def _roc(of: str, sides: Mapping[str, RocCurve]) -> dict[str, Any]:
    rocs = [Roc(representation_label(name), is_learned(name), curve) for name, curve in sides.items()]
    first = next(iter(sides.values()))
    said = "; ".join(f"{roc.label} {roc.curve.area:.3f}" for roc in rocs)
    svg = roc_picture(rocs, description=f"ROC curves for {of}, area under the curve: {said}.")
    return {"title": of, "cases": first.cases, "patients": first.patients, "svg": svg}


def _shots(shots: tuple[ShotCurve, ...]) -> str:
    said = "; ".join(
        f"{representation_label(curve.representation)} {curve.means[0]:.3f} at {curve.shots[0]} and "
        f"{curve.means[-1]:.3f} at {curve.shots[-1]}"
        for curve in shots
    )
    return shot_picture(shots, description=f"AUROC against labelled patients a class: {said}.")


class SitePictures(NamedTuple):
    """Task -> scores of its sites, and the pictures."""

    scores: Mapping[str, tuple[SiteScore, ...]]
    panels: tuple[Mapping[str, Any], ...]


def site_pictures(inputs: ReportInputs) -> SitePictures:
    """Performance by site of the learned side; empty where no site is known or large enough."""
    scores: dict[str, tuple[SiteScore, ...]] = {}
    panels: list[Mapping[str, Any]] = []
    predictions = inputs.predictions
    if not inputs.sites or predictions.empty:
        return SitePictures(scores, ())
    for task, protocol, metric in (("subtyping", PROTOCOL, "auroc"), ("survival", "cox", "c_index")):
        part = predictions[predictions["protocol"] == protocol]
        sides = shown_sides(inputs.scores, part, protocol=protocol, metric=metric) if len(part) else []
        if not sides or not is_learned(sides[0]):
            continue
        judged = part[part["representation"] == sides[0]]
        by_site = (subtype_by_site if task == "subtyping" else survival_by_site)(judged, inputs.sites, seed=inputs.seed)
        if len(by_site) < 2:
            continue
        means = fold_means(inputs.scores).query("protocol == @protocol and metric == @metric")
        overall = float(np.mean(means.loc[means["representation"] == sides[0], "value"]))
        scores[task] = tuple(by_site)
        name = f"{metric_label(metric)}, {protocol_label(protocol)}"
        said = "; ".join(f"{one.site} {one.value:.2f} of {one.patients}" for one in by_site)
        svg = site_picture(by_site, overall=overall, metric=name, description=f"{name} by site: {said}.")
        panels.append({"title": {"subtyping": "Subtype", "survival": "Survival"}[task], "svg": svg, "of": sides[0]})
    return SitePictures(scores, tuple(panels))
