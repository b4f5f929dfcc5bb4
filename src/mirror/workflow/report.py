"""The report stage: gathers what the other stages left and writes one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from mirror.artefacts import read_json, write_json, write_text
from mirror.config import Config, changes_from_preset, differing, dump_config, load_config, shareable
from mirror.data.cohort import Cohort
from mirror.data.cohort_facts import lifetime_sentences
from mirror.data.floors import artefact_sentences
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError, raise_together
from mirror.evaluation.audit.cohort import sites_of
from mirror.evaluation.audit.finding import Audit
from mirror.evaluation.audit.sites import BARCODE
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.metrics import Floats
from mirror.evaluation.report.chosen_genes import rows_by_choice
from mirror.evaluation.report.data import report_data
from mirror.evaluation.report.embedding_map import embedded_points, joint_views
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.page import compose, render_page
from mirror.evaluation.report.prototypes import Prototypes, prototypes
from mirror.evaluation.report.retrieved import Retrieved, retrieved
from mirror.evaluation.report.verdicts import headline_intervals
from mirror.evaluation.scores import read_intervals, read_predictions, read_provenance, read_scores
from mirror.training.loop import read_metrics
from mirror.training.runs import RunFolder, run_folder
from mirror.units import remark_on
from mirror.workflow.audit import audit, read_groups
from mirror.workflow.cohort import kept_cohort
from mirror.workflow.evaluation_files import (
    account_file,
    intervals_file,
    patients_mark,
    predictions_file,
    scores_file,
)
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.prototypes import learned_directions
from mirror.workflow.refine import unread_choice
from mirror.workflow.study import INDIFFERENT

HASH_SHOWN = 12
"""Digits of an input's hash on the page: enough to tell files apart; cohort.json has all of them."""


def report_file(config: Config) -> Path:
    """The page of a configuration."""
    return config.output / "report.html"


def data_file(config: Config) -> Path:
    """What the page says, for machines."""
    return config.output / "report.json"


def write_report(config: Config, *, found: Audit | None = None) -> Path:
    """Write report.html and report.json from the files of the stages before; the run is audited unless `found` says.

    Raises `ArtefactError` when one of them has not run, a run was trained or the cohort joined anew since it was
    evaluated, or they are of other settings than those of `config`.
    """
    cohort = kept_cohort(config)
    scores, predictions = read_scores(scores_file(config)), read_predictions(predictions_file(config))
    runs = {
        (seed, fold.number): run_folder(config.output, seed=seed, fold=fold.number)
        for seed, fold in wanted_runs(config, cohort, fold=None, seed=None)
    }
    _require_of_this_job(config, cohort, list(runs.values()))
    selections = [selection for run in runs.values() if (selection := GenePanel.load(run.panel).selection) is not None]
    leaks = any(selection.scope == "cohort" for selection in selections)
    choice = [rows_by_choice(scores["representation"].unique().tolist(), selections[0])] if selections else []
    found = found or audit(config)
    groups, _ = read_groups(config, cohort)
    clinical = config.cohort.clinical
    sites = sites_of(cohort, groups, label=clinical.label if clinical else None)
    site_name = BARCODE if BARCODE in sites else next(iter(sites), "site")
    first = next(iter(runs.values()))
    embedded = load_embeddings(first.embeddings)
    inputs = ReportInputs(
        name=config.name,
        preset=config.preset,
        config_yaml=dump_config(shareable(config)),
        counts={kind: count._asdict() for kind, count in cohort.counts.items()},
        excluded=_excluded(cohort),
        patients=_patients(cohort),
        notes=[*_notes(config, cohort), *([] if leaks else choice), *dict.fromkeys(one.note for one in selections)],
        warnings=[*lifetime_sentences(cohort.facts), *artefact_sentences(cohort.facts), *(choice if leaks else [])],
        scores=scores,
        predictions=predictions,
        histories={key: read_metrics(run.metrics) for key, run in runs.items()},
        embedding=embedded_points(embedded, cohort.patients["label"], joint_views(embedded)).reset_index(drop=True),
        facts=_facts(config, cohort, list(runs.values())),
        intervals=read_intervals(intervals_file(config)),
        differences=headline_intervals(scores, predictions, seed=config.seeds[0]),
        sites=sites.get(site_name, {}),
        site_name=site_name,
        folds={patient: fold.number for fold in reversed(cohort.folds) for patient in fold.test},
        audit=found,
        retrieved=_retrieved(cohort, embedded, run_name(runs)),
        prototypes=_prototypes(learned_directions(config, first), cohort, embedded, run_name(runs)),
        seed=config.seeds[0],
    )
    content = compose(inputs)
    write_json(data_file(config), report_data(content))
    write_text(report_file(config), render_page(content))
    return report_file(config)


