"""The gene panel of each fold, as pretraining fits it, and the refined table on its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mirror.artefacts import fingerprint, hash_file
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel, fit_panel
from mirror.data.refinement import refine_panel
from mirror.errors import ConfigError
from mirror.types import Fold, Progress, silent


class Refined(NamedTuple):
    """What `refine_cohort` wrote: the panel of each fold, and the table of the genes that any of them has."""

    panels: dict[int, GenePanel]
    genes: int
    table: Path


def fold_panel(config: Config, cohort: Cohort, fold: Fold, *, progress: Progress = silent) -> GenePanel:
    """The panel of a fold: refined as the configuration says, or all genes of the table."""
    table = _expression(cohort)
    transform = config.pretraining.expression_transform
    if config.refinement is None:
        return fit_panel(table, fold.train, transform=transform)
    return refine_panel(table, cohort.patients, fold, config.refinement, transform=transform, progress=progress)


def refinement_mark(config: Config, cohort: Cohort, fold: Fold) -> str | None:
    """A hash of all that decides which genes a fold's panel has, without choosing them; None without refinement."""
    settings = config.refinement
    if settings is None:
        return None
    patients = cohort.patients
    seen = patients if settings.scope == "cohort" else patients[patients.index.isin(fold.train)]
    lists = settings.curated
    files = () if lists is None else (lists.path, *([] if lists.gene_map is None else [lists.gene_map.path]))
    table = _expression(cohort)
    return fingerprint(
        settings.model_dump(mode="json"),
        [hash_file(path) for path in files],
        seen[["label", "time", "event"]].astype(str).reset_index().to_numpy().tolist(),
        table.of(sorted(set(map(str, seen.index)) & set(table.patients))).content_hash(),
    )


def refine_cohort(config: Config, cohort: Cohort, folds: Sequence[Fold], *, progress: Progress = silent) -> Refined:
    """Write `expression/fold<F>.panel.json` and its curve for each of `folds`, then `expression/refined.h5ad`.

    Raises `ConfigError` without `refinement` or expression in the configuration, `DataError` as `refine_panel` does.
    """
    if config.refinement is None:
        raise ConfigError("there is no section `refinement`; `refinement: {}` chooses by label, inside each fold")
    folder = config.output / "expression"
    panels: dict[int, GenePanel] = {}
    for number, fold in enumerate(folds):

        def report(done: int, total: int, note: str = "", *, before: int = number, which: int = fold.number) -> None:
            progress(before * total + done, len(folds) * total, note or f"fold {which}")

        panels[fold.number] = fold_panel(config, cohort, fold, progress=report)
        panels[fold.number].save(folder / f"fold{fold.number}.panel.json")
        _draw_curve(folder / f"fold{fold.number}.curve.svg", panels[fold.number])
    union = sorted({gene for panel in panels.values() for gene in panel.genes})
    refined: ExpressionTable = _expression(cohort).with_genes(union)
    refined.save(folder / "refined.h5ad")
    return Refined(panels, len(union), folder / "refined.h5ad")


def _draw_curve(path: Path, panel: GenePanel) -> None:
    from mirror.evaluation.expression_report import write_score_curve  # pictures, which pretraining never needs

    if panel.selection is not None and panel.selection.sizes:
        write_score_curve(path, panel.selection, genes=len(panel.genes))


def _expression(cohort: Cohort) -> ExpressionTable:
    if cohort.expression is None:
        raise ConfigError("the cohort has no expression; name the table in `cohort.expression`")
    return cohort.expression
