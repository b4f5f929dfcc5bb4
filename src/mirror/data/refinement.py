"""Which genes of a table a model reads: those that survive an elimination, united with curated cancer genes.

Source: METHOD section 8, which chose them once on the whole cohort; here that is done inside every fold, on its
training patients, unless the published scope is asked for. Legend: N patients, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.config import RefinementConfig
from mirror.data.curated import CuratedGenes, find_curated
from mirror.data.elimination import Elimination, eliminate
from mirror.data.endpoints import assign_intervals, interval_edges
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel, Transform, fit_panel
from mirror.data.selection import Origin, Selection
from mirror.errors import ConfigError, DataError, raise_together
from mirror.types import Fold, Progress, silent

# Genes that are copied at once: a whole transcriptome is never held more often than it must be.
_GENES_AT_ONCE = 4096


def refine_panel(
    table: ExpressionTable,
    endpoints: pd.DataFrame,
    fold: Fold,
    config: RefinementConfig,
    *,
    transform: Transform,
    progress: Progress = silent,
) -> GenePanel:
    """The panel of one fold. Its genes are in order of name, whatever the order of rows and columns of the table.

    `endpoints`: one row a patient (the index) with label (None without), time (months, NaN without) and event. Under
    scope `fold` nothing of `fold.test` is looked at; under `cohort` the genes are chosen on everybody, while the
    moments of the transform still come from the training patients. Raises `DataError` for too few patients.
    """
    pool = fold.train if config.scope == "fold" else [str(patient) for patient in endpoints.index]
    patients = sorted(set(pool) & set(table.patients) & set(map(str, endpoints.index)))
    choice = _choose(table, endpoints.loc[patients], config, progress)
    curated = CuratedGenes((), ()) if config.curated is None else find_curated(config.curated, table.genes)
    origins = _united(config, choice.genes, curated.genes)
    panel = fit_panel(table, fold.train, transform=transform, genes=list(origins))
    selection = Selection(
        scope=config.scope,
        criterion=config.criterion,
        origins=tuple(origins.values()),
        sizes=choice.sizes,
        mean_score=choice.mean_score,
        std_score=choice.std_score,
        selected_on=choice.patients,
        curated_missing=curated.missing,
        note=_note(config, fold, choice.patients),
    )
    return GenePanel(panel.genes, panel.units, transform, panel.mean, panel.scale, panel.fitted_on, selection)


class _Choice(NamedTuple):
    genes: tuple[str, ...]
    patients: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    mean_score: tuple[float, ...] = ()
    std_score: tuple[float, ...] = ()


class Eliminated(NamedTuple):
    """An elimination on named patients: `found` speaks of `genes`, those that could be judged, in order of name."""

    genes: tuple[str, ...]
    patients: tuple[str, ...]
    found: Elimination

    def kept(self, size: int | None = None) -> tuple[str, ...]:
        """The genes of the nearest round that has `size` of them or more; of the best cross-validated score without.

        Raises `ConfigError` when there are not as many.
        """
        found = self.found
        columns = found.kept if size is None else found.kept_at(_round_of(found.sizes, size))
        return tuple(self.genes[column] for column in columns)


def _choose(table: ExpressionTable, endpoints: pd.DataFrame, config: RefinementConfig, progress: Progress) -> _Choice:
    if config.criterion == "variance":
        assert config.size is not None  # checked with the configuration
        patients = [str(patient) for patient in endpoints.index]
        return _Choice(_most_variable(table, patients, config.size), tuple(patients))
    done = eliminate_genes(table, endpoints, config, progress=progress)
    sizes = tuple(int(size) for size in done.found.sizes)
    curves = [tuple(float(value) for value in curve) for curve in (done.found.mean_score, done.found.std_score)]
    return _Choice(done.kept(config.size), done.patients, sizes, *curves)


def eliminate_genes(
    table: ExpressionTable, endpoints: pd.DataFrame, config: RefinementConfig, *, progress: Progress = silent
) -> Eliminated:
    """The elimination behind a panel, on those of `endpoints` (sorted by patient) who have the criterion's endpoint.

    Raises `DataError` where nobody has it, or a class or interval has fewer patients than the elimination has folds.
    """
    if config.criterion == "label":
        classes = endpoints["label"].dropna()
    else:
        classes = survival_classes(endpoints, config)
        _refuse_few_events(classes, endpoints, config)
    if classes.empty:
        raise DataError(
            f"no patient to choose genes on has a {config.criterion}; name it in `clinical`, or set "
            "`refinement.criterion` to `survival`, or to `variance`, which needs neither"
        )
    patients = tuple(str(patient) for patient in classes.index)
    matrix, genes = _filled(table, patients)
    found = eliminate(
        matrix,
        classes.astype(str).to_numpy(),
        step=config.step,
        folds=config.folds,
        minimum=config.minimum,
        cost=config.cost,
        progress=progress,
    )
    return Eliminated(genes, patients, found)


def survival_classes(endpoints: pd.DataFrame, config: RefinementConfig) -> pd.Series:
    """The interval of time in which each patient had the event, as a class; edges are fitted on these very patients.

    Patients who were censored in the last interval belong to it, for they are known to have reached it; those censored
    before are left out: their interval is not known. Raises `DataError` when nobody had the event.
    """
    known = endpoints[endpoints["time"].notna() & endpoints["event"].notna()]
    time, event = known["time"].to_numpy(dtype=np.float64), known["event"].to_numpy(dtype=bool)
    if not event.any():
        raise DataError(
            f"none of the {len(endpoints)} patients to choose genes on had the event, so `refinement.criterion: "
            "survival` has nothing to choose by; check `clinical.event_convention`, or choose by `label` or `variance`"
        )
    edges = interval_edges(time, event, config.intervals)
    interval = assign_intervals(time, edges)
    told = event | (interval == len(edges))
    return pd.Series([f"interval {number + 1}" for number in interval[told]], index=known.index[told], dtype=object)


def _refuse_few_events(classes: pd.Series, endpoints: pd.DataFrame, config: RefinementConfig) -> None:
    """The elimination's own error speaks of classes; here they are intervals of time, and the remedy is another one."""
    counts = classes.value_counts().sort_index()
    few = [f"{name} has {count}" for name, count in counts.items() if count < config.folds]
    if len(counts) < 2:
        few = [f"all {len(classes)} are in {counts.index[0]}: the events share one time"]
    events = int(endpoints["event"].astype("boolean").sum())
    raise_together(
        DataError,
        f"`refinement.criterion: survival` cuts the time of {events} events into {config.intervals} intervals and "
        f"needs two or more, each with {config.folds} patients (`refinement.folds`); lower `refinement.intervals` or "
        "`refinement.folds`, or choose by `variance`, which needs no events:",
        few,
    )


