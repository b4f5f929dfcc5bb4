"""The gene panel of each fold, as pretraining fits it, and the refined table on its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mirror.artefacts import fingerprint, hash_file, read_json, write_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel, fit_panel
from mirror.data.refinement import refine_panel
from mirror.errors import ArtefactError, ConfigError, raise_together
from mirror.types import Fold, Progress, silent


class Refined(NamedTuple):
    """What `refine_cohort` wrote: the panel of each fold, and the table of the genes that any of them has."""

    panels: dict[int, GenePanel]
    genes: int
    table: Path


def fold_panel(config: Config, cohort: Cohort, fold: Fold, *, progress: Progress = silent) -> GenePanel:
    """The panel of a fold: refined as the configuration says, or all genes of the table.

    Fitted on the training patients who train: not on those without a slide where `one_modality` leaves them out.
    """
    table = _expression(cohort)
    if config.pretraining.one_modality == "leave_out" and len(cohort.without_slide):
        fold = fold._replace(train=tuple(name for name in fold.train if name not in cohort.without_slide.index))
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

    The folder has one choice: panels of other folds stay where the same settings and data made them, else
    `ArtefactError` is raised; with all folds of the cohort, whatever was there goes. Raises `ConfigError` without
    `refinement` or expression in the configuration, `DataError` as `refine_panel` does.
    """
    if config.refinement is None:
        raise ConfigError("there is no section `refinement`; `refinement: {}` chooses by label, inside each fold")
    folder = refinement_folder(config)
    panels: dict[int, GenePanel] = {}
    others = [fold for fold in cohort.folds if fold not in folds]
    kept = _kept_panels(config, cohort, others)
    for number, fold in enumerate(folds):

        def report(done: float, total: int, note: str = "", *, before: int = number, which: int = fold.number) -> None:
            progress(before * total + done, len(folds) * total, note or f"fold {which}")

        panels[fold.number] = fold_panel(config, cohort, fold, progress=report)
    if not others:
        _clear(folder)
    for number, panel in panels.items():
        panel.save(folder / f"fold{number}.panel.json")
        _draw_curve(folder / f"fold{number}.curve.svg", panel)
    union = sorted({gene for panel in (kept | panels).values() for gene in panel.genes})
    refined: ExpressionTable = _expression(cohort).with_genes(union)
    refined.save(folder / "refined.h5ad")
    present = [one for one in cohort.folds if one.number in kept | panels]
    marks = {str(one.number): _panel_mark(config, cohort, one) for one in present}
    write_json(folder / "refinement.json", {"kind": "refinement", "scope": config.refinement.scope, "folds": marks})
    return Refined(panels, len(union), folder / "refined.h5ad")


def refinement_folder(config: Config) -> Path:
    """Where `refine_cohort` leaves its files."""
    return config.output / "expression"


def refuse_other_choice(config: Config, cohort: Cohort, fold: Fold) -> None:
    """Raise `ConfigError` where `refine_cohort` chose genes otherwise than a run of `fold` by this configuration would.

    A run chooses its genes by the configuration alone; whoever refined with other settings, such as the published scope
    on the command line, would else take the run's scores for those of the panels that lie beside it.
    """
    why = _other_choice(config, cohort, fold)
    if why is not None:
        raise ConfigError(
            f"{refinement_folder(config)} holds genes that {why}: change the section `refinement` to how they were "
            "chosen, so that the run uses them and the report says so, or choose them anew (`mirror expression "
            "refine`), or delete the folder"
        )


def unread_choice(config: Config, cohort: Cohort) -> str | None:
    """What a report says of genes that `refine_cohort` chose otherwise than the runs, which read none of them."""
    why = next((why for fold in cohort.folds if (why := _other_choice(config, cohort, fold)) is not None), None)
    if why is None:
        return None
    folder = refinement_folder(config)
    panels = [GenePanel.load(path).selection for path in sorted(folder.glob("fold*.panel.json"))]
    notes = " ".join(panel.note for panel in panels if panel is not None)
    return f"The panels in {folder.name}/ are not those of the runs: {why}. No row here reads them. {notes}"


def _other_choice(config: Config, cohort: Cohort, fold: Fold) -> str | None:
    """How the panels that `refine_cohort` left differ from what the configuration asks of `fold`; None where not."""
    record = refinement_folder(config) / "refinement.json"
    if not record.exists():
        return None
    left = read_json(record)
    chosen, given = left.get("scope"), None if config.refinement is None else config.refinement.scope
    if chosen != given:
        says = "has no section `refinement`" if given is None else f"says `scope: {given}`"
        return f"`mirror expression refine` chose with scope '{chosen}', but the configuration {says}"
    mark = left["folds"].get(str(fold.number))
    if mark is not None and mark != _panel_mark(config, cohort, fold):
        return f"`mirror expression refine` chose for fold {fold.number} by other settings or from other data"
    return None


def _kept_panels(config: Config, cohort: Cohort, others: Sequence[Fold]) -> dict[int, GenePanel]:
    """The panels in the folder of folds that are not chosen anew; they must be of the same choice."""
    if not others:
        return {}
    folder = refinement_folder(config)
    marks = read_json(folder / "refinement.json")["folds"] if (folder / "refinement.json").exists() else {}
    files = {fold: folder / f"fold{fold.number}.panel.json" for fold in others}
    kept = {fold: GenePanel.load(path) for fold, path in files.items() if path.exists()}
    raise_together(
        ArtefactError,
        f"{folder} has panels chosen with another scope, other settings or other data, and a folder has one choice; "
        "choose all folds anew (without --fold), or name another `output`:",
        [
            f"fold {fold.number}, scope {panel.selection.scope if panel.selection else 'unknown'}"
            for fold, panel in kept.items()
            if marks.get(str(fold.number)) != _panel_mark(config, cohort, fold)
        ],
    )
    return {fold.number: panel for fold, panel in kept.items()}


def _panel_mark(config: Config, cohort: Cohort, fold: Fold) -> str:
    """A hash of all that a panel is made from: what its genes are chosen by, and whom its moments are fitted on."""
    return fingerprint(refinement_mark(config, cohort, fold), fold.train, config.pretraining.expression_transform)


def _clear(folder: Path) -> None:
    """Remove what an earlier choice left; the record first, so that nothing half removed passes for a choice."""
    for pattern in ("refinement.json", "fold*.panel.json", "fold*.curve.svg", "refined.h5ad"):
        for path in folder.glob(pattern):
            path.unlink()


def _draw_curve(path: Path, panel: GenePanel) -> None:
    from mirror.evaluation.expression_report import write_score_curve  # pictures, which pretraining never needs

    if panel.selection is not None and panel.selection.sizes:
        write_score_curve(path, panel.selection, genes=len(panel.genes))


def _expression(cohort: Cohort) -> ExpressionTable:
    if cohort.expression is None:
        raise ConfigError("the cohort has no expression; name the table in `cohort.expression`")
    return cohort.expression
