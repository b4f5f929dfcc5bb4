"""What a patient is described by: learned embeddings and the baselines that cost nothing, fitted on training patients.

The baselines are the mean tile feature, the expression profile, both side by side, and the whitened PCA of each: a
serious opponent (METHOD section 9). Clinical variables, where some are named, stand alone and beside the others.
Where a run's genes were chosen, the profile of those genes stands beside that of all: it shows what the choice is
worth, or its leak, without any network. The embeddings of other runs of the cohort may stand beside, each called by
the name of its run and its own: `alignment-only_fused`. Every representation leaves here standardised by its training
patients, so that one penalty means the same for all. N patients, D columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.config import NO_RUN
from mirror.errors import DataError, raise_together
from mirror.evaluation.metrics import Flags, Floats

LEARNED = ("slide", "expression", "fused")
"""Representations that a trained model gives."""
ALIGNED = "aligned"
"""Both modalities in the space where a trained model compares them: for retrieval alone, nothing is fitted on it."""
RAW = ("raw_slide", "raw_expression", "panel_expression")
CLINICAL = "clinical"
CHANCE = "chance"
"""No representation: the row of what a random order reaches."""
VIEWS = (*LEARNED, "align_slide", "align_expression", *RAW, CLINICAL)
SINGLE_GAPS = ("raw_expression", "panel_expression", CLINICAL)
"""Views in which a patient may lack single cells; they count as the mean of the training patients."""


@dataclass(frozen=True, slots=True)
class PatientTable:
    """Everything the evaluation may see of a cohort, row i of every part being `patients[i]`.

    `views` name -> float64 (N, D): of `VIEWS`, those of another run `NAME/VIEW`, a row of NaN where the patient lacks
    the modality; `panel_expression`, the columns of `raw_expression` that were chosen for a run, is absent where none
    were, and so is `clinical` (of a category one column a value) where no variables are named. `labels` a class, or
    None or a name outside `classes` where the patient is not in the subtyping task. `time` months (N,), NaN unknown;
    `event` (N,) True = happened. Raises `DataError` when the parts do not fit together.
    """

    patients: tuple[str, ...]
    views: Mapping[str, Floats]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    time: Floats
    event: Flags

    def __post_init__(self) -> None:
        raise_together(DataError, "the patients to evaluate are not one consistent table:", _problems(self))

    def rows(self, patients: Iterable[str]) -> NDArray[np.intp]:
        """Row of each of `patients`. Raises `DataError` that names those who are not in the table."""
        place = {patient: row for row, patient in enumerate(self.patients)}
        wanted = list(patients)
        strangers = (f"patient {name} of the fold is not in the table" for name in wanted if name not in place)
        raise_together(DataError, "folds and table are not of one cohort; make the folds anew:", strangers)
        return np.array([place[patient] for patient in wanted], dtype=np.intp)


class Recipe(NamedTuple):
    """How a representation is made: its views side by side, and how many whitened components of each (None: all)."""

    views: tuple[str, ...]
    components: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One view as fitted: `(x - mean) / scale`, then `@ axes` where there are components."""

    view: str
    mean: Floats
    scale: Floats
    axes: Floats | None

    def transform(self, x: Floats) -> Floats:
        """(N, D) -> (N, D or components); single gaps become 0, rows of NaN stay."""
        z = (x - self.mean) / self.scale
        gap = np.isnan(z)
        z[gap & ~gap.all(axis=1, keepdims=True)] = 0.0
        return z if self.axes is None else z @ self.axes

    def on_view(self, coefficients: Floats) -> tuple[Floats, float]:
        """Weights (D,) and offset on the view itself that give what `coefficients` give on `transform` of it."""
        weights = (coefficients if self.axes is None else self.axes @ coefficients) / self.scale
        return weights, -float(self.mean @ weights)


@dataclass(frozen=True, slots=True)
class Representation:
    """A fitted representation, and the training patients it was fitted on."""

    name: str
    blocks: tuple[Block, ...]
    fitted_on: tuple[str, ...]

    def transform(self, table: PatientTable, rows: NDArray[np.intp]) -> Floats:
        """(n, D) for `rows` of `table`; a row of NaN where the patient lacks a modality that is needed."""
        parts = [block.transform(table.views[block.view][rows]) for block in self.blocks]
        joined = np.concatenate(parts, axis=1)
        joined[np.isnan(joined).any(axis=1)] = np.nan
        return joined


def recipes(
    components: tuple[int, ...], *, panel: bool = False, clinical: bool = False, beside: Iterable[str] = ()
) -> dict[str, Recipe]:
    """Name -> recipe of every representation, in the order of the score table.

    With `panel` those of chosen genes too, with `clinical` those of clinical variables, and those of the other runs
    `beside`. Of all genes are `raw_expression`, `raw_fused` and the PCA, of the run's genes `panel_expression` and
    `panel_fused`.
    """
    raw, chosen = ("raw_slide", "raw_expression"), ("raw_slide", "panel_expression")
    named = {
        "slide": Recipe(("slide",)),
        "expression": Recipe(("expression",)),
        "fused": Recipe(("fused",)),
        ALIGNED: Recipe(("align_slide", "align_expression")),
        "raw_slide": Recipe(raw[:1]),
        "raw_expression": Recipe(raw[1:]),
        "raw_fused": Recipe(raw),
        **({"panel_expression": Recipe(chosen[1:]), "panel_fused": Recipe(chosen)} if panel else {}),
    }
    for modality, views in (("slide", raw[:1]), ("expression", raw[1:]), ("fused", raw)):
        named |= {f"pca{count}_{modality}": Recipe(views, count) for count in components}
    if clinical:
        named[CLINICAL] = Recipe((CLINICAL,))
        named |= {f"{name}_{CLINICAL}": Recipe((*named[name].views, CLINICAL)) for name in (*LEARNED, "raw_fused")}
    for run in beside:
        for name in (*LEARNED, ALIGNED):
            named[f"{run}_{name}"] = Recipe(tuple(f"{run}/{view}" for view in named[name].views))
    return named


