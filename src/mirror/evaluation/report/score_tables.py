"""Every score as a picture and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mirror.evaluation.report import pictures
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.names import (
    METRICS,
    TASKS,
    metric_label,
    protocol_label,
    protocol_order,
    rank,
    representation_label,
    task_label,
)
from mirror.evaluation.report.pictures import Dots
from mirror.evaluation.report.verdicts import chance, direction, fold_means
from mirror.evaluation.representations import is_learned, run_beside
from mirror.evaluation.scores import summarise


def score_tables(inputs: ReportInputs) -> list[dict[str, Any]]:
    summary, by_fold = summarise(inputs.scores).dropna(subset=["mean"]), fold_means(inputs.scores)
    classes = inputs.patients["label"].nunique()
    tasks: list[dict[str, Any]] = []
    for task in sorted(set(summary["task"]), key=lambda name: rank(name, TASKS)):
        part, folds = summary[summary["task"] == task], by_fold[by_fold["task"] == task]
        names = sorted(dict.fromkeys(part["representation"]), key=lambda name: not is_learned(name))
        intervals = interval_ends(inputs.intervals, task)
        protocols = sorted(set(map(str, part["protocol"])), key=protocol_order)
        # A curve shows them better where there are several.
        few_shots = [name for name in protocols if name.startswith("shot")]
        drawn = [name for name in protocols if name not in few_shots or len(few_shots) == 1]
        metrics: list[dict[str, Any]] = []
        for metric in sorted(set(map(str, part["metric"])), key=lambda name: (rank(name, METRICS), name)):
            measured = part[part["metric"] == metric]
            columns = [(protocol, metric) for protocol in protocols if (measured["protocol"] == protocol).any()]
            panels = [
                _panel(folds, names, column, intervals=intervals, task=task, classes=classes)
                for column in columns
                if column[0] in drawn
            ]
            table = _table(measured, names, columns, intervals)
            metrics.append({"title": metric_label(metric), "panels": panels, "table": table})
        tasks.append({"key": task, "title": task_label(task), "metrics": metrics})
    return tasks


def interval_ends(intervals: pd.DataFrame, task: str) -> dict[tuple[str, str, str], tuple[float, float]]:
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
    title = protocol_label(protocol)
    title = title[:1].upper() + title[1:]
    said = "; ".join(f"{row.label} {np.mean(row.values):.3f}" for row in rows)
    picture = pictures.score_picture(
        rows,
        reference=max(baselines, key=lambda mean: direction(metric) * mean, default=None),
        chance=chance(metric, classes=classes),
        description=f"{metric_label(metric)}, {title}, for {task_label(task)}, mean over folds: {said}.",
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
    rows = {
        name: {
            "label": representation_label(name),
            "code": name,
            "learned": is_learned(name),
            "cells": [
                _cell(found.get((name, *column)), best[column, is_learned(name)], intervals.get((name, *column)))
                for column in columns
            ],
        }
        for name in names
    }
    free = set(summary.loc[~summary["protocol"].str.startswith("supervised"), "representation"])
    baselines = [name for name in names if not is_learned(name) and not run_beside(name)]
    groups = {
        "Learned": [rows[name] for name in names if is_learned(name)],
        "Other runs": [rows[name] for name in names if run_beside(name)],
        "Baselines, no training": [rows[name] for name in baselines if name in free],
        "Baselines, trained on the outcome": [rows[name] for name in baselines if name not in free],
    }
    return {
        "protocols": [protocol_label(protocol) for protocol, _ in columns],
        "groups": list(groups.items()),
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
