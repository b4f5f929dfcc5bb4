"""A map of patients whose colours the reader picks: label, fold, site or risk.

The picture is drawn once, each point with a class for each colouring; rules of style say which classes have a colour
under which choice. So nothing has to be computed in the browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from mirror.evaluation.embed import EmbeddedRows
from mirror.evaluation.report.drawing import CLASS_COLOURS, OTHER

WIDTH, HEIGHT, EDGE = 720, 520, 14
MOST = 8000
"""Points that are drawn; a page of more scrolls slowly."""
RISK_STEPS = ("lowest fifth", "second", "middle", "fourth", "highest fifth")
RISK_COLOURS = ("#440154", "#3B528B", "#21918C", "#5EC962", "#D9C31B")
"""Viridis, its last step darkened to stand out on white: in order for every kind of colour vision, and in grey."""


IN_NO_TEST_HALF, SITE_UNKNOWN, RISK_UNKNOWN = "in no test half", "site not known", "risk not predicted"


class Colouring(NamedTuple):
    """One choice: `key` for style, `title` for people, `legend` name -> colour, `classes` the legend's place of each
    patient (index: patient)."""

    key: str
    title: str
    legend: Mapping[str, str]
    classes: pd.Series


class Map(NamedTuple):
    """The picture, its rules of style, and the colourings to choose from, the first one chosen."""

    svg: str
    style: str
    colourings: tuple[Colouring, ...]
    left_out: int


def colouring(
    key: str, title: str, values: pd.Series, *, missing: str, order: Sequence[str] | None = None
) -> Colouring:
    """A colour a value, the commonest first (or in `order`); `values` (index: patient) may be missing.

    Seven colours can be told apart: with more values the rarest share the grey with those who have none.
    """
    told = values.astype(object).where(values.notna(), None)
    counts = told.dropna().astype(str).value_counts()
    named = list(order) if order else sorted(counts.index, key=lambda name: (-counts[name], name))
    kept, rare = named[: len(CLASS_COLOURS)], named[len(CLASS_COLOURS) :]
    palette = RISK_COLOURS if order and len(order) == len(RISK_COLOURS) and key == "risk" else CLASS_COLOURS
    legend: dict[str, str] = dict(zip(kept, palette, strict=False))
    rest = f"{len(rare)} more" if rare else ""
    rest = " or ".join(part for part in (rest, missing if told.isna().any() else "") if part)
    if rest:
        legend[rest] = OTHER
    places = {name: place for place, name in enumerate(kept)}
    classes = told.map(lambda name: len(kept) if name is None else places.get(str(name), len(kept)))
    return Colouring(key, title, legend, classes.astype(int))


def colourings_of(
    patients: pd.Index,
    *,
    labels: pd.Series,
    unlabelled: str,
    folds: Mapping[str, int],
    sites: Mapping[str, Mapping[str, str]],
    risks: pd.Series,
) -> list[Colouring]:
    """What `patients` can be coloured by: label, the fold that judges them, each kind of site, predicted risk.

    `labels` and `risks` (steps, as `risk_steps` gives them) by patient; `sites` title -> patient -> site. A choice
    with nothing to tell apart is left out; that by label is always there.
    """
    names = {name: f"fold {number}" for name, number in folds.items()}
    numbers = sorted(set(names.values()), key=lambda name: int(name.split()[1]))
    of_sites = [
        (f"site{place or ''}", title, pd.Series(dict(told), dtype=object), SITE_UNKNOWN, None)
        for place, (title, told) in enumerate(sites.items())
    ]
    given = (
        ("label", "Label", labels, unlabelled, None),
        ("fold", "Fold", pd.Series(names, dtype=object), IN_NO_TEST_HALF, numbers or None),
        *of_sites,
        ("risk", "Risk", risks, RISK_UNKNOWN, RISK_STEPS),
    )
    return [
        colouring(key, title, values.reindex(patients), missing=missing, order=order)
        for key, title, values, missing, order in given
        if key == "label" or values.reindex(patients).notna().any()
    ]


def joint_views(table: EmbeddedRows) -> dict[str, str]:
    """Modality -> view, for one map of both: what probes get, or the aligned views where that has two widths."""
    asked = {"slide": "X_slide", "expression": "X_expression"}
    widths = {table.obsm[view].shape[1] for view in asked.values()}
    return asked if len(widths) == 1 else {modality: f"X_align_{modality}" for modality in asked}


def embedded_points(
    table: EmbeddedRows,
    labels: pd.Series,
    views: Mapping[str, str],
    *,
    each: Literal["patient", "slide"] = "patient",
) -> pd.DataFrame:
    """A point a patient (the mean of the slides) or a slide, and modality, of the embeddings `table` of one run.

    `views`: modality -> its view in `table`; rows that lack it are left out. Columns patient, modality, label (by
    patient, from `labels`), role, and the vector's; the index is the slide or patient.
    """
    parts: list[pd.DataFrame] = []
    for modality, view in views.items():
        vectors = pd.DataFrame(np.asarray(table.obsm[view]), index=table.obs_names.astype(str))
        vectors.columns = [f"v{column}" for column in range(vectors.shape[1])]
        known = ~vectors.isna().any(axis=1).to_numpy()
        owners = table.obs["patient"].astype(str).to_numpy()[known]
        roles = pd.Series(table.obs["role"].astype(str).to_numpy()[known], index=owners)
        roles = roles[~roles.index.duplicated()]
        points = vectors[known] if each == "slide" else vectors[known].groupby(owners).mean()
        whose = owners if each == "slide" else points.index.to_numpy()
        points.insert(0, "role", roles.reindex(whose).to_numpy())
        points.insert(0, "label", labels.reindex(whose).to_numpy())
        points.insert(0, "modality", modality)
        points.insert(0, "patient", whose)
        parts.append(points)
    return pd.concat(parts)


def of_risk(predictions: pd.DataFrame) -> pd.DataFrame:
    """Cox predictions of the fused representation, of the slide's where that has none."""
    if "risk" not in predictions:
        return pd.DataFrame({"risk": [], "seed": [], "fold": [], "patient": []})
    cox = predictions[predictions["protocol"] == "cox"]
    for name in ("fused", "slide"):
        if (cox["representation"] == name).any():
            return cox[cox["representation"] == name]
    return cox.head(0)


