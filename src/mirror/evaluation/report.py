"""The report: one page that a pathologist reads from the top and that can be sent by mail.

It measures nothing. Every sentence is computed from the scores, and none of them speaks of significance where no test
was made. User text (names, patients, configuration) reaches the page only through escaping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test

from mirror.errors import DataError
from mirror.evaluation import pictures
from mirror.evaluation.pictures import Dots, Survivors, signed
from mirror.evaluation.scores import summarise

METRICS = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "c_index": "c-index",
}
"""In the order in which a metric is preferred where only one can be spoken of."""

PROTOCOLS = {"linear": "linear probe", "cox": "Cox model", "discrete": "discrete-time hazards"}
TASKS = {"subtyping": "subtype", "survival": "survival"}
KINDS = {
    "slide": "slides",
    "feature_file": "feature files",
    "expression": "expression profiles",
    "clinical": "clinical rows",
    "gene": "genes",
}
MODALITIES = {"slide": "Slide", "expression": "Expression", "fused": "Both"}
UNLABELLED = "no label"
LISTED = 2000
"""Exclusions listed one by one; a page of more rows opens slowly, and excluded.csv has them all."""


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything the page shows.

    `counts` kind -> given, kept, excluded. `excluded` kind, item, reason, source. `patients` one row a kept patient:
    patient, label, time (months), event (nullable), slides, has_expression. `notes` sentences of the earlier stages.
    `scores` and `predictions` as `mirror evaluate` writes them. `histories` (seed, fold) -> a mapping an epoch: `epoch`
    and named terms. `embedding` one row a point of one run: patient, modality (slide | expression), label, role, and
    either x and y or vector columns. `facts` versions, device, date: the page has no clock of its own.
    """

    name: str
    preset: str
    config_yaml: str
    counts: Mapping[str, Mapping[str, int]]
    excluded: pd.DataFrame
    patients: pd.DataFrame
    notes: Sequence[str]
    scores: pd.DataFrame
    predictions: pd.DataFrame
    histories: Mapping[tuple[int, int], Sequence[Mapping[str, float]]]
    embedding: pd.DataFrame
    facts: Mapping[str, str]


class Verdict(NamedTuple):
    """The best learned representation against the best baseline, both by mean; a difference a fold, in fold order."""

    task: str
    protocol: str
    metric: str
    learned: str
    learned_mean: float
    baseline: str
    baseline_mean: float
    differences: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    @property
    def spread(self) -> float:
        """Standard deviation over folds (n - 1); NaN for a single fold."""
        return float(np.std(self.differences, ddof=1)) if len(self.differences) > 1 else float("nan")

    @property
    def ahead(self) -> int:
        """Folds in which the learned representation has the larger value."""
        return sum(difference > 0 for difference in self.differences)

    @property
    def outcome(self) -> Literal["one fold", "ahead", "behind", "undecided"]:
        """`ahead` or `behind` only where every fold says so and the mean is larger than the spread."""
        folds = len(self.differences)
        if folds == 1:
            return "one fold"
        if abs(self.mean) <= self.spread:
            return "undecided"
        behind = sum(difference < 0 for difference in self.differences)
        return "ahead" if self.ahead == folds else "behind" if behind == folds else "undecided"


class Opening(NamedTuple):
    """The three sentences the page opens with."""

    asked: str
    found: str
    sure: str


class RiskSplit(NamedTuple):
    """Patients in two groups by predicted risk; `p` of the log-rank test, NaN when a group is empty or has no event."""

    representation: str
    low: Survivors
    high: Survivors
    p: float
    unsplit: int
    """Patients of folds whose predicted risks are all equal; they are in neither group."""


def is_learned(representation: str) -> bool:
    """True for representations of a trained model, False for the baselines that cost no training."""
    return not representation.startswith(("raw_", "pca"))


