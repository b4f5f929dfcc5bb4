"""The cohort as a stage leaves it: the slides that are kept, what is known of their patients, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from mirror.artefacts import read_json, remove, write_aside, write_json
from mirror.config import CohortConfig, shareable
from mirror.data.clinical import ReadClinical, read_clinical
from mirror.data.cohort_facts import describe, describe_folds
from mirror.data.expression import ExpressionTable, ReadExpression, read_expression
from mirror.data.floors import describe_floors
from mirror.data.ledger import Count, Excluded, Kind, as_frame, balance
from mirror.data.remote import fetched
from mirror.data.slide_table import ReadOwners, ReadSlides, SlideRow, read_owners, read_slides
from mirror.data.splits import load_folds, make_folds, read_folds, save_folds
from mirror.errors import ArtefactError, DataError, raise_together
from mirror.types import Fold, Progress, silent

T = TypeVar("T")

COLUMNS = ("slide", "patient", "path", "tiles", "feature_hash", "has_expression", "label", "time", "event")
OF_PATIENTS = COLUMNS[5:]
"""Those of `COLUMNS` that say something of the patient."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Slides and patients after the join.

    `slides`: one row a slide, in order of name, with `COLUMNS`; `label` is None, `time` (months) NaN and `event` NA
    where the patient has none. `without_slide`: `OF_PATIENTS` of the patients who have expression alone, by name, the
    index. `expression`: of all patients who have a profile, in order of name. `covariates`: the clinical variables to
    predict from, one row a patient of the clinical table (the index), float64 or str. `excluded`: kind, item, reason,
    source. `facts`: what was read and counted, as cohort.json has it.
    """

    slides: pd.DataFrame
    expression: ExpressionTable | None
    folds: tuple[Fold, ...]
    feature_dim: int
    encoder: str | None
    excluded: pd.DataFrame
    counts: Mapping[str, Count]
    facts: Mapping[str, Any]
    without_slide: pd.DataFrame = field(default_factory=lambda: _nobody())
    covariates: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def patients(self) -> pd.DataFrame:
        """One row a patient (the index, in order): has_expression, label, time, event."""
        return _patients(self.slides, self.without_slide)

    @property
    def paths(self) -> dict[str, Path]:
        """The feature file of each slide."""
        return {str(slide): Path(path) for slide, path in zip(self.slides["slide"], self.slides["path"], strict=True)}

    @property
    def owners(self) -> dict[str, str]:
        """The patient of each slide."""
        return dict(zip(self.slides["slide"].astype(str), self.slides["patient"].astype(str), strict=True))

    def save(self, folder: Path) -> None:
        """Write cohort.parquet, covariates.parquet, excluded.csv, expression.h5ad, without_slide.parquet, folds.json
        and, last, cohort.json.

        The presence of cohort.json says that the others are complete and belong together.
        """
        remove(folder / "cohort.json")
        with write_aside(folder / "cohort.parquet") as aside:
            self.slides.to_parquet(aside, index=False)
        with write_aside(folder / "covariates.parquet") as aside:
            self.covariates.to_parquet(aside)
        with write_aside(folder / "excluded.csv") as aside:
            self.excluded.to_csv(aside, index=False)
        if self.expression is None:
            (folder / "expression.h5ad").unlink(missing_ok=True)
        else:
            self.expression.save(folder / "expression.h5ad")
        if self.without_slide.empty:
            (folder / "without_slide.parquet").unlink(missing_ok=True)
        else:
            with write_aside(folder / "without_slide.parquet") as aside:
                self.without_slide.to_parquet(aside)
        save_folds(folder / "folds.json", self.folds)
        summary = {
            "feature_dim": self.feature_dim,
            "encoder": self.encoder,
            "expression": self.expression is not None,
            "patients_without_slide": len(self.without_slide),
            "counts": {kind: count._asdict() for kind, count in self.counts.items()},
            "facts": dict(self.facts),
        }
        write_json(folder / "cohort.json", summary)

    @classmethod
    def load(cls, folder: Path) -> Cohort:
        """Read what `save` wrote. Raises `ArtefactError` when it is missing, unfinished, damaged or of other schema."""
        summary = read_json(folder / "cohort.json")
        try:
            slides = pd.read_parquet(folder / "cohort.parquet")
            covariates = pd.read_parquet(folder / "covariates.parquet")
            excluded = pd.read_csv(folder / "excluded.csv", dtype=object, keep_default_na=False)
            counts = {kind: Count(**count) for kind, count in summary["counts"].items()}
            dim, encoder, facts = int(summary["feature_dim"]), summary["encoder"], summary["facts"]
            has_expression = bool(summary["expression"])
            # Absent in cohorts that were written before such patients were kept.
            some = bool(summary.get("patients_without_slide"))
            without_slide = pd.read_parquet(folder / "without_slide.parquet") if some else _nobody()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"the cohort in {folder} is damaged ({error}); build it again") from error
        expression = ExpressionTable.load(folder / "expression.h5ad") if has_expression else None
        folds = load_folds(folder / "folds.json")
        return cls(
            slides,
            expression,
            folds,
            dim,
            encoder,
            excluded,
            counts,
            facts,
            without_slide=without_slide,
            covariates=covariates,
        )


def build_cohort(config: CohortConfig, *, with_folds: bool = True, progress: Progress = silent) -> Cohort:
    """Read everything, join it by patient, account for what is left out, and split; nothing is written.

    Raises one `DataError` with all problems of all tables and feature files, or one `LeakError` with all of the folds.
    """
    # As written, not as fetched; without defaults, so that a key of a later version is at its own when they are read.
    settings = shareable(config).model_dump(mode="json", exclude_defaults=True)
    config = fetched(config, progress=progress)
    problems: list[str] = []
    owners = _attempt(problems, partial(read_owners, config.slides))
    named = None if owners is None or _keeps_without_slide(config) else set(owners.patients.values())
    expression = (
        _attempt(problems, partial(read_expression, config.expression, patients=named)) if config.expression else None
    )
    clinical = _attempt(problems, partial(read_clinical, config.clinical)) if config.clinical else None
    if owners is None:
        raise_together(DataError, "the cohort cannot be built:", problems)
        raise AssertionError
    tables = _Tables(owners, expression, clinical)
    problems += _without_overlap(set(owners.patients.values()), tables, config)
    slides = _attempt(problems, partial(read_slides, owners, config.features, thorough=not problems, progress=progress))
    if problems or slides is None:
        raise_together(DataError, "the cohort cannot be built:", problems)
        raise AssertionError
    joined = _join(config, tables, slides, with_folds=with_folds)
    return replace(joined, facts={**joined.facts, "settings": settings})


def _keeps_without_slide(config: CohortConfig) -> bool:
    return config.expression is not None and config.expression.without_slide == "keep"


class _Tables(NamedTuple):
    owners: ReadOwners
    expression: ReadExpression | None
    clinical: ReadClinical | None


def _attempt(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except DataError as error:
        problems.append(str(error).replace("\n", "\n  "))
        return None


def _without_overlap(
    patients: set[str],
    tables: _Tables,
    config: CohortConfig,
) -> Iterable[str]:
    named = {
        "expression": (config.expression, tables.expression.table.patients if tables.expression else ()),
        "clinical": (config.clinical, tuple(tables.clinical.patients.index) if tables.clinical else ()),
    }
    for section, (table, others) in named.items():
        if table is not None and others and patients.isdisjoint(others):
            yield (
                f"{tables.owners.source} and {table.path} share no patient: the first has "
                f"{', '.join(sorted(patients)[:3])}, the second {', '.join(sorted(others)[:3])}; set `slides.patient` "
                f"and the `{section}` section so that both name patients alike (TCGA barcodes: `identifiers: tcga`; "
                "a matrix read sideways: `orientation`)"
            )


def _join(config: CohortConfig, tables: _Tables, slides: ReadSlides, *, with_folds: bool) -> Cohort:
    owners, expression, clinical = tables
    seen = {row.patient for row in slides.slides}
    named = set[str]() if expression is None else set(expression.table.patients)
    profiled = named if _keeps_without_slide(config) else named & seen
    patients = seen | profiled
    excluded = [*owners.excluded, *slides.excluded]
    given: dict[Kind, int] = {"slide": owners.rows_given, "feature_file": slides.files_given}
    kept: dict[Kind, int] = {"slide": len(slides.slides), "feature_file": len(slides.slides)}
    table = None
    if expression is not None:
        excluded += [*expression.excluded, *_strangers("expression", expression.table.patients, patients, config)]
        table = expression.table.of(sorted(profiled))
        given |= {"expression": expression.rows_given, "gene": expression.genes_given}
        kept |= {"expression": len(profiled), "gene": len(table.genes)}
    if clinical is not None:
        excluded += [*clinical.excluded, *_strangers("clinical", clinical.patients.index, patients, config)]
        given["clinical"] = clinical.rows_given
        kept["clinical"] = len(patients & set(clinical.patients.index))
    frame = _slide_frame(slides.slides, profiled, clinical)
    others = pd.DataFrame({"patient": sorted(profiled - seen), "has_expression": True})
    without_slide = _with_clinical(others, clinical).set_index("patient")
    everyone = _patients(frame, without_slide)
    facts = describe(config, everyone, slides.slides, clinical)
    facts["tiles"] = {**slides.scale._asdict(), "encoder_revisions": slides.revisions}
    if table is not None and clinical is not None:
        facts["floors"] = [describe_floors(table, by, groups) for by, groups in clinical.groups.items()]
    folds: tuple[Fold, ...] = ()
    if with_folds:
        folds, facts["folds"] = _folds(config, everyone)
    return Cohort(
        slides=frame,
        expression=table,
        folds=folds,
        feature_dim=slides.slides[0].summary.width,
        encoder=slides.encoder,
        excluded=as_frame(excluded),
        counts=balance(given, kept, excluded),
        facts=facts,
        without_slide=without_slide,
        covariates=pd.DataFrame() if clinical is None else clinical.covariates,
    )


def _strangers(
    kind: Kind, named: Iterable[object], patients: Collection[str], config: CohortConfig
) -> Iterable[Excluded]:
    section = config.expression if kind == "expression" else config.clinical
    source = str(section.path) if section else ""
    for name in sorted(set(map(str, named)) - set(patients)):
        yield Excluded(kind, name, "no slide of this patient was kept", source)


def _slide_frame(rows: tuple[SlideRow, ...], profiled: Collection[str], clinical: ReadClinical | None) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "slide": [row.slide for row in rows],
            "patient": [row.patient for row in rows],
            "path": [str(row.path) for row in rows],
            "tiles": [row.summary.tiles for row in rows],
            "feature_hash": [row.summary.feature_hash for row in rows],
            "has_expression": [row.patient in profiled for row in rows],
        }
    )
    return _with_clinical(frame, clinical)


def _with_clinical(frame: pd.DataFrame, clinical: ReadClinical | None) -> pd.DataFrame:
    """`frame` with label, time and event of its column `patient`."""
    nobody = pd.DataFrame({"label": [], "time": [], "event": []})
    known = (nobody if clinical is None else clinical.patients).reindex(frame["patient"]).reset_index(drop=True)
    label = known["label"].astype(object)
    return frame.assign(
        label=label.where(label.notna(), None),
        time=known["time"].astype(float),
        event=known["event"].astype("boolean"),
    )


def _nobody() -> pd.DataFrame:
    others = pd.DataFrame({"patient": np.array([], dtype=object), "has_expression": np.array([], dtype=bool)})
    return _with_clinical(others, None).set_index("patient")


def _patients(slides: pd.DataFrame, without_slide: pd.DataFrame) -> pd.DataFrame:
    seen = slides.drop_duplicates("patient").set_index("patient")[[*OF_PATIENTS]]
    return (seen if without_slide.empty else pd.concat([seen, without_slide])).sort_index()


def _folds(config: CohortConfig, patients: pd.DataFrame) -> tuple[tuple[Fold, ...], dict[str, Any]]:
    names = [str(patient) for patient in patients.index]
    if config.folds.path is not None:
        read = read_folds(config.folds.path, names)
        return read.folds, describe_folds(read.folds, names, read)
    labels = {name: None if label is None else str(label) for name, label in zip(names, patients["label"], strict=True)}
    events = {
        name: None if event is pd.NA else bool(event) for name, event in zip(names, patients["event"], strict=True)
    }
    folds = make_folds(labels, events, count=config.folds.count, seed=config.folds.seed)
    return folds, describe_folds(folds, names, None)