def runs_beside(views: Iterable[str]) -> tuple[str, ...]:
    """Names of the other runs of which there are views."""
    return tuple(dict.fromkeys(view.partition("/")[0] for view in views if "/" in view))


def run_beside(name: str) -> str | None:
    """The run of the representation `name`, where it is that of another run. Their names have no underscore."""
    run, _, own = name.partition("_")
    return run if own in (*LEARNED, ALIGNED) and not re.fullmatch(NO_RUN, run) else None


def is_aligned(name: str) -> bool:
    """True for the aligned modalities of a run, which retrieval alone reads."""
    return name == ALIGNED or name.endswith(f"_{ALIGNED}")


def is_learned(name: str) -> bool:
    """True for what needs the pretrained model of the run, tuned further or not.

    False for free and for supervised baselines, and for other runs, which are opponents here.
    """
    return name.removeprefix("finetuned_").removesuffix(f"_{CLINICAL}") in (*LEARNED, ALIGNED)


def is_set_against(name: str) -> bool:
    """True for what headlines and pictures choose the two sides from.

    Not a random order; and nothing with clinical variables beside it: only some baselines have those, so that what they
    add would be taken for the representation's own.
    """
    return name != CHANCE and not name.endswith(f"_{CLINICAL}")


def free_baselines(components: tuple[int, ...], *, clinical: bool = False) -> tuple[str, ...]:
    """Names of the representations that need no trained model, in the order of the score table."""
    return tuple(name for name in recipes(components, clinical=clinical) if not is_learned(name))


def fit_representation(name: str, table: PatientTable, train_rows: NDArray[np.intp]) -> Representation:
    """Fit `name` on the patients at `train_rows`, each view on those of them who have it.

    Raises `DataError` for a name that does not exist or a view that no training patient has.
    """
    pca = re.match(r"pca([1-9]\d*)_", name)
    known = recipes((int(pca[1]),) if pca else (), panel=True, clinical=True, beside=runs_beside(table.views))
    if name not in known:
        raise DataError(f"there is no representation '{name}'; there are {', '.join(known)} and pcaN_fused")
    recipe = known[name]
    blocks = tuple(_fit_block(view, table, train_rows, recipe.components) for view in recipe.views)
    return Representation(name, blocks, tuple(table.patients[row] for row in train_rows))


def row_space(x: Floats) -> Floats | None:
    """Orthonormal columns (D, N) that span the rows of `x` (N, D), or None where D <= N and nothing is gained.

    A linear model with a ridge penalty has its coefficients in that span, so fitting `x @ basis` gives the same
    predictions as fitting `x`, at the cost of N columns instead of D.
    """
    return np.linalg.qr(x.T)[0] if x.shape[1] > x.shape[0] else None


def _fit_block(view: str, table: PatientTable, rows: NDArray[np.intp], components: int | None) -> Block:
    x = table.views[view][rows] if view in table.views else np.empty((0, 1))
    x = x[~np.isnan(x).all(axis=1)]
    if not len(x):
        raise DataError(f"none of {len(rows)} training patients has the view '{view}'; leave its representations out")
    known = ~np.isnan(x)
    filled = known.sum(axis=0)
    mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(filled, 1)
    gaps_filled = np.where(known, x, mean)
    deviation = gaps_filled.std(axis=0)
    # A constant column has a deviation of rounding size; dividing by that would make noise of new patients' values.
    scale = np.where(deviation > 1e-9 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
    axes = None if components is None else _whitening_axes((gaps_filled - mean) / scale, components)
    return Block(view, mean, scale, axes)


def _whitening_axes(z: Floats, components: int) -> Floats:
    """(D, k) so that the k leading principal components `z @ axes` of centred `z` (N, D) have variance one.

    k is `components`, or the rank where that is less. Taken from the smaller of the two matrices of inner products.
    """
    wide = z.shape[1] > z.shape[0]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    leading = np.argsort(-values, kind="stable")[:components]
    leading = leading[values[leading] > 1e-10 * max(values[-1], 1e-300)]
    axes = z.T @ vectors[:, leading] / values[leading] if wide else vectors[:, leading] / np.sqrt(values[leading])
    return axes * np.sqrt(len(z))


def _problems(table: PatientTable) -> Iterable[str]:
    count = len(table.patients)
    if len(set(table.patients)) != count:
        yield "a patient stands in it twice; average a patient's slides before"
    for name, length in (("labels", len(table.labels)), ("time", len(table.time)), ("event", len(table.event))):
        if length != count:
            yield f"`{name}` has {length} rows for {count} patients"
    for name, x in table.views.items():
        if name.rpartition("/")[2] not in VIEWS:
            yield f"unknown view '{name}'; there are {', '.join(VIEWS)}"
        if x.ndim != 2 or len(x) != count:
            yield f"view '{name}' has shape {x.shape} for {count} patients"
            continue
        gap = np.isnan(x)
        broken = np.isinf(x).any(axis=1)
        if name not in SINGLE_GAPS:
            broken |= gap.any(axis=1) & ~gap.all(axis=1)
        yield from (f"view '{name}' of patient {table.patients[row]} is not finite" for row in np.flatnonzero(broken))
