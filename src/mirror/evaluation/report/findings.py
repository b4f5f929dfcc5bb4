"""What the numbers say, in figures and in words, before anything is drawn.

Which side leads and how far folds agree on it, patients split by predicted risk, points placed on a map, and the names
under which people read representations, protocols, metrics and tasks. Every sentence is computed from the scores, and
none of them speaks of significance where no test was made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test

from mirror.data.selection import Selection
from mirror.evaluation.bootstrap import RESAMPLES, Interval, paired_difference, shared_patients
from mirror.evaluation.metrics import LOWER_IS_BETTER
from mirror.evaluation.report.pictures import Survivors, signed
from mirror.evaluation.representations import ALIGNED, CHANCE, CLINICAL, is_learned, is_set_against
from mirror.seeding import rng_for

METRICS = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "c_index": "c-index",
    "time_auroc": "Time-dependent AUROC",
    "integrated_brier": "Integrated Brier score",
    "calibration_error": "Calibration error",
    "recall@10": "Recall@10",
    "recall@5": "Recall@5",
    "recall@1": "Recall@1",
    "median_rank": "Median rank",
}
"""In the order in which a metric is preferred where only one can be spoken of."""

PROTOCOLS = {
    "linear": "linear probe",
    "cox": "Cox model",
    "discrete": "discrete-time hazards",
    "prototype": "nearest prototype",
    "supervised": "supervised training",
    "supervised_survival": "supervised training",
    "slide_to_expression": "slide to expression",
    "expression_to_slide": "expression to slide",
}
TASKS = {"subtyping": "subtype", "survival": "survival", "retrieval": "retrieval"}
MODALITIES = {"slide": "Slide", "expression": "Expression", "fused": "Both"}
OTHERS = {
    ALIGNED: "Aligned modalities",
    CHANCE: "Random order",
    CLINICAL: "Clinical variables",
    "mean_pool": "Mean tile, trained",
    "abmil": "ABMIL",
    "transmil": "TransMIL",
    "mlp": "Expression, MLP",
    "elastic_net": "Expression, elastic net",
}

READING_CHOSEN_GENES = (
    *("expression", "fused", ALIGNED, "panel_expression", "panel_fused"),
    *(f"{name}_{CLINICAL}" for name in ("expression", "fused")),
)
"""Representations that read the genes of a run's panel; the others read all genes of the table, or slides alone."""


class Verdict(NamedTuple):
    """The best learned representation against the best baseline, both by mean; a difference a fold, in fold order.

    A difference is positive where the learned representation is better, also where lower values are.
    """

    task: str
    protocol: str
    metric: str
    learned: str
    learned_mean: float
    baseline: str
    baseline_mean: float
    differences: tuple[float, ...]
    interval: Interval | None = None
    """Of the mean difference, from the patients drawn anew; signed as `differences`."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    @property
    def spread(self) -> float:
        """Standard deviation over folds (n - 1); NaN for a single fold."""
        return float(np.std(self.differences, ddof=1)) if len(self.differences) > 1 else float("nan")

    @property
    def ahead(self) -> int:
        """Folds in which the learned representation has the better value."""
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


def representation_label(name: str) -> str:
    """A short name for people: `pca32_fused` -> `PCA 32, both`."""
    if name.endswith(f"_{CLINICAL}"):
        return f"{representation_label(name.removesuffix(f'_{CLINICAL}'))}, with clinical variables"
    kind, _, modality = name.rpartition("_")
    if kind == "raw":
        return {"slide": "Mean tile", "expression": "Expression as given"}.get(modality, "Both as given")
    if kind == "finetuned":
        return f"{MODALITIES.get(modality, modality)}, fine-tuned"
    if kind == "panel":
        return f"{MODALITIES.get(modality, modality)}, chosen genes"
    if kind.startswith("pca"):
        return f"PCA {kind[3:]}, {MODALITIES.get(modality, modality).lower()}"
    return {**MODALITIES, **OTHERS}.get(name, name)


def rows_by_choice(representations: Sequence[str], selection: Selection) -> str:
    """Which of the rows `representations` read the genes of `selection`, and so what each row saw of test patients."""
    reading = [name for name in representations if name in READING_CHOSEN_GENES]
    others = [name for name in representations if name not in READING_CHOSEN_GENES and name != CHANCE]
    if selection.scope == "fold":
        return (
            f"Genes were chosen inside each fold, on its training patients. {_rows(reading)} read the chosen genes, "
            f"{_rows(others)} all genes of the table or slides alone; no row saw anything of patients it is judged on."
        )
    seen = {"label": "values and labels", "survival": "values and survival", "variance": "values"}[selection.criterion]
    leak = "" if selection.criterion == "variance" else " and are optimistic by what that leak is worth"
    taught = [name for name in others if is_learned(name)]
    free = [name for name in others if not is_learned(name)]
    return (
        f"Genes were chosen once, on the whole cohort, as published: {seen} of test patients had a part in the choice. "
        f"{_rows(reading)} read the chosen genes{leak}. "
        + (f"{_rows(taught)} reads slides alone, but its training was shown these genes. " if taught else "")
        + f"{_rows(free)} read all genes of the table or slides alone, and saw nothing of test patients."
    )


def _rows(names: Sequence[str]) -> str:
    quoted = [f"'{representation_label(name)}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def protocol_label(name: str) -> str:
    """`shot10` -> `10-shot`."""
    return f"{name[4:]}-shot" if name.startswith("shot") else PROTOCOLS.get(name, name)


def protocol_order(name: str) -> tuple[int, int, str]:
    """A key by which protocols stand as people read them: those of `PROTOCOLS`, then fewer shots before more."""
    shots = int(name[4:]) if name.startswith("shot") and name[4:].isdecimal() else 0
    return rank(name, PROTOCOLS), shots, name


def metric_label(name: str) -> str:
    """`auroc` -> `AUROC`; a metric without a name for people keeps its own."""
    return METRICS.get(name, name)


def task_label(name: str) -> str:
    """`subtyping` -> `subtype`; a task without a name for people keeps its own."""
    return TASKS.get(name, name)


def rank(name: str, order: Mapping[str, object]) -> int:
    """Place in `order`; names it does not know (another shot, a new metric) come after those it does."""
    return list(order).index(name) if name in order else len(order)


def fold_means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a task, protocol, metric, representation and fold: `value`, the mean over seeds that have one."""
    keys = ["task", "protocol", "metric", "representation", "fold"]
    return scores.dropna(subset=["value"]).groupby(keys, sort=False)["value"].mean().reset_index()


