"""Runs on simulated cohorts that experiments explain: the one of fold 0, of features or of slides with pixels."""

from __future__ import annotations

from pathlib import Path

from simulated_presets import configuration

from mirror.config import Config, load_config
from mirror.simulate.cohort import SimulationSizes
from mirror.simulate.scans import simulate_scans
from mirror.slides.settings import load_extraction
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.pretrain import pretrain_fold
from mirror.workflow.slides import extract_slides


def trained(config: Config) -> ExplainedRun:
    """The run of fold 0; trained and embedded first where it is not there."""
    cohort = prepare_cohort(config)
    fold, seed = cohort.folds[0], config.seeds[0]
    run = pretrain_fold(config, cohort, fold, seed)  # refuses a run that was trained by other settings
    if not run.embeddings.exists():
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    return explained_run(config, cohort, RunName(seed, fold.number))


def simulated_scans(folder: Path, *, seed: int, patients: int, contrast: float) -> None:
    """Slides with pixels, simulated and extracted where they are not there yet."""
    if not (folder / "demo.yaml").exists():
        simulate_scans(folder, seed=seed, sizes=SimulationSizes(patients=patients), contrast=contrast)
    if not (folder / "extracted" / "slides.jsonl").exists():
        extract_slides(load_extraction(folder / "slides.yaml"))


def scanned(folder: Path, name: str = "mirror") -> ExplainedRun:
    """The run of fold 0 of slides with pixels, of the preset `name`."""
    return trained(load_config(folder / "demo.yaml") if name == "mirror" else configuration(folder, name))