def risk_steps(predictions: pd.DataFrame) -> pd.Series:
    """The fifth of its fold's predicted risks that each test patient is in (index: patient); the first seed counts."""
    known = predictions.dropna(subset=["risk"])
    if known.empty:
        return pd.Series(dtype=object)
    known = known[known["seed"] == known["seed"].min()].sort_values(["fold", "patient"], kind="stable")
    place = known.groupby("fold")["risk"].rank(pct=True, method="first")
    step = np.ceil(place.to_numpy() * len(RISK_STEPS) - 1e-9).astype(int) - 1
    named = pd.Series([RISK_STEPS[at] for at in step], index=known["patient"].astype(str))
    return named[~named.index.duplicated()]


def draw_map(points: pd.DataFrame, colourings: Sequence[Colouring], *, description: str) -> Map:
    """`points`: x, y, patient, modality (slide round, expression square), role; test patients full, others pale."""
    left_out = max(0, len(points) - MOST)
    if left_out:  # every so-manyth patient, with both modalities
        names = sorted(points["patient"].unique())
        step = int(np.ceil(len(points) / MOST))
        points = points[points["patient"].isin(names[::step])]
    low, span = points[["x", "y"]].min(), (points[["x", "y"]].max() - points[["x", "y"]].min()).replace(0, 1)
    placed = (points[["x", "y"]] - low) / span
    x = EDGE + placed["x"].to_numpy() * (WIDTH - 2 * EDGE)
    y = HEIGHT - EDGE - placed["y"].to_numpy() * (HEIGHT - 2 * EDGE)
    table = points.assign(px=x, py=y).sort_values("role", key=lambda role: role == "test", kind="stable")
    marks = [_mark(row, colourings) for row in table.itertuples()]
    pairs = table[table["role"] == "test"].pivot_table(index="patient", columns="modality", values=["px", "py"])
    lines = ""
    if {"slide", "expression"} <= set(table["modality"]):
        ends = pairs.dropna()
        lines = "".join(
            f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}"
            for a, b, c, d in ends[
                [("px", "slide"), ("py", "slide"), ("px", "expression"), ("py", "expression")]
            ].itertuples(index=False)
        )
    path = f'<path class="pair" d="{lines}"/>' if lines else ""
    svg = f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
    style = "\n".join(
        f"#map:has(#by-{one.key}:checked) .{one.key}{place} {{ fill: {colour}; }}"
        for one in colourings
        for place, colour in enumerate(one.legend.values())
    )
    shown = "\n".join(f"#map:has(#by-{one.key}:checked) .legend-{one.key} {{ display: flex; }}" for one in colourings)
    return Map(Markup(svg + path + "".join(marks) + "</svg>"), Markup(f"{style}\n{shown}"), tuple(colourings), left_out)


def _mark(row: Any, colourings: Sequence[Colouring]) -> str:
    patient = str(row.patient)
    classes = " ".join(f"{one.key}{one.classes.get(patient, len(one.legend) - 1)}" for one in colourings)
    full = " t" if row.role == "test" else ""
    said = [patient, str(row.modality), f"{row.role} patient"]
    said += [
        f"{one.title.lower()}: {list(one.legend)[int(one.classes[patient])]}"
        for one in colourings
        if patient in one.classes.index
    ]
    title = f"<title>{escape('; '.join(said))}</title>" if full else ""
    # Before any rule of style applies, and where a browser knows none of them, the first colouring stands.
    first = colourings[0] if colourings else None
    fill = list(first.legend.values())[int(first.classes.get(patient, len(first.legend) - 1))] if first else OTHER
    look = f'class="p{full} {classes}" fill="{fill}"'
    if row.modality == "slide":
        return f'<circle {look} cx="{row.px:.1f}" cy="{row.py:.1f}" r="4.4">{title}</circle>'
    return f'<rect {look} x="{row.px - 3.8:.1f}" y="{row.py - 3.8:.1f}" width="7.6" height="7.6">{title}</rect>'