def chance(metric: str, *, classes: int) -> float | None:
    """What guessing reaches in a task of so many classes; None where that depends on how rare they are."""
    if metric in ("auroc", "c_index", "time_auroc"):
        return 0.5
    return 1 / classes if metric == "balanced_accuracy" and classes else None


def direction(metric: str) -> int:
    """1 where higher values are better, -1 where lower ones are."""
    return -1 if metric in LOWER_IS_BETTER else 1


def verdicts(scores: pd.DataFrame) -> list[Verdict]:
    """A verdict for each task, protocol and metric that was measured on both sides of at least one fold."""
    found: list[Verdict] = []
    for (task, protocol, metric), part in fold_means(scores).groupby(["task", "protocol", "metric"], sort=False):
        table = part.pivot(index="fold", columns="representation", values="value").sort_index()
        means = table.mean()
        names = list(filter(is_set_against, map(str, table)))
        learned = [name for name in names if is_learned(name)]
        baselines = [name for name in names if not is_learned(name)]
        if not learned or not baselines:
            continue
        sign = direction(str(metric))
        best, rival = str((sign * means[learned]).idxmax()), str((sign * means[baselines]).idxmax())
        shared = table[[best, rival]].dropna()
        if len(shared):
            sides = (best, float(shared[best].mean()), rival, float(shared[rival].mean()))
            differences = tuple(float(value) for value in sign * (shared[best] - shared[rival]))
            found.append(Verdict(str(task), str(protocol), str(metric), *sides, differences))
    return found


def headline_intervals(
    scores: pd.DataFrame, predictions: pd.DataFrame, *, seed: int, resamples: int = RESAMPLES
) -> dict[tuple[str, str, str], Interval]:
    """Task, protocol and metric of each headline -> the paired interval of its difference, positive for learned better.

    Of the patients whom both sides judged. Headlines whose predictions are not there are left out.
    """
    found: dict[tuple[str, str, str], Interval] = {}
    for verdict in headlines(verdicts(scores)):
        judged = predictions[predictions["protocol"] == verdict.protocol]
        sides = [judged[judged["representation"] == name] for name in (verdict.learned, verdict.baseline)]
        both = shared_patients(*(sides if direction(verdict.metric) > 0 else sides[::-1]))
        if not any(side.empty for side in both):
            rng = rng_for(seed, "bootstrap", "headlines")
            found[verdict.task, verdict.protocol, verdict.metric] = paired_difference(
                *both, metric=verdict.metric, rng=rng, resamples=resamples
            )
    return found


def headlines(found: Sequence[Verdict]) -> list[Verdict]:
    """The verdict of the preferred metric for each task and protocol, the foremost protocol of a task first."""
    first: dict[tuple[str, str], Verdict] = {}
    for verdict in sorted(found, key=lambda verdict: rank(verdict.metric, METRICS)):
        first.setdefault((verdict.task, verdict.protocol), verdict)
    return sorted(first.values(), key=lambda verdict: (rank(verdict.task, TASKS), protocol_order(verdict.protocol)))


