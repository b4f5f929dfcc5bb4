"""The report: one page that a pathologist reads from the top and that can be sent by mail.

It measures nothing: what the numbers say is in `findings`, how they are drawn in `pictures`, and here they become the
sections of the page. User text (names, patients, configuration) reaches the page only through escaping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from mirror.errors import DataError
from mirror.evaluation import pictures
from mirror.evaluation.bootstrap import Interval
from mirror.evaluation.calibration import Calibrated, nearest_horizon, reliability, survival_reliability
from mirror.evaluation.findings import (
    METRICS,
    PROTOCOLS,
    TASKS,
    RiskSplit,
    Verdict,
    chance,
    direction,
    fold_means,
    headlines,
    median_follow_up,
    metric_label,
    opening,
    place_points,
    protocol_label,
    rank,
    representation_label,
    split_by_risk,
    task_label,
    verdicts,
)
from mirror.evaluation.intervals import INTERVAL_COLUMNS
from mirror.evaluation.pictures import Dots, signed
from mirror.evaluation.representations import is_learned
from mirror.evaluation.scores import summarise

KINDS = {
    "slide": "slides",
    "feature_file": "feature files",
    "expression": "expression profiles",
    "clinical": "clinical rows",
    "gene": "genes",
}
UNLABELLED = "no label"
LISTED = 2000
"""Exclusions listed one by one; a page of more rows opens slowly, and excluded.csv has them all."""


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything the page shows.

    `counts` kind -> given, kept, excluded. `excluded` kind, item, reason, source. `patients` one row a kept patient:
    patient, label, time (months), event (nullable), slides, has_expression. `notes` sentences of the earlier stages,
    `warnings` those without which the scores would be misread: they stand on top. `scores` and `predictions` as
    `mirror evaluate` writes them. `histories` (seed, fold) -> a mapping an epoch: `epoch` and named terms. `embedding`
    one row a point of one run: patient, modality (slide | expression), label, role, and either x and y or vector
    columns. `facts` what was run, a line each, `Finished` also on top: the page has no clock.
    `intervals` as `mirror evaluate` writes them, `differences` as `headline_intervals` gives them; both may be empty.
    """

    name: str
    preset: str
    config_yaml: str
    counts: Mapping[str, Mapping[str, int]]
    excluded: pd.DataFrame
    patients: pd.DataFrame
    notes: Sequence[str]
    warnings: Sequence[str]
    scores: pd.DataFrame
    predictions: pd.DataFrame
    histories: Mapping[tuple[int, int], Sequence[Mapping[str, float]]]
    embedding: pd.DataFrame
    facts: Mapping[str, str]
    intervals: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(INTERVAL_COLUMNS)))
    differences: Mapping[tuple[str, str, str], Interval] = field(default_factory=dict[tuple[str, str, str], Interval])


def render_report(inputs: ReportInputs) -> str:
    """One self-contained HTML page: equal inputs give equal bytes, and nothing is loaded from anywhere.

    Raises `DataError` when the scores are of more than one cohort or preset: their means would be of neither.
    """
    origins = inputs.scores[["cohort", "preset"]].drop_duplicates()
    if len(origins) > 1:
        found = ", ".join(f"{row.cohort} ({row.preset})" for row in origins.itertuples())
        raise DataError(f"a report is of one cohort and preset, the scores are of {found}; report each alone")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (resources.files("mirror.evaluation") / "report.html.j2").read_text(encoding="utf-8")
    chosen = [
        verdict._replace(interval=inputs.differences.get((verdict.task, verdict.protocol, verdict.metric)))
        for verdict in headlines(verdicts(inputs.scores))
    ]
    return environment.from_string(source).render(
        inputs=inputs,
        opening=opening(chosen, scores=inputs.scores, patients=inputs.patients),
        differences=_differences(chosen),
        drawn_anew=any(verdict.interval for verdict in chosen),
        flow=_flow(inputs),
        listed=inputs.excluded.head(LISTED).fillna("").to_dict("records"),
        people=_people(inputs.patients),
        tasks=_tasks(inputs),
        survival=_survival(inputs),
        calibration=_calibration(inputs),
        map=_map(inputs.embedding),
        terms=_terms(inputs.histories),
    )