def representation_label(name: str) -> str:
    """A short name for people: `pca32_fused` -> `PCA 32, both`."""
    kind, _, modality = name.rpartition("_")
    if kind == "raw":
        return {"slide": "Mean tile", "expression": "Expression as given"}.get(modality, "Both as given")
    if kind.startswith("pca"):
        return f"PCA {kind[3:]}, {MODALITIES.get(modality, modality).lower()}"
    return MODALITIES.get(name, name)


def protocol_label(name: str) -> str:
    """`shot10` -> `10-shot`."""
    return f"{name[4:]}-shot" if name.startswith("shot") else PROTOCOLS.get(name, name)


def verdicts(scores: pd.DataFrame) -> list[Verdict]:
    """A verdict for each task, protocol and metric that was measured on both sides of at least one fold."""
    found: list[Verdict] = []
    for (task, protocol, metric), part in _by_fold(scores).groupby(["task", "protocol", "metric"], sort=False):
        table = part.pivot(index="fold", columns="representation", values="value").sort_index()
        means = table.mean()
        learned = [name for name in map(str, table) if is_learned(name)]
        baselines = [name for name in map(str, table) if not is_learned(name)]
        if not learned or not baselines:
            continue
        best, rival = str(means[learned].idxmax()), str(means[baselines].idxmax())
        shared = table[[best, rival]].dropna()
        if len(shared):
            sides = (best, float(shared[best].mean()), rival, float(shared[rival].mean()))
            differences = tuple(float(value) for value in shared[best] - shared[rival])
            found.append(Verdict(str(task), str(protocol), str(metric), *sides, differences))
    return found


def headlines(found: Sequence[Verdict]) -> list[Verdict]:
    """The verdict of the preferred metric for each task and protocol, the foremost protocol of a task first."""
    first: dict[tuple[str, str], Verdict] = {}
    for verdict in sorted(found, key=lambda verdict: _rank(verdict.metric, METRICS)):
        first.setdefault((verdict.task, verdict.protocol), verdict)
    return sorted(first.values(), key=lambda verdict: (_rank(verdict.task, TASKS), _rank(verdict.protocol, PROTOCOLS)))


def opening(inputs: ReportInputs, chosen: Sequence[Verdict]) -> Opening:
    """Three sentences in plain words: what was asked, what was found, how sure that is."""
    by_task: dict[str, Verdict] = {}
    for verdict in chosen:
        by_task.setdefault(verdict.task, verdict)
    if not by_task:
        nothing = "No learned representation and baseline were scored on the same folds, so neither leads."
        return Opening(_asked(inputs), nothing, "There is no measurement to be sure of.")
    found = "; ".join(_found(verdict) for verdict in by_task.values())
    sure = "; ".join(_sure(verdict) for verdict in by_task.values())
    chosen_from = inputs.scores["representation"].nunique()
    picked = "each side is the best of several on these same folds, and " if chosen_from > 2 else ""
    caution = f"{picked}no test of significance was made"
    return Opening(_asked(inputs), _sentence(found), _sentence(f"{sure}; {caution}"))


def risk_groups(predictions: pd.DataFrame) -> pd.Series[str]:
    """`low` or `high` for each test patient: at most, or above, the median of the risks predicted in the same fold.

    The outcome has no part in it. Patients of a fold whose risks are all equal are `none`. Of several seeds the first
    counts, of several test folds the first too: one patient is one person in the curve.
    """
    risks = predictions.dropna(subset=["risk"])
    risks = risks[risks["seed"] == risks["seed"].min()].sort_values(["fold", "patient"], kind="stable")
    by_fold = risks.groupby("fold")["risk"]
    group = pd.Series("low", index=risks.index)
    group[risks["risk"] > by_fold.transform("median")] = "high"
    group[by_fold.transform("nunique") == 1] = "none"
    return group.set_axis(risks["patient"])[lambda named: ~named.index.duplicated()]