def _require_of_this_job(config: Config, cohort: Cohort, runs: Sequence[RunFolder]) -> None:
    """Raise `ArtefactError` where runs were trained by other settings, or scores are of other runs or patients."""
    judged, of_now = read_provenance(scores_file(config)), patients_mark(cohort)
    raise_together(
        ArtefactError,
        "the scores are not of these runs as they are trained now; run `mirror evaluate` first:",
        [str(run.path) for run in runs if run.read_record()["fingerprint"] not in judged.get("runs", ())],
    )
    if judged.get("cohort", of_now) != of_now:
        raise ArtefactError(
            f"{scores_file(config)} is of the cohort as it was before it was joined anew (other patients, labels, "
            "follow-up, covariates or folds); run `mirror evaluate` first"
        )
    by_difference: dict[str, list[RunFolder]] = {}
    for run in runs:
        differences = differing(_trained_by(config), _trained_by(load_config(run.config)))
        by_difference.setdefault(", ".join(differences), []).append(run)
    by_difference.pop("", None)
    raise_together(
        ArtefactError,
        "runs were trained by other settings than the configuration's; name the configuration they were trained by, or "
        "train again with `mirror pretrain --overwrite` and take the stages after it again:",
        [
            f"{first.path}{f' and {len(others)} more' if others else ''}: {told}"
            for told, (first, *others) in by_difference.items()
        ],
    )


def _trained_by(config: Config) -> dict[str, Any]:
    """The settings that decide what a run is."""
    return {
        "model": config.model.model_dump(mode="json"),
        "pretraining": config.pretraining.model_dump(mode="json", exclude=INDIFFERENT),
    }


def run_name(runs: Mapping[tuple[int, int], RunFolder]) -> str:
    """The run that pictures of a single one show: the first."""
    seed, fold = next(iter(runs))
    return f"seed {seed}, fold {fold}"


def _retrieved(cohort: Cohort, embedded: AnnData, name: str) -> Retrieved | None:
    labels = cohort.patients["label"]
    told = {str(patient): None if pd.isna(label) else str(label) for patient, label in labels.items()}
    return retrieved(embedded, told, run=name)


def _prototypes(directions: Floats | None, cohort: Cohort, embedded: AnnData, name: str) -> Prototypes | None:
    if directions is None:
        return None
    return prototypes(embedded, directions, cohort.patients, cohort.expression, run=name)


def _excluded(cohort: Cohort) -> pd.DataFrame:
    """The list of exclusions with the names of files for their paths, which reasons may quote too."""
    table = cohort.excluded
    sources = [Path(source) for source in table["source"].astype(str)]
    folders = [f"{source.parent}{os.sep}" if source.is_absolute() else "" for source in sources]
    reasons = [str(reason).replace(folder, "") for reason, folder in zip(table["reason"], folders, strict=True)]
    return table.assign(reason=reasons, source=[source.name for source in sources])


def _patients(cohort: Cohort) -> pd.DataFrame:
    slides = cohort.slides.groupby("patient").size().rename("slides")
    return cohort.patients.join(slides).fillna({"slides": 0}).astype({"slides": int}).reset_index()


def _notes(config: Config, cohort: Cohort) -> list[str]:
    """What the stages before want the reader to know."""
    facts = cohort.facts
    notes = [str(facts["survival"]["sentence"])] if facts.get("survival") else []
    if facts.get("duplicate_features"):
        pairs = "; ".join(" = ".join(names) for names in facts["duplicate_features"][:5])
        notes.append(f"Slides with the very same features under different names: {pairs}.")
    account = read_json(account_file(config))["runs"]
    notes += sorted({note for run in account for note in run["notes"]})
    return [*notes, *([unread] if (unread := unread_choice(config, cohort)) else [])]


def _facts(config: Config, cohort: Cohort, runs: list[RunFolder]) -> dict[str, str]:
    """What was run on what, a line each; lines that do not apply are left out."""
    records = [run.read_record() for run in runs]
    seconds = [float(record["seconds"]) for record in records]
    devices = ", ".join(sorted({str(record["device"]) for record in records}))
    facts = {
        "Runs": f"{len(records)}, one a fold and seed; {np.mean(seconds):.0f} s a run on {devices}",
        "Finished": f"{max(datetime.fromisoformat(record['finished']) for record in records):%Y-%m-%d %H:%M %Z}",
        "Preset": _preset(config),
        "Seeds": ", ".join(map(str, config.seeds)),
        "Folds": _folds(config, cohort),
        "Tile features": f"{cohort.encoder or 'encoder not named'}, {cohort.feature_dim} numbers a tile",
        "Expression": _units(cohort.facts.get("units")),
        "Inputs by hash": "; ".join(f"{name} {mark[:HASH_SHOWN]}" for name, mark in cohort.facts["inputs"].items()),
        "Made with": ", ".join(f"{name} {version}" for name, version in records[0]["versions"].items()),
    }
    return {name: value for name, value in facts.items() if value}


def _units(units: str | None) -> str:
    remark = None if units is None else remark_on(units)
    return f"{units} ({remark})" if remark else units or ""


def _preset(config: Config) -> str:
    changed = ", ".join(f"{key} {value}" for key, value in changes_from_preset(config).items())
    return f"{config.preset}; set otherwise: {changed}" if changed else f"{config.preset}, as it is"


def _folds(config: Config, cohort: Cohort) -> str:
    read_from = config.cohort.folds.path
    made = f"stratified, from seed {config.cohort.folds.seed}" if read_from is None else f"as in {read_from.name}"
    return f"{len(cohort.folds)}, {made}"