def _differences(chosen: Sequence[Verdict]) -> str | None:
    rows = [
        Dots(
            f"{task_label(verdict.task).capitalize()}, {protocol_label(verdict.protocol)}, "
            f"{metric_label(verdict.metric)}\n{representation_label(verdict.learned)} against "
            f"{representation_label(verdict.baseline)}",
            verdict.differences,
            learned=True,
            interval=_ends(verdict.interval),
        )
        for verdict in chosen
    ]
    said = "; ".join(f"{row.label}: {signed(float(np.mean(row.values)))}".replace("\n", ", ") for row in rows)
    description = f"Best learned representation minus best baseline, a dot a fold. {said}."
    return pictures.difference_picture(rows, description=description) if rows else None


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None or np.isnan(interval.low) else (interval.low, interval.high)


def _flow(inputs: ReportInputs) -> list[dict[str, Any]]:
    flow: list[dict[str, Any]] = []
    for kind, count in inputs.counts.items():
        of_kind = inputs.excluded[inputs.excluded["kind"] == kind].fillna("")
        reasons = [
            {"reason": str(reason), "count": len(part), "examples": list(part["item"].astype(str).head(3))}
            for reason, part in sorted(of_kind.groupby("reason"), key=lambda pair: -len(pair[1]))
        ]
        share = 100 * count["kept"] / count["given"] if count["given"] else 0.0
        flow.append({"label": KINDS.get(kind, kind), "share": share, "reasons": reasons, **count})
    return flow


def _people(patients: pd.DataFrame) -> dict[str, Any]:
    labels = patients["label"].astype(object).where(patients["label"].notna(), UNLABELLED).astype(str)
    counts = labels.value_counts()
    names = sorted(counts.index, key=lambda name: (name == UNLABELLED, -counts[name], name))
    labelled = names != [UNLABELLED]
    followed = patients.dropna(subset=["time", "event"])
    rows = [
        {
            "label": name if labelled else "all patients",
            "patients": int(counts[name]),
            "width": 100 * counts[name] / counts.max(),
            "slides": int(patients.loc[labels == name, "slides"].sum()),
            "expression": int(patients.loc[labels == name, "has_expression"].sum()),
            "events": int(followed.loc[labels[followed.index] == name, "event"].astype(float).sum()),
        }
        for name in names
    ]
    return {
        "classes": rows,
        "labelled": labelled,
        "followed": len(followed),
        "events": int(followed["event"].astype(float).sum()),
        "median": median_follow_up(followed),
        "slides": int(patients["slides"].sum()),
        "expression": int(patients["has_expression"].sum()),
    }


def _tasks(inputs: ReportInputs) -> list[dict[str, Any]]:
    summary, by_fold = summarise(inputs.scores).dropna(subset=["mean"]), fold_means(inputs.scores)
    classes = inputs.patients["label"].nunique()
    tasks: list[dict[str, Any]] = []
    for task in sorted(set(summary["task"]), key=lambda name: rank(name, TASKS)):
        part, folds = summary[summary["task"] == task], by_fold[by_fold["task"] == task]
        columns = sorted(
            {(str(protocol), str(metric)) for protocol, metric in zip(part["protocol"], part["metric"], strict=True)},
            key=lambda pair: (rank(pair[0], PROTOCOLS), pair[0], rank(pair[1], METRICS), pair[1]),
        )
        names = sorted(dict.fromkeys(part["representation"]), key=lambda name: not is_learned(name))
        intervals = _intervals(inputs.intervals, task)
        panels = [_panel(folds, names, column, intervals=intervals, task=task, classes=classes) for column in columns]
        # One metric is enough to see who leads; pictures of the others are folded away below it.
        foremost = min((metric for _, metric in columns), key=lambda name: rank(name, METRICS))
        tasks.append(
            {
                "title": task_label(task),
                "panels": [panel for panel, column in zip(panels, columns, strict=True) if column[1] == foremost],
                "folded": [panel for panel, column in zip(panels, columns, strict=True) if column[1] != foremost],
                "table": _table(part, names, columns, intervals),
            }
        )
    return tasks