def _round_of(sizes: NDArray[np.intp], wanted: int) -> int:
    if wanted > sizes[0]:
        raise ConfigError(f"`size` is {wanted}, but only {sizes[0]} genes can be judged; ask for fewer")
    return int(sizes[sizes >= wanted].min())


def _filled(table: ExpressionTable, patients: Sequence[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(N, G) with contiguous columns, genes in order of name; a missing value is its gene's mean over `patients`.

    Genes without a value in any of them are left out: there is nothing to judge them by.
    """
    place = {patient: row for row, patient in enumerate(table.patients)}
    rows = np.array([place[patient] for patient in patients])
    order = np.argsort(np.array(table.genes, dtype=object), kind="stable")
    columns_GN = np.empty((len(order), len(rows)), dtype=np.float32)
    known = np.ones(len(order), dtype=bool)
    for start in range(0, len(order), _GENES_AT_ONCE):
        some = slice(start, start + _GENES_AT_ONCE)
        block = table.values[rows[:, None], order[some]].T
        missing = np.isnan(block)
        present = (~missing).sum(axis=1)
        mean = np.nansum(block, axis=1, dtype=np.float64) / np.maximum(present, 1)
        columns_GN[some] = np.where(missing, mean[:, None].astype(np.float32), block)
        known[some] = present > 0
    if not known.any():
        raise DataError(f"{table.source} has no value for any of the {len(patients)} patients to choose genes on")
    names = tuple(table.genes[column] for column in order[known])
    return (columns_GN if known.all() else columns_GN[known]).T, names


def _most_variable(table: ExpressionTable, patients: Sequence[str], size: int) -> tuple[str, ...]:
    """The `size` genes of largest variance over `patients`, missing values at the mean; ties go by name."""
    if len(patients) < 2:
        raise DataError(f"{len(patients)} patients with expression to choose genes on; variance needs two")
    matrix, names = _filled(table, patients)
    if size > len(names):
        raise ConfigError(f"`size` is {size}, but only {len(names)} genes can be judged; ask for fewer")
    parts = range(0, len(names), _GENES_AT_ONCE)
    variance = np.concatenate([matrix[:, at : at + _GENES_AT_ONCE].astype(np.float64).var(axis=0) for at in parts])
    return tuple(names[column] for column in np.argsort(-variance, kind="stable")[:size])


def _united(config: RefinementConfig, chosen: Sequence[str], curated: Sequence[str]) -> dict[str, Origin]:
    by_criterion: Origin = "variance" if config.criterion == "variance" else "elimination"
    origins: dict[str, Origin] = dict.fromkeys(chosen, by_criterion)
    for gene in curated:
        origins[gene] = "both" if gene in origins else "curated"
    return dict(sorted(origins.items()))


def _note(config: RefinementConfig, fold: Fold, patients: Sequence[str]) -> str:
    with_what = {"label": "with their labels", "survival": "with their survival", "variance": "from their values alone"}
    how = f"Genes were chosen on {len(patients)} patients, {with_what[config.criterion]}"
    tested = len(set(fold.test) & set(patients))
    if config.scope == "fold":
        return f"{how}: training patients of fold {fold.number} only."
    consequence = (
        "so scores there of whatever reads these genes are optimistic"
        if config.criterion != "variance"
        else "though none of their endpoints was seen"
    )
    return (
        f"{how}: the whole cohort, as published. {tested} of the {len(fold.test)} test patients of fold {fold.number} "
        f"are among them, {consequence}."
    )
