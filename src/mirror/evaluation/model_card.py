"""The card of a handed-on model: README.md with the front matter of the Hugging Face hub, written from the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
import yaml

from mirror.evaluation.metrics import LOWER_IS_BETTER
from mirror.evaluation.report.names import metric_label, protocol_label, representation_label, task_label
from mirror.evaluation.representations import is_learned
from mirror.tasks.model_folder import PACKAGE, ModelFacts, ScoreRow

SHOWN = ("auroc", "c_index")
"""Metrics of the card's table; config.json has all of them."""

_TAGS = ("computational-pathology", "histopathology", "transcriptomics", "multimodal", "representation-learning")


def render_card(facts: ModelFacts, *, licence: str | None, note: str | None = None) -> str:
    """The card as Markdown. `licence` is what the user says of the model, `note` how its genes were chosen."""
    environment = jinja2.Environment(
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(
        (resources.files("mirror") / "evaluation" / "model_card.md.j2").read_text("utf-8")
    )
    return template.render(
        front=yaml.safe_dump(_front_matter(facts, licence), sort_keys=False, allow_unicode=True),
        facts=facts,
        on=facts.trained_on,
        expects=facts.expects,
        licence=licence,
        note=note,
        tables=_tables(facts.scores),
        package=PACKAGE,
    )


def _front_matter(facts: ModelFacts, licence: str | None) -> dict[str, Any]:
    front: dict[str, Any] = {"license": licence or "other"}
    if licence is None:
        front["license_name"] = "not-stated"
    front |= {"library_name": PACKAGE, "pipeline_tag": "feature-extraction", "tags": list(_TAGS)}
    measured = [row for row in facts.scores if row.representation == "fused" and row.value is not None]
    shown = [row for row in measured if row.metric in SHOWN]
    if shown:
        front["model-index"] = [{"name": facts.trained_on.cohort, "results": [_result(facts, row) for row in shown]}]
    return front


def _result(facts: ModelFacts, row: ScoreRow) -> dict[str, Any]:
    assert row.value is not None
    name = facts.trained_on.cohort
    metric = {"type": row.metric, "name": _title(row), "value": round(row.value, 4)}
    task = {"type": "feature-extraction", "name": task_label(row.task)}
    return {"task": task, "dataset": {"type": name, "name": name}, "metrics": [metric]}


def _title(row: ScoreRow) -> str:
    return f"{task_label(row.task)}, {protocol_label(row.protocol)}: {metric_label(row.metric)}"


def _tables(scores: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """A table a number: every representation with its interval, the best first, and which of them cost no training."""
    shown = [row for row in scores if row.metric in SHOWN]
    tables: list[dict[str, Any]] = []
    for key in dict.fromkeys((row.task, row.protocol, row.metric) for row in shown):
        rows = [row for row in shown if (row.task, row.protocol, row.metric) == key]
        sign = 1.0 if key[2] in LOWER_IS_BETTER else -1.0
        rows.sort(key=lambda row: math.inf if row.value is None else sign * row.value)
        lines = [
            (
                representation_label(row.representation),
                _cell(row),
                "yes" if is_learned(row.representation) else "no",
                row.patients,
            )
            for row in rows
        ]
        tables.append({"title": _title(rows[0]), "lines": lines})
    return tables


def _cell(row: ScoreRow) -> str:
    if row.value is None:
        return "not defined"
    return (
        f"{row.value:.3f}"
        if row.low is None or row.high is None
        else f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
    )