def opening(chosen: Sequence[Verdict], *, scores: pd.DataFrame, patients: pd.DataFrame) -> Opening:
    """Three sentences in plain words: what was asked, what was found, how sure that is.

    `chosen` are the `headlines` of `scores`; `patients` has a row a kept patient with `has_expression`.
    """
    asked = _asked(set(scores["task"].astype(str)) - {"retrieval"}, patients)
    by_task: dict[str, Verdict] = {}
    for verdict in chosen:
        by_task.setdefault(verdict.task, verdict)
    if not by_task:
        nothing = "No learned representation and baseline were scored on the same folds, so neither leads."
        return Opening(asked, nothing, "There is no measurement to be sure of.")
    shown = [*by_task.values(), *_few_shot(chosen, by_task)]
    shown.sort(key=lambda verdict: (rank(verdict.task, TASKS), verdict is not by_task[verdict.task]))
    found = "; ".join((_found if one is by_task[one.task] else _found_few)(one) for one in shown)
    sure = "; ".join((_sure if one is by_task[one.task] else _sure_few)(one) for one in shown)
    chosen_from = scores["representation"].nunique()
    picked = "each side is the best of several on these same folds, and " if chosen_from > 2 else ""
    if any(verdict.interval for verdict in by_task.values()):
        caution = f"{picked}an interval holds the chance of having met these patients, not that of another training"
    else:
        caution = f"{picked}no test of significance was made"
    return Opening(asked, _sentence(found), _sentence(f"{sure}; {caution}"))


def _few_shot(chosen: Sequence[Verdict], spoken_of: Mapping[str, Verdict]) -> list[Verdict]:
    """The verdict on few labels, at 10 a class or the nearest to it; none where that is spoken of already."""
    counts = {int(one.protocol[4:]): one for one in chosen if re.fullmatch(r"shot\d+", one.protocol)}
    if not counts:
        return []
    verdict = counts[min(counts, key=lambda count: (abs(count - 10), count))]
    return [] if verdict is spoken_of[verdict.task] else [verdict]


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


def median_follow_up(followed: pd.DataFrame) -> float | None:
    """Months, by the reverse Kaplan-Meier estimate: an event ends the observation, it does not measure it.

    `followed` are patients who all have `time` and `event`; None without any, or when the estimate has no median.
    """
    if followed.empty:
        return None
    reverse = KaplanMeierFitter().fit(followed["time"].astype(float), followed["event"].astype(float) < 0.5)
    median = float(reverse.median_survival_time_)
    return median if np.isfinite(median) else None


def median_survival(followed: pd.DataFrame) -> float | None:
    """Months, by the Kaplan-Meier estimate; None where the curve stays above one half."""
    fitted = KaplanMeierFitter().fit(followed["time"].astype(float), followed["event"].astype(float) > 0.5)
    median = float(fitted.median_survival_time_)
    return median if np.isfinite(median) else None


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


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _asked(tasks: set[str], patients: pd.DataFrame) -> str:
    source = "the slides and the gene expression" if patients["has_expression"].any() else "the slides"
    targets = [task_label(task) for task in sorted(tasks, key=lambda task: rank(task, TASKS))]
    who = f"{len(patients):,} patients"
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
        f"for {task_label(verdict.task)}, the best learned representation "
        f"({_inline(verdict.learned)}) reached a mean {metric_label(verdict.metric)} of "
        f"{verdict.learned_mean:.3f} by {protocol_label(verdict.protocol)}, {place} the best baseline "
        f"({_inline(verdict.baseline)}) with {verdict.baseline_mean:.3f}"
    )


def _found_few(verdict: Verdict) -> str:
    """The same of few labels, in the wake of `_found`."""
    return (
        f"with {verdict.protocol[4:]} labelled patients a class it is {verdict.learned_mean:.3f} "
        f"({_inline(verdict.learned)}) against {verdict.baseline_mean:.3f} ({_inline(verdict.baseline)})"
    )


def _sure_few(verdict: Verdict) -> str:
    """The same of few labels, in the wake of `_sure`."""
    said = f"learned ahead in {verdict.ahead} of {len(verdict.differences)} folds"
    if verdict.interval is None or np.isnan(verdict.interval.low):
        return f"with few labels {said}"
    return f"with few labels between {_ends(verdict.interval)} ({_where_zero_is(verdict.interval)}), {said}"


def _ends(interval: Interval) -> str:
    """Both ends; one that rounds to zero, which is not in the interval, is said to lie on its side of it."""
    said = [signed(end) for end in (interval.low, interval.high)]
    if interval.low > 0 and not said[0].strip("+0."):
        said[0] = "just above zero"
    if interval.high < 0 and not said[1].strip("\N{MINUS SIGN}0."):
        said[1] = "just below zero"
    return " and ".join(said)


def _where_zero_is(interval: Interval) -> str:
    return "zero is within it" if interval.low <= 0 <= interval.high else "zero is outside it"


def _sure(verdict: Verdict) -> str:
    task, folds = task_label(verdict.task), len(verdict.differences)
    spread = f"spread over folds (sd {verdict.spread:.3f})"
    if verdict.interval is not None and not np.isnan(verdict.interval.low):
        zero = _where_zero_is(verdict.interval)
        return (
            f"for {task}, drawing the patients anew puts the difference between {_ends(verdict.interval)} "
            f"(95 % interval; {zero}), and learned is ahead in {verdict.ahead} of {folds} folds"
        )
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