def _intervals(intervals: pd.DataFrame, task: str) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Representation, protocol, metric -> ends of the 95 % interval, of those that are defined."""
    known = intervals[intervals["task"] == task].dropna(subset=["low", "high"])
    keys = zip(known["representation"], known["protocol"], known["metric"], strict=True)
    ends = zip(known["low"].astype(float), known["high"].astype(float), strict=True)
    return dict(zip(((str(a), str(b), str(c)) for a, b, c in keys), ends, strict=True))


def _panel(
    by_fold: pd.DataFrame,
    names: Sequence[str],
    column: tuple[str, str],
    *,
    intervals: Mapping[tuple[str, str, str], tuple[float, float]],
    task: str,
    classes: int,
) -> dict[str, Any]:
    protocol, metric = column
    cells = by_fold[(by_fold["protocol"] == protocol) & (by_fold["metric"] == metric)]
    values = {name: tuple(cells.loc[cells["representation"] == name, "value"].astype(float)) for name in names}
    rows = [
        Dots(representation_label(name), found, is_learned(name), intervals.get((name, *column)))
        for name, found in values.items()
        if found
    ]
    baselines = [float(np.mean(row.values)) for row in rows if not row.learned]
    title = f"{metric_label(metric)}, {protocol_label(protocol)}"
    said = "; ".join(f"{row.label} {np.mean(row.values):.3f}" for row in rows)
    picture = pictures.score_picture(
        rows,
        reference=max(baselines, key=lambda mean: direction(metric) * mean, default=None),
        chance=chance(metric, classes=classes),
        description=f"{title} for {task_label(task)}, mean over folds: {said}.",
    )
    return {"title": title, "svg": picture}


def _table(
    summary: pd.DataFrame,
    names: Sequence[str],
    columns: Sequence[tuple[str, str]],
    intervals: Mapping[tuple[str, str, str], tuple[float, float]],
) -> dict[str, Any]:
    """Rows of cells; a cell has `mean`, `sd`, `folds`, `interval`, and whether it is the column's best of its side."""
    found = summary.set_index(["representation", "protocol", "metric"])[["mean", "sd", "folds"]].to_dict("index")
    best = {
        (column, side): max(
            (found[name, *column]["mean"] for name in names if is_learned(name) == side and (name, *column) in found),
            key=lambda mean, metric=column[1]: direction(metric) * mean,
            default=None,
        )
        for column in columns
        for side in (True, False)
    }
    protocols = [protocol for protocol, _ in columns]
    rows = [
        {
            "label": representation_label(name),
            "code": name,
            "learned": is_learned(name),
            "cells": [
                _cell(found.get((name, *column)), best[column, is_learned(name)], intervals.get((name, *column)))
                for column in columns
            ],
        }
        for name in names
    ]
    return {
        "protocols": [(protocol_label(name), protocols.count(name)) for name in dict.fromkeys(protocols)],
        "metrics": [metric_label(metric) for _, metric in columns],
        "starts": [protocols.index(name) for name in dict.fromkeys(protocols)],
        "groups": [
            (heading, [row for row in rows if row["learned"] == side])
            for heading, side in (("Learned", True), ("Baselines, no training", False))
        ],
        "folds": sorted(set(summary["folds"].astype(int))),
        "drawn_anew": bool(intervals),
    }


def _cell(
    found: Mapping[Any, float] | None, best: float | None, interval: tuple[float, float] | None
) -> dict[str, Any] | None:
    if found is None:
        return None
    sd = None if np.isnan(found["sd"]) else found["sd"]
    return {**found, "sd": sd, "best": best is not None and found["mean"] == best, "interval": interval}


