"""The report stage: gathers what the other stages left and writes one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mirror.artefacts import read_json, write_text
from mirror.config import Config, dump_config
from mirror.data.cohort import Cohort
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.report import ReportInputs, render_report
from mirror.evaluation.scores import read_predictions, read_scores
from mirror.training.runs import RunFolder, run_folder
from mirror.workflow.cohort import cohort_folder
from mirror.workflow.evaluate import account_file, predictions_file, scores_file
from mirror.workflow.pretrain import wanted_runs


def report_file(config: Config) -> Path:
    """The page of a configuration."""
    return config.output / "report.html"


def write_report(config: Config) -> Path:
    """Write report.html from the files of the stages before. Raises `ArtefactError` when one of them has not run."""
    cohort = Cohort.load(cohort_folder(config))
    runs = {
        (seed, fold.number): run_folder(config.output, seed=seed, fold=fold.number)
        for seed, fold in wanted_runs(config, cohort, fold=None, seed=None)
    }
    inputs = ReportInputs(
        name=config.name,
        preset=config.preset,
        config_yaml=_shareable(config),
        counts={kind: count._asdict() for kind, count in cohort.counts.items()},
        excluded=cohort.excluded,
        patients=_patients(cohort),
        notes=_notes(config, cohort),
        scores=read_scores(scores_file(config)),
        predictions=read_predictions(predictions_file(config)),
        histories={key: _history(run) for key, run in runs.items()},
        embedding=_points(cohort, next(iter(runs.values()))),
        facts=_facts(list(runs.values())),
    )
    write_text(report_file(config), render_report(inputs))
    return report_file(config)


def _shareable(config: Config) -> str:
    """The resolved configuration with names for paths: the page is sent to others, the folders of a disk are not."""
    lines = dump_config(config).splitlines()
    return "\n".join(_name_only(line) for line in lines) + "\n"


def _name_only(line: str) -> str:
    key, colon, value = line.partition(": ")
    return f"{key}: {Path(value).name}" if colon and Path(value).is_absolute() else line


def _patients(cohort: Cohort) -> pd.DataFrame:
    slides = cohort.slides.groupby("patient").size().rename("slides")
    return cohort.patients.join(slides).reset_index()


def _notes(config: Config, cohort: Cohort) -> list[str]:
    """What the stages before want the reader to know."""
    facts = cohort.facts
    notes = [str(facts[part]["sentence"]) for part in ("survival",) if facts.get(part)]
    lacking = len(cohort.patients) - int(cohort.patients["has_expression"].sum())
    if lacking:
        notes.append(
            f"{lacking} of {len(cohort.patients)} patients have no expression and take part in what needs slides only."
        )
    if facts.get("duplicate_features"):
        pairs = "; ".join(" = ".join(names) for names in facts["duplicate_features"][:5])
        notes.append(f"Slides with the very same features under different names: {pairs}.")
    account = read_json(account_file(config))["runs"]
    notes += sorted({note for run in account for note in run["notes"]})
    return notes


def _history(run: RunFolder) -> list[Mapping[str, float]]:
    return [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]


def _points(cohort: Cohort, run: RunFolder) -> pd.DataFrame:
    """A point a patient and modality: the embeddings of one run."""
    table = load_embeddings(run.embeddings)
    labels = cohort.patients["label"]
    parts: list[pd.DataFrame] = []
    for modality, view in (("slide", "X_slide"), ("expression", "X_expression")):
        vectors = pd.DataFrame(np.asarray(table.obsm[view]))
        vectors.columns = [f"v{column}" for column in range(vectors.shape[1])]
        known = ~vectors.isna().any(axis=1).to_numpy()
        owners = table.obs["patient"].astype(str).to_numpy()[known]
        roles = pd.Series(table.obs["role"].astype(str).to_numpy()[known], index=owners)
        points = vectors[known].groupby(owners).mean()
        points.insert(0, "role", roles[~roles.index.duplicated()].reindex(points.index))
        points.insert(0, "label", labels.reindex(points.index))
        points.insert(0, "modality", modality)
        points.insert(0, "patient", points.index)
        parts.append(points)
    return pd.concat(parts, ignore_index=True)


def _facts(runs: list[RunFolder]) -> dict[str, str]:
    records = [run.read_record() for run in runs]
    seconds = [float(record["seconds"]) for record in records]
    return {
        "runs": f"{len(records)} (one a fold and seed)",
        "training": f"{np.mean(seconds):.0f} s a run on {', '.join(sorted({record['device'] for record in records}))}",
        "finished": max(record["finished"] for record in records),
        **records[0]["versions"],
    }
