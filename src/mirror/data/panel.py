"""Gene panels: which genes a model reads, in which order and scale, and on whom that was fitted.

Legend: N patients, G genes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mirror.artefacts import read_json, write_json
from mirror.data.expression import ExpressionTable
from mirror.data.selection import Selection
from mirror.errors import ArtefactError, DataError
from mirror.units import same_units

Transform = Literal["none", "standardise", "squash"]

# Below this share of its mean's size, a gene's deviation is rounding: dividing by it would make noise of it.
_CONSTANT = 1e-6
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class GenePanel:
    """Ordered genes and their transform `(x - mean) / scale`, `mean` and `scale` float64 (G,).

    Transform `none` has mean 0 and scale 1; `squash` has the median and the quartiles' distance over 1.35 (that of a
    normal of deviation one) in their place, and takes asinh of it: even z-scores have tails beyond 1,000. A missing
    value becomes 0 after the transform: the mean or median of the training patients, or under `none` the value 0, as
    published (METHOD section 9 says why that is weak).
    """

    genes: tuple[str, ...]
    units: str
    transform: Transform
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    fitted_on: tuple[str, ...]
    selection: Selection | None = None

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(
            path,
            {
                "kind": "gene panel",
                "units": self.units,
                "transform": self.transform,
                "fitted_on": self.fitted_on,
                "genes": self.genes,
                "mean": self.mean.tolist(),
                "scale": self.scale.tolist(),
                "selection": None if self.selection is None else self.selection.as_json(),
            },
        )

    @classmethod
    def load(cls, path: Path) -> GenePanel:
        """Read what `save` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
        content = read_json(path)
        genes = tuple(content.get("genes", ()))
        mean, scale = (np.asarray(content.get(name, ()), dtype=np.float64) for name in ("mean", "scale"))
        if content.get("transform") not in get_args(Transform) or not len(genes) == len(mean) == len(scale) > 0:
            raise ArtefactError(f"{path} is not a gene panel; run the stage that writes it again")
        try:
            # Absent in panels of all genes that were written before there was a selection.
            chosen = content.get("selection")
            selection = None if chosen is None else Selection.from_json(chosen, genes=len(genes))
            return cls(
                genes, content["units"], content["transform"], mean, scale, tuple(content["fitted_on"]), selection
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"{path} is damaged ({error!r}); run the stage that writes it again") from error


def panel_of(panel: GenePanel, genes: Sequence[str]) -> GenePanel:
    """The panel with `genes` alone, all of which it has. Raises `DataError` where that would leave out chosen genes."""
    if tuple(genes) == panel.genes:
        return panel
    if panel.selection is not None:
        raise DataError(
            f"{len(panel.genes) - len(genes)} of the chosen genes are in no table of the pooled cohorts; choose genes "
            "that all cohorts have, or pool without `refinement`"
        )
    place = {gene: position for position, gene in enumerate(panel.genes)}
    kept = [place[gene] for gene in genes]
    return replace(panel, genes=tuple(genes), mean=panel.mean[kept], scale=panel.scale[kept])


class AppliedPanel(NamedTuple):
    """`values` float32 (N, G), row i of `patients[i]`, finite; and what of it the table did not have."""

    patients: tuple[str, ...]
    values: NDArray[np.float32]
    missing_genes: tuple[str, ...]
    missing_cells: int
    """Filled cells in all, those of the missing genes included."""


def fit_panel(
    table: ExpressionTable, patients: Iterable[str], *, transform: Transform, genes: Sequence[str] | None = None
) -> GenePanel:
    """The panel of all genes of `table` (or of `genes`), fitted on those of `patients` (of training) that are in it.

    The same for any order of patients. Raises `DataError` when there are fewer than two of them.
    """
    fitted_on = sorted(set(patients) & set(table.patients))
    if len(fitted_on) < 2:
        raise DataError(f"{len(fitted_on)} of the training patients have expression in {table.source}; two are needed")
    named = table.genes if genes is None else tuple(genes)
    mean, scale = np.zeros(len(named)), np.ones(len(named))
    if transform == "standardise":
        rows = table.rows(fitted_on)
        values = (rows if genes is None else rows[:, table.columns(named)]).astype(np.float64)
        present = np.maximum((~np.isnan(values)).sum(axis=0), 1)
        mean = np.nansum(values, axis=0) / present
        deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / present)
        scale = np.where(deviation > _CONSTANT * np.maximum(np.abs(mean), 1.0), deviation, 1.0)
    if transform == "squash":
        mean, scale = _quartiles(table, fitted_on, named)
    return GenePanel(named, table.units, transform, mean, scale, tuple(fitted_on))


def _quartiles(
    table: ExpressionTable, patients: Sequence[str], genes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = table.rows(patients)[:, table.columns(genes)].astype(np.float64)
    some = ~np.isnan(values).all(axis=0)
    low, median, high = (np.zeros(len(genes)) for _ in range(3))
    low[some], median[some], high[some] = np.nanquantile(values[:, some], (0.25, 0.5, 0.75), axis=0)
    # A gene that most patients do not express has quartiles that meet; its few values must not become huge.
    return median, np.maximum((high - low) / 1.35, _LEAST_SPREAD)


def apply(panel: GenePanel, table: ExpressionTable, patients: Sequence[str]) -> AppliedPanel:
    """The panel's genes of `patients`, matched by name, transformed and filled.

    Raises `DataError` when the table is in other units, shares no gene with the panel, or lacks a patient.
    """
    if not same_units(table.units, panel.units):
        raise DataError(
            f"{table.source} is in '{table.units}', the panel was fitted on '{panel.units}'; convert the table, "
            "or correct `units` where it is wrong"
        )
    column = {gene: position for position, gene in enumerate(table.genes)}
    shared = [position for position, gene in enumerate(panel.genes) if gene in column]
    if not shared:
        raise DataError(
            f"{table.source} shares no gene with the panel: it has {', '.join(table.genes[:3])}, the panel "
            f"{', '.join(panel.genes[:3])}; use the identifiers the panel was fitted with"
        )
    values = np.full((len(patients), len(panel.genes)), np.nan)
    values[:, shared] = table.rows(patients)[:, [column[panel.genes[position]] for position in shared]]
    values = (values - panel.mean) / panel.scale
    if panel.transform == "squash":
        values = np.arcsinh(values)
    missing = np.isnan(values)
    values[missing] = 0.0
    absent = tuple(gene for gene in panel.genes if gene not in column)
    return AppliedPanel(tuple(patients), values.astype(np.float32), absent, int(missing.sum()))
