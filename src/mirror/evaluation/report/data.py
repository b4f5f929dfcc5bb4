"""report.json: what the page says, for machines. Numbers as they were computed; what has no value is null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mirror.evaluation.report.page import Content
from mirror.evaluation.report.roc import ACROSS
from mirror.evaluation.scores import summarise


def report_data(content: Content) -> dict[str, Any]:
    """Values that JSON has; keys are in docs/data-formats.md."""
    inputs = content.inputs
    summary = summarise(inputs.scores).drop(columns=["cohort", "preset"])
    intervals = inputs.intervals.drop(columns=["cohort", "preset"], errors="ignore")
    data: dict[str, Any] = {
        "kind": "report",
        "name": inputs.name,
        "preset": inputs.preset,
        "opening": content.opening._asdict(),
        "warnings": list(inputs.warnings),
        "notes": list(inputs.notes),
        "facts": dict(inputs.facts),
        "counts": {kind: dict(count) for kind, count in inputs.counts.items()},
        "headlines": [
            {**one._asdict(), "mean": one.mean, "ahead": one.ahead, "interval": _interval(one.interval)}
            for one in content.chosen
        ],
        "scores": summary.to_dict("records"),
        "intervals": intervals.to_dict("records"),
        "roc": {
            of: {name: _roc(curve) for name, curve in sides.items()} for of, sides in content.subtype.curves.items()
        },
        "few_shot": [curve._asdict() for curve in content.subtype.shots],
        "confusion": {name: table._asdict() for name, table in content.subtype.tables.items()},
        "calibration": [
            {"task": one["task"], "representation": one["name"], "of": one["of"]}
            | {"groups": [group._asdict() for group in one["groups"]]}
            for one in content.calibration
        ],
        "survival": [
            {name: value for name, value in one.items() if name not in ("svg", "title", "said", "p")}
            for one in content.survival
        ],
        "sites": {task: [one._asdict() for one in scores] for task, scores in content.sites.scores.items()},
        "retrieval": None if inputs.retrieved is None else _named(inputs.retrieved),
        "prototypes": None if inputs.prototypes is None else _named(inputs.prototypes),
        "audit": None if inputs.audit is None else inputs.audit.as_json(),
    }
    return _plain(data)


def _roc(curve: Any) -> dict[str, Any]:
    return {"false_alarms": ACROSS, **curve._asdict()}


def _interval(interval: Any) -> dict[str, Any] | None:
    return None if interval is None else interval._asdict()


def _named(value: Any) -> Any:
    """Named tuples as mappings, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _named(one) for name, one in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_named(one) for one in value]
    return value


def _plain(value: Any) -> Any:
    """Only what JSON has: NaN and missing become null, numpy's numbers and arrays those of Python."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