def split_by_risk(predictions: pd.DataFrame, patients: pd.DataFrame, *, representation: str) -> RiskSplit | None:
    """The patients of `risk_groups` with their follow-up, and the log-rank test; None where nobody has both."""
    groups = risk_groups(predictions[predictions["representation"] == representation])
    known = patients.set_index("patient")[["time", "event"]].dropna().astype(np.float64)
    groups = groups[groups.index.isin(known.index)]
    if groups.empty:
        return None
    sides = {name: known.loc[groups.index[groups == name]] for name in ("low", "high")}
    low, high = (
        Survivors(f"{name} risk", t["time"].to_numpy(), t["event"].to_numpy() > 0.5) for name, t in sides.items()
    )
    testable = len(low.months) and len(high.months) and (low.events.any() or high.events.any())
    test = logrank_test(low.months, high.months, low.events, high.events) if testable else None
    p = float("nan") if test is None else float(test.p_value)
    return RiskSplit(representation, low, high, p, int((groups == "none").sum()))


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
    chosen = headlines(verdicts(inputs.scores))
    return environment.from_string(source).render(
        inputs=inputs,
        opening=opening(inputs, chosen),
        differences=_differences(chosen),
        flow=_flow(inputs),
        listed=inputs.excluded.head(LISTED).fillna("").to_dict("records"),
        people=_people(inputs.patients),
        tasks=_tasks(inputs),
        survival=_survival(inputs),
        map=_map(inputs.embedding),
        terms=_terms(inputs.histories),
    )


def _rank(name: str, order: Mapping[str, object]) -> int:
    """Place in `order`; names it does not know (another shot, a new metric) come after those it does."""
    return list(order).index(name) if name in order else len(order)


def _by_fold(scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["task", "protocol", "metric", "representation", "fold"]
    return scores.dropna(subset=["value"]).groupby(keys, sort=False)["value"].mean().reset_index()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _asked(inputs: ReportInputs) -> str:
    with_expression = int(inputs.patients["has_expression"].sum())
    source = "the slides and the gene expression" if with_expression else "the slides"
    asked = sorted(set(inputs.scores["task"].astype(str)), key=lambda task: _rank(task, TASKS))
    targets = [TASKS.get(task, task) for task in asked]
    who = f"{len(inputs.patients):,} patients"
    if not targets:
        return f"A representation was learned from {source} of {who}; no task was asked of it."
    return (
        f"Does a representation learned from {source} of {who} say more about the {' and the '.join(targets)} of "
        "patients it has never seen than plain summaries of the same data that need no training?"
    )


def _found(verdict: Verdict) -> str:
    gap = f"{abs(verdict.mean):.3f}"
    place = "level with" if not gap.strip("0.") else f"{gap} {'above' if verdict.mean > 0 else 'below'}"
    return (
        f"for {TASKS.get(verdict.task, verdict.task)}, the best learned representation "
        f"({_inline(verdict.learned)}) reached a mean {METRICS.get(verdict.metric, verdict.metric)} of "
        f"{verdict.learned_mean:.3f} by {protocol_label(verdict.protocol)}, {place} the best baseline "
        f"({_inline(verdict.baseline)}) with {verdict.baseline_mean:.3f}"
    )


def _sure(verdict: Verdict) -> str:
    task, folds = TASKS.get(verdict.task, verdict.task), len(verdict.differences)
    spread = f"spread over folds (sd {verdict.spread:.3f})"
    if verdict.outcome == "one fold":
        return f"{task} was measured on one fold only, which cannot show how far chance moves the difference"
    if verdict.outcome != "undecided":
        winner = "learned representation" if verdict.outcome == "ahead" else "baseline"
        return f"for {task}, the {winner} is ahead in all {folds} folds, by more than the {spread}"
    size = "within" if abs(verdict.mean) <= verdict.spread else "larger than"
    return f"{task} is undecided: learned ahead in {verdict.ahead} of {folds} folds, the difference {size} its {spread}"


def _inline(name: str) -> str:
    label = "slide and expression together" if name == "fused" else representation_label(name)
    return label if label.startswith("PCA") else label.lower()


def _differences(chosen: Sequence[Verdict]) -> str | None:
    rows = [
        Dots(
            f"{TASKS.get(verdict.task, verdict.task).capitalize()}, {protocol_label(verdict.protocol)}, "
            f"{METRICS.get(verdict.metric, verdict.metric)}\n{representation_label(verdict.learned)} against "
            f"{representation_label(verdict.baseline)}",
            verdict.differences,
            learned=True,
        )
        for verdict in chosen
    ]
    said = "; ".join(f"{row.label}: {signed(float(np.mean(row.values)))}".replace("\n", ", ") for row in rows)
    description = f"Best learned representation minus best baseline, a dot a fold. {said}."
    return pictures.difference_picture(rows, description=description) if rows else None


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
        "median": _median_follow_up(followed),
        "slides": int(patients["slides"].sum()),
        "expression": int(patients["has_expression"].sum()),
    }


