"""The report: one page that a pathologist reads from the top and that can be sent by mail.

It measures nothing: what the numbers say is in `opening`, `verdicts` and beside them, how they are drawn in `pictures`
and `curves`, and here they become the sections of the page. User text (names, patients, configuration) reaches the page
only through escaping. What the reader can pick is done by style alone: the page runs no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from lifelines.statistics import logrank_test

from mirror.errors import DataError
from mirror.evaluation.bootstrap import Interval
from mirror.evaluation.prototypes import FEWEST
from mirror.evaluation.report import pictures
from mirror.evaluation.report.by_risk import survival_by_risk
from mirror.evaluation.report.chances import calibration
from mirror.evaluation.report.curves import recall_picture
from mirror.evaluation.report.embedding_map import Map, colourings_of, draw_map, of_risk, risk_steps
from mirror.evaluation.report.inputs import UNLABELLED, ReportInputs
from mirror.evaluation.report.map_points import place_points
from mirror.evaluation.report.names import metric_label, protocol_label, representation_label, task_label
from mirror.evaluation.report.opening import Opening, opening
from mirror.evaluation.report.patients import flow, people
from mirror.evaluation.report.pictures import Dots, Survivors, signed
from mirror.evaluation.report.prototypes import GENES, GENES_IN_A_ROW
from mirror.evaluation.report.score_tables import score_tables
from mirror.evaluation.report.subtype import SitePictures, SubtypePictures, site_pictures, subtype_pictures
from mirror.evaluation.report.training import terms
from mirror.evaluation.report.verdicts import Verdict, headlines, verdicts

LISTED = 2000
"""Exclusions listed one by one; a page of more rows opens slowly, and excluded.csv has them all."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the page and report.json say, computed once."""

    inputs: ReportInputs
    chosen: Sequence[Verdict]
    opening: Opening
    subtype: SubtypePictures
    sites: SitePictures
    survival: Sequence[Mapping[str, Any]]
    calibration: Sequence[Mapping[str, Any]]
    tasks: Sequence[Mapping[str, Any]]
    people: Mapping[str, Any]
    flow: Sequence[Mapping[str, Any]]
    terms: Sequence[Mapping[str, Any]]
    map: Map | None


def compose(inputs: ReportInputs) -> Content:
    """Compute everything the page shows.

    Raises `DataError` when the scores are of more than one cohort or preset: their means would be of neither.
    """
    origins = inputs.scores[["cohort", "preset"]].drop_duplicates()
    if len(origins) > 1:
        found = ", ".join(f"{row.cohort} ({row.preset})" for row in origins.itertuples())
        raise DataError(f"a report is of one cohort and preset, the scores are of {found}; report each alone")
    chosen = [
        verdict._replace(interval=inputs.differences.get((verdict.task, verdict.protocol, verdict.metric)))
        for verdict in headlines(verdicts(inputs.scores))
    ]
    return Content(
        inputs=inputs,
        chosen=chosen,
        opening=opening(chosen, scores=inputs.scores, patients=inputs.patients),
        subtype=subtype_pictures(inputs),
        sites=site_pictures(inputs),
        survival=survival_by_risk(inputs),
        calibration=calibration(inputs),
        tasks=score_tables(inputs),
        people=people(inputs.patients),
        flow=flow(inputs),
        terms=terms(inputs.histories),
        map=embedding_map(inputs),
    )


def render_report(inputs: ReportInputs) -> str:
    """One self-contained HTML page: equal inputs give equal bytes, and nothing is loaded from anywhere.

    Raises as `compose` does.
    """
    return render_page(compose(inputs))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mirror.evaluation.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def render_page(content: Content) -> str:
    """The page of what `compose` gave."""
    inputs = content.inputs
    return _template().render(
        content=content,
        inputs=inputs,
        opening=content.opening,
        differences=_differences(content.chosen),
        drawn_anew=any(verdict.interval for verdict in content.chosen),
        listed=inputs.excluded.head(LISTED).fillna("").to_dict("records"),
        people=content.people,
        recall=_recall(inputs),
        curves=prototype_curves(inputs),
        genes_named=GENES,
        genes_in_a_row=GENES_IN_A_ROW,
        label_of=representation_label,
    )


def _differences(chosen: Sequence[Verdict]) -> str | None:
    few = [verdict.protocol for verdict in chosen if verdict.protocol.startswith("shot")]
    # Of many numbers of shots one stands for all; the curve shows them.
    stands = "shot10" if "shot10" in few or not few else few[len(few) // 2]
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
        if verdict.protocol not in few or verdict.protocol == stands
    ]
    said = "; ".join(f"{row.label}: {signed(float(np.mean(row.values)))}".replace("\n", ", ") for row in rows)
    description = f"Best learned representation minus best baseline, a dot a fold. {said}."
    return pictures.difference_picture(rows, description=description) if rows else None


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None or np.isnan(interval.low) else (interval.low, interval.high)


def _recall(inputs: ReportInputs) -> str | None:
    if inputs.retrieved is None:
        return None
    sides = [(side.title, side.ranks) for side in inputs.retrieved.directions]
    said = "; ".join(
        f"{side.title}: {100 * side.numbers.recall[10]:.0f} % among the 10 closest of {side.numbers.gallery}, "
        f"median place {side.numbers.median_rank:g}"
        for side in inputs.retrieved.directions
    )
    return recall_picture(sides, description=f"Share found among the k closest. {said}.")


def prototype_curves(inputs: ReportInputs) -> dict[int, dict[str, Any] | None]:
    """Kaplan-Meier curves of each prototype that is opened, against all other patients; None where it has too few."""
    found: dict[int, dict[str, Any] | None] = {}
    people = inputs.patients.dropna(subset=["time", "event"])
    for one in inputs.prototypes.shown if inputs.prototypes else ():
        inside = people["patient"].isin(one.patients).to_numpy()
        months, events = people["time"].to_numpy(np.float64), people["event"].astype(float).to_numpy() > 0.5
        if min(inside.sum(), (~inside).sum()) < FEWEST or not events.any():
            found[one.number] = None
            continue
        sides = ((f"prototype {one.title}", inside), ("all others", ~inside))
        groups = [Survivors(name, months[rows], events[rows]) for name, rows in sides]
        p = float(logrank_test(months[inside], months[~inside], events[inside], events[~inside]).p_value)
        said = "< 0.001" if p < 0.001 else f"= {p:.3f}"
        description = f"Kaplan-Meier curves of prototype {one.title} and of all other patients. Log-rank p {said}."
        svg = pictures.survival_picture(groups, until=float(months.max()), description=description)
        found[one.number] = {"p": said, "svg": svg}
    return found


def embedding_map(inputs: ReportInputs) -> Map | None:
    """The map of one run's embeddings; None without points. Colourings without anything to tell apart are left out."""
    points = place_points(inputs.embedding)
    if points.empty:
        return None
    patients = pd.Index(sorted(set(points["patient"].astype(str))))
    colourings = colourings_of(
        patients,
        labels=inputs.patients.set_index("patient")["label"],
        unlabelled=UNLABELLED,
        folds=inputs.folds,
        sites={"Site": inputs.sites},
        risks=risk_steps(of_risk(inputs.predictions)),
    )
    modalities = " and ".join(sorted(set(points["modality"]), reverse=True))
    choices = ", ".join(one.title.lower() for one in colourings)
    return draw_map(points, colourings, description=f"Map of {len(points)} embeddings ({modalities}) by {choices}.")
