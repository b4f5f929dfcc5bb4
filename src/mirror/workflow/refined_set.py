"""The refined set of a recipe: from fetched files to an expression table, a panel a fold, and the published panel.

Everything is read again from the folder that `mirror data fetch` left, so a set can be made anew without a network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from mirror.acquire.lock import Lock
from mirror.acquire.plan_summary import with_expression, with_slide
from mirror.acquire.settings import RecipeConfig
from mirror.acquire.sources import intogen
from mirror.acquire.sources.xena import MATRIX, PROBE_MAP
from mirror.acquire.tables import CLINICAL, GENES, SLIDES, Tables, write_tables
from mirror.artefacts import fingerprint, hash_file, read_json, write_aside, write_json, write_text
from mirror.config import (
    ClinicalConfig,
    CuratedGenesConfig,
    ExpressionConfig,
    GeneMapConfig,
    RefinementConfig,
    Section,
)
from mirror.data.clinical import read_clinical
from mirror.data.expression import ExpressionTable, ReadExpression, read_expression
from mirror.data.ledger import as_frame
from mirror.data.panel import GenePanel, Transform
from mirror.data.refinement import refine_panel
from mirror.data.splits import make_folds
from mirror.errors import ArtefactError, ConfigError, DataError, MirrorError
from mirror.types import Fold, Progress, silent

FOLDER = "refined"
FOLDS = "folds.json"
PUBLISHED = "published"
"""Name of the panel that was chosen on everybody, and of the table of its genes."""

TRANSFORM: Transform = "standardise"


class PatientRow(NamedTuple):
    """One row of patients.csv: a patient of the projects, what they have, and why they are not in the set."""

    case_id: str
    project: str
    label: str
    months: float
    event: str
    slides: int
    kept: bool
    reason: str


class RefinedSet(NamedTuple):
    """What was made, and what the dataset card says of it."""

    recipe: RecipeConfig
    lock: Lock
    tables: Tables
    read: ReadExpression
    patients: tuple[PatientRow, ...]
    folds: tuple[Fold, ...]
    panels: Mapping[str, GenePanel]
    """`fold0`, `fold1`, ... and `published`."""
    genes: Mapping[str, int]
    """Transcripts in `refined.h5ad` and `published.h5ad`."""


def make_refined_set(folder: Path, *, progress: Progress = silent) -> RefinedSet:
    """Make the set of the recipe that `folder` was fetched for; panels that the same inputs made are kept.

    Writes the tables (`acquire.tables`), patients.csv, excluded.csv, folds.json, and below `refined/` the panels,
    `refined.h5ad` (the genes of any fold's panel) and `published.h5ad`; and `run.yaml`, with which `mirror run` goes on
    where region features were fetched. Raises `ConfigError` for a recipe without transcripts or studies,
    `DataError` for whatever the readers and the elimination refuse.
    """
    lock = Lock.load(folder)
    recipe = RecipeConfig.model_validate(dict(lock.recipe))
    _require_parts(recipe, lock, folder)
    tables = write_tables(lock, folder)
    clinical = read_clinical(_clinical(recipe, folder)).patients
    read = read_expression(_expression(recipe, folder), patients=with_slide(lock))
    _require_transcripts(recipe, read, folder)
    patients = _patients(lock, read.table, clinical, folder)
    # Slides without expression are in the folds too: they take part in what reads slides alone.
    endpoints = clinical.reindex([row.case_id for row in patients if row.slides])
    folds = _folds(endpoints, recipe)
    _write_folds(folder / FOLDS, folds)
    _write_csv(folder / "patients.csv", pd.DataFrame(patients))
    _write_csv(folder / "excluded.csv", as_frame(read.excluded))
    panels = _panels(read.table, endpoints, folds, recipe, folder, progress=progress)
    union = sorted({gene for name, panel in panels.items() if name != PUBLISHED for gene in panel.genes})
    read.table.with_genes(union).save(folder / FOLDER / "refined.h5ad")
    read.table.with_genes(panels[PUBLISHED].genes).save(folder / FOLDER / f"{PUBLISHED}.h5ad")
    if lock.of_part("hipt"):
        write_text(folder / "run.yaml", _run_config(recipe, folder))
    genes = {"refined": len(union), PUBLISHED: len(panels[PUBLISHED].genes)}
    return RefinedSet(recipe, lock, tables, read, patients, folds, panels, genes)


def _require_parts(recipe: RecipeConfig, lock: Lock, folder: Path) -> None:
    if recipe.studies is None:
        raise ConfigError(
            f"recipe '{recipe.name}' names no `studies`, so there are no classes that genes could be chosen to tell "
            "apart; add the section, or use `mirror expression refine` with a configuration of your own"
        )
    lacking = [part for part in ("toil", "survival") if not lock.of_part(part)]
    if lacking:
        raise ConfigError(f"{folder} has no {' and no '.join(lacking)}; fetch with --parts {','.join(lacking)} too")
    absent = [file.path for part in ("toil", "survival", "clinical") for file in lock.of_part(part)]
    absent = [path for path in absent if not (folder / path).exists()]
    if absent:
        raise ArtefactError(f"{folder} lacks {len(absent)} files, such as {absent[0]}; run `mirror data fetch` first")


def _expression(recipe: RecipeConfig, folder: Path) -> ExpressionConfig:
    return ExpressionConfig(
        path=folder / MATRIX, orientation="genes_in_rows", identifiers="tcga", units=recipe.toil.units
    )


def _clinical(recipe: RecipeConfig, folder: Path) -> ClinicalConfig:
    assert recipe.studies is not None  # checked before
    return ClinicalConfig(
        path=folder / CLINICAL,
        patient="case_id",
        label="label",
        classes=recipe.studies.classes,
        groups=("project",),
        time="survival_months",
        time_unit="months",
        event="event",
        event_convention="deceased_or_living",
    )


def _refinement(recipe: RecipeConfig, folder: Path) -> RefinementConfig:
    """The recipe's, with its list of genes: the user's own, or the one that was fetched."""
    genes = recipe.genes
    to_symbols = GeneMapConfig(path=folder / PROBE_MAP, identifier="id", symbol="gene")
    if genes.path is not None:
        curated = CuratedGenesConfig(path=genes.path, symbol=genes.symbol, gene_map=to_symbols)
    elif (folder / GENES).exists():
        types = {"cancer_type": intogen.CANCER_TYPE, "cancer_types": genes.cancer_types} if genes.cancer_types else {}
        curated = CuratedGenesConfig.model_validate(
            {"path": folder / GENES, "symbol": intogen.SYMBOL, "gene_map": to_symbols, **types}
        )
    else:
        curated = None
    return RefinementConfig(**recipe.elimination.model_dump(), curated=curated)


def _require_transcripts(recipe: RecipeConfig, read: ReadExpression, folder: Path) -> None:
    wanted = recipe.toil.transcripts
    if wanted is not None and read.genes_given != wanted:
        raise DataError(
            f"{folder / MATRIX} has {read.genes_given} transcripts, the recipe says {wanted}: it is cut short, or a "
            "new version; fetch it again, or correct `toil.transcripts`"
        )


def _patients(lock: Lock, table: ExpressionTable, clinical: pd.DataFrame, folder: Path) -> tuple[PatientRow, ...]:
    """Everybody in the projects. Raises `MirrorError` where somebody is unaccounted for."""
    projects = pd.read_csv(folder / CLINICAL, dtype=str, keep_default_na=False).set_index("case_id")["project"]
    slides = pd.Series(list(lock.slides.values()), dtype=object).value_counts()
    records = clinical.to_dict("index")
    sampled, has_table = with_expression(lock), set(table.patients)
    rows: list[PatientRow] = []
    for patient in lock.patients:
        reason = (
            "no diagnostic slide"
            if patient not in slides.index
            else "no expression of a tumour"
            if patient not in sampled
            else ""
            if patient in has_table
            else "its expression was left out: excluded.csv says why"
        )
        known = records.get(patient, {})
        label, outside, event = (known.get(name) for name in ("label", "class_outside", "event"))
        rows.append(
            PatientRow(
                case_id=patient,
                project=str(projects.get(patient, "")),
                label=str(label or outside or ""),
                months=float(known.get("time", float("nan"))),
                event="" if event is None or event is pd.NA else str(bool(event)),
                slides=int(slides.get(patient, 0)),
                kept=not reason,
                reason=reason,
            )
        )
    if {row.case_id for row in rows if row.kept} != has_table:
        raise MirrorError("patients of the table are not those of the projects: a defect of mirror, please report it")
    return tuple(rows)


def _folds(endpoints: pd.DataFrame, recipe: RecipeConfig) -> tuple[Fold, ...]:
    labels = {str(name): None if pd.isna(label) else str(label) for name, label in endpoints["label"].items()}
    events = {str(name): None if pd.isna(event) else bool(event) for name, event in endpoints["event"].items()}
    return make_folds(labels, events, count=recipe.folds, seed=recipe.seed)


def _panels(
    table: ExpressionTable,
    endpoints: pd.DataFrame,
    folds: Sequence[Fold],
    recipe: RecipeConfig,
    folder: Path,
    *,
    progress: Progress,
) -> dict[str, GenePanel]:
    settings = _refinement(recipe, folder)
    everybody = tuple(sorted(table.patients))
    asked: list[tuple[str, Fold, RefinementConfig, Transform]] = [
        *((f"fold{fold.number}", fold, settings.model_copy(update={"scope": "fold"}), TRANSFORM) for fold in folds),
        (PUBLISHED, Fold(len(folds), everybody, ()), settings.model_copy(update={"scope": "cohort"}), "none"),
    ]
    lists = () if settings.curated is None else (settings.curated.path, folder / PROBE_MAP)
    made_from = fingerprint(
        table.content_hash(), endpoints.astype(str).reset_index().to_numpy().tolist(), [hash_file(one) for one in lists]
    )
    marks = _marks(folder)
    panels: dict[str, GenePanel] = {}
    for number, (name, fold, config, transform) in enumerate(asked):
        path = folder / FOLDER / f"{name}.panel.json"
        mark = fingerprint(made_from, fold.train, config.model_dump(mode="json"), transform)
        if marks.get(name) == mark and path.exists():
            panels[name] = GenePanel.load(path)
            continue

        def report(done: float, total: int, note: str = "", *, before: int = number, which: str = name) -> None:
            progress(before * total + done, len(asked) * total, note or which)

        panel = refine_panel(table, endpoints, fold, config, transform=transform, progress=report)
        panels[name] = _published(panel) if name == PUBLISHED else panel
        marks.pop(name, None)
        panels[name].save(path)
        marks[name] = mark
        write_json(folder / FOLDER / "panels.json", {"kind": "panels of a refined set", "marks": marks})
    return panels


def _published(panel: GenePanel) -> GenePanel:
    """The panel chosen on everybody, with a note that speaks of no fold: it belongs to none."""
    assert panel.selection is not None
    note = (
        f"Genes were chosen on {len(panel.selection.selected_on)} patients with their labels: the whole cohort, as "
        "published. Whoever is judged later is among them, so scores of whatever reads these genes are optimistic."
    )
    return replace(panel, selection=replace(panel.selection, note=note))


def _marks(folder: Path) -> dict[str, str]:
    path = folder / FOLDER / "panels.json"
    try:
        return dict(read_json(path)["marks"]) if path.exists() else {}
    except (ArtefactError, KeyError, TypeError, ValueError):  # the panels are made anew
        return {}


def _run_config(recipe: RecipeConfig, folder: Path) -> str:
    """What `mirror run` goes on with: the fetched features, the whole transcriptome, genes chosen inside each fold."""
    content: dict[str, Any] = {
        "name": recipe.name,
        "output": "run",
        "cohort": {
            "features": {"path": "features", "encoder": "hipt-region-192"},
            "slides": {"path": SLIDES},
            "expression": _given(_expression(recipe, folder)),
            "clinical": _given(_clinical(recipe, folder)),
            "folds": {"path": FOLDS},
        },
        "refinement": {"scope": "fold", **_given(_refinement(recipe, folder))},
    }
    # Paths are relative to the file they stand in: the folder may be moved.
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).replace(f"{folder}/", "")
    return f"# Written by `mirror data refine`. Genes are chosen inside every fold, on its training patients.\n{text}"


def _given(section: Section) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_defaults=True)


def _write_folds(path: Path, folds: Sequence[Fold]) -> None:
    """As `cohort.folds.path` reads them."""
    content = {str(fold.number): {"train": fold.train, "test": fold.test} for fold in folds}
    write_text(path, json.dumps(content, indent=1) + "\n")


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with write_aside(path) as aside:
        table.to_csv(aside, index=False)