def _median_follow_up(followed: pd.DataFrame) -> float | None:
    """Months, by the reverse Kaplan-Meier estimate (an event ends the observation, it does not measure it)."""
    if followed.empty:
        return None
    reverse = KaplanMeierFitter().fit(followed["time"].astype(float), followed["event"].astype(float) < 0.5)
    median = float(reverse.median_survival_time_)
    return median if np.isfinite(median) else None


def _tasks(inputs: ReportInputs) -> list[dict[str, Any]]:
    summary, by_fold = summarise(inputs.scores).dropna(subset=["mean"]), _by_fold(inputs.scores)
    tasks: list[dict[str, Any]] = []
    for task in sorted(set(summary["task"]), key=lambda name: _rank(name, TASKS)):
        part, folds = summary[summary["task"] == task], by_fold[by_fold["task"] == task]
        columns = sorted(
            {(str(protocol), str(metric)) for protocol, metric in zip(part["protocol"], part["metric"], strict=True)},
            key=lambda pair: (_rank(pair[0], PROTOCOLS), pair[0], _rank(pair[1], METRICS), pair[1]),
        )
        names = sorted(dict.fromkeys(part["representation"]), key=lambda name: not is_learned(name))
        panels = [_panel(folds, names, column, task=task, patients=inputs.patients) for column in columns]
        # One metric is enough to see who leads; pictures of the others are folded away below it.
        foremost = min((metric for _, metric in columns), key=lambda name: _rank(name, METRICS))
        tasks.append(
            {
                "title": TASKS.get(task, task),
                "panels": [panel for panel, column in zip(panels, columns, strict=True) if column[1] == foremost],
                "folded": [panel for panel, column in zip(panels, columns, strict=True) if column[1] != foremost],
                "table": _table(part, names, columns),
            }
        )
    return tasks


def _panel(
    by_fold: pd.DataFrame, names: Sequence[str], column: tuple[str, str], *, task: str, patients: pd.DataFrame
) -> dict[str, Any]:
    protocol, metric = column
    cells = by_fold[(by_fold["protocol"] == protocol) & (by_fold["metric"] == metric)]
    values = {name: tuple(cells.loc[cells["representation"] == name, "value"].astype(float)) for name in names}
    rows = [Dots(representation_label(name), found, is_learned(name)) for name, found in values.items() if found]
    baselines = [float(np.mean(row.values)) for row in rows if not row.learned]
    title = f"{METRICS.get(metric, metric)}, {protocol_label(protocol)}"
    said = "; ".join(f"{row.label} {np.mean(row.values):.3f}" for row in rows)
    picture = pictures.score_picture(
        rows,
        reference=max(baselines, default=None),
        chance=_chance(metric, patients),
        description=f"{title} for {TASKS.get(task, task)}, mean over folds: {said}.",
    )
    return {"title": title, "svg": picture}


def _chance(metric: str, patients: pd.DataFrame) -> float | None:
    if metric in ("auroc", "c_index"):
        return 0.5
    classes = patients["label"].nunique()
    return 1 / classes if metric == "balanced_accuracy" and classes else None