def _survival(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The fused representation beside the best baseline of the same protocol."""
    if "risk" not in inputs.predictions:
        return []
    summary = summarise(inputs.scores).dropna(subset=["mean"])
    with_risk = inputs.predictions.dropna(subset=["risk"])
    protocol = "cox" if (with_risk["protocol"] == "cox").any() else "discrete"
    predicted = with_risk[with_risk["protocol"] == protocol]
    ranked = summary[(summary["protocol"] == protocol) & (summary["metric"] == "c_index")]
    shown = _shown(inputs.scores, predicted, protocol=protocol, metric="c_index")
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
    title = representation_label(split.representation)
    said = "; ".join(f"{group.label}: {len(group.months)} patients, {group.events.sum()} events" for group in groups)
    p = "not defined" if np.isnan(split.p) else "< 0.001" if split.p < 0.001 else f"= {split.p:.3f}"
    return {
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


def _calibration(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Subtype and survival of the fused representation and the best baseline, where chances were predicted."""
    predictions = inputs.predictions
    if predictions.empty:
        return []
    months = nearest_horizon(predictions)
    panels: list[dict[str, Any]] = []
    for protocol, metric in (("linear", "auroc"), ("cox", "c_index")):
        part = predictions[predictions["protocol"] == protocol]
        for name in _shown(inputs.scores, part, protocol=protocol, metric=metric):
            judged = part[part["representation"] == name]
            if metric == "auroc":
                groups, of = reliability(judged), "subtype"
            elif months is not None:
                groups, of = survival_reliability(judged, months=months), f"survival at {months:g} months"
            else:
                continue
            if groups:
                panels.append(_calibration_panel(groups, name=name, of=f"{of}, {protocol_label(protocol)}"))
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
    return {"title": representation_label(name), "learned": is_learned(name), "of": of, "svg": svg}


def _shown(scores: pd.DataFrame, predictions: pd.DataFrame, *, protocol: str, metric: str) -> list[str]:
    """The fused (or best learned) representation and the best baseline of a protocol, of those with predictions."""
    summary = summarise(scores).dropna(subset=["mean"])
    ranked = summary[(summary["protocol"] == protocol) & (summary["metric"] == metric)]
    ranked = ranked[ranked["representation"].isin(predictions["representation"])].sort_values("mean", ascending=False)
    learned = [name for name in ranked["representation"] if is_learned(name)]
    baselines = [name for name in ranked["representation"] if not is_learned(name)]
    return [*(["fused"] if "fused" in learned else learned[:1]), *baselines[:1]]


def _map(embedding: pd.DataFrame) -> dict[str, Any] | None:
    points = place_points(embedding)
    if points.empty:
        return None
    label = points["label"].astype(object).where(points["label"].notna(), UNLABELLED).astype(str)
    counts = label[label != UNLABELLED].value_counts()
    named = sorted(counts.index, key=lambda name: (-counts[name], name))
    # Seven colours can be told apart: with more classes the rarest share the grey.
    rare = named[len(pictures.CLASS_COLOURS) :]
    points["label"] = label.where(~label.isin(rare), f"{len(rare)} rarer classes")
    colours = {name: pictures.CLASS_COLOURS[place] for place, name in enumerate(named[: len(pictures.CLASS_COLOURS)])}
    colours |= dict.fromkeys(sorted(set(points["label"]) - colours.keys()), pictures.OTHER)
    modalities = [name for name in ("slide", "expression") if (points["modality"] == name).any()]
    description = f"Map of {len(points)} embeddings ({' and '.join(modalities)}) by {', '.join(colours)}."
    picture = pictures.map_picture(points, colours=colours, description=description)
    return {"svg": picture, "legend": colours, "modalities": modalities}


def _terms(histories: Mapping[tuple[int, int], Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    runs = [histories[key] for key in sorted(histories) if histories[key]]
    names = dict.fromkeys(name for run in runs for line in run for name in line if name != "epoch")
    terms: list[dict[str, Any]] = []
    for name in sorted(names, key=lambda name: name != "total"):
        curves = [[(line["epoch"] + 1, line[name]) for line in run if name in line] for run in runs]
        curves = [curve for curve in curves if curve]
        first, last = (float(np.mean([curve[end][1] for curve in curves])) for end in (0, -1))
        title = name.replace("_", " ")
        change = f"{first:.3g} \N{RIGHTWARDS ARROW} {last:.3g}"
        description = f"Training curve of {title}, mean of {len(curves)} runs: {change}."
        svg = pictures.curve_picture(curves, description=description)
        terms.append({"title": title, "change": change, "svg": svg})
    return terms