def _table(summary: pd.DataFrame, names: Sequence[str], columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Rows of cells; a cell has `mean`, `sd` and `folds`, and is marked where it is the column's best of its side."""
    found = summary.set_index(["representation", "protocol", "metric"])[["mean", "sd", "folds"]].to_dict("index")
    best = {
        (column, side): max(
            (found[name, *column]["mean"] for name in names if is_learned(name) == side and (name, *column) in found),
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
            "cells": [_cell(found.get((name, *column)), best[column, is_learned(name)]) for column in columns],
        }
        for name in names
    ]
    return {
        "protocols": [(protocol_label(name), protocols.count(name)) for name in dict.fromkeys(protocols)],
        "metrics": [METRICS.get(metric, metric) for _, metric in columns],
        "starts": [protocols.index(name) for name in dict.fromkeys(protocols)],
        "groups": [
            (heading, [row for row in rows if row["learned"] == side])
            for heading, side in (("Learned", True), ("Baselines, no training", False))
        ],
        "folds": sorted(set(summary["folds"].astype(int))),
    }


def _cell(found: Mapping[Any, float] | None, best: float | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {**found, "sd": None if np.isnan(found["sd"]) else found["sd"], "best": found["mean"] == best}


def _survival(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The fused representation beside the best baseline of the same protocol."""
    if "risk" not in inputs.predictions:
        return []
    summary = summarise(inputs.scores).dropna(subset=["mean"])
    with_risk = inputs.predictions.dropna(subset=["risk"])
    protocol = "cox" if (with_risk["protocol"] == "cox").any() else "discrete"
    predicted = with_risk[with_risk["protocol"] == protocol]
    ranked = summary[(summary["protocol"] == protocol) & (summary["metric"] == "c_index")]
    ranked = ranked[ranked["representation"].isin(predicted["representation"])].sort_values("mean", ascending=False)
    learned = [name for name in ranked["representation"] if is_learned(name)]
    baselines = [name for name in ranked["representation"] if not is_learned(name)]
    shown = [*(["fused"] if "fused" in learned else learned[:1]), *baselines[:1]]
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
    colours = {name: pictures.CLASS_COLOURS[rank] for rank, name in enumerate(named[: len(pictures.CLASS_COLOURS)])}
    colours |= dict.fromkeys(sorted(set(points["label"]) - colours.keys()), pictures.OTHER)
    modalities = [name for name in ("slide", "expression") if (points["modality"] == name).any()]
    description = f"Map of {len(points)} embeddings ({' and '.join(modalities)}) by {', '.join(colours)}."
    picture = pictures.map_picture(points, colours=colours, description=description)
    return {"svg": picture, "legend": colours, "modalities": modalities}


def place_points(embedding: pd.DataFrame) -> pd.DataFrame:
    """The points with their place `x, y` on a map: two principal components of the vectors, rows with NaN left out.

    Each modality is standardised by its own training rows (all rows where none is marked), so that the map shows how
    patients lie within a modality and not the constant gap between the two; the components are those of training rows.
    """
    known = ["patient", "modality", "label", "role"]
    if embedding.empty:
        return pd.DataFrame(columns=[*known, "x", "y"])
    vectors = embedding.drop(columns=known)
    complete = vectors.notna().all(axis=1)
    points, vectors = embedding.loc[complete, known].reset_index(drop=True), vectors[complete].reset_index(drop=True)
    if points.empty or {"x", "y"} <= set(vectors):
        return points.join(vectors)
    values = vectors.to_numpy(np.float64)
    fitted = (points["role"] == "train").to_numpy()
    fitted = fitted if fitted.sum() > 2 else np.ones(len(points), dtype=bool)
    for modality in points["modality"].unique():
        rows = (points["modality"] == modality).to_numpy()
        base = values[rows & fitted] if (rows & fitted).any() else values[rows]
        scale = base.std(axis=0)
        values[rows] = (values[rows] - base.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    axes = np.linalg.svd(values[fitted], full_matrices=False)[2][:2]
    # The sign of a component is arbitrary: its largest entry is made positive, so that equal runs give equal maps.
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    placed = np.pad(values @ axes.T, ((0, 0), (0, 2 - len(axes))))
    return points.assign(x=placed[:, 0], y=placed[:, 1])


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
