"""The configuration of a job that takes seconds, on the simulated cohort of conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.training.checkpoint import load_weights
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.pretrain import pretrain_fold, wanted_runs

SMALL: dict[str, Any] = {
    "preset": "published",
    "model": {
        "attention": "exact",
        "width": 24,
        "style_hidden": 16,
        "style_out": 12,
        "style_latent": 8,
        "prototypes": 10,
    },
    "pretraining": {
        "tiles": 12,
        "epochs": 3,
        "batch": 8,
        "checkpoint_seconds": 0,
        "learning_rate": 2e-4,
        "expression_transform": "standardise",
    },
    "evaluation": {"components": [4], "shots": 3, "draws": 2, "inner_folds": 2},
}

CANONICAL: dict[str, Any] = {
    "preset": "mirror",
    "model": {"components": 6, "hidden": 12, "prototypes": 5},
    "pretraining": {"tiles": 12, "epochs": 3, "batch": 16, "checkpoint_seconds": 0},
}
"""Sections that make the small job one of the default preset."""


def same_weights(first: Path, second: Path) -> bool:
    """True when two files of weights hold the same tensors, bit for bit; their headers promise no order."""
    one, other = (load_weights(path).tensors for path in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def embedded(config: Config) -> Cohort:
    """The cohort of a job whose runs are trained and embedded."""
    cohort = prepare_cohort(config)
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        run = pretrain_fold(config, cohort, fold, seed)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    return cohort


def write_config(simulated: Path, output: Path, *, form: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A configuration file for the simulated cohort, small enough for a test, of the published model or of `form`.

    `changes` are merged over its sections.
    """
    content = yaml.safe_load((simulated / "demo.yaml").read_text())
    for section in ("features", "slides", "expression", "clinical"):
        content["cohort"][section]["path"] = str(simulated / content["cohort"][section]["path"])
    content["cohort"]["folds"] = {"count": 2}
    content["output"] = str(output)
    content.update({**SMALL, **(form or {})})
    for name, value in changes.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    output.mkdir(parents=True, exist_ok=True)
    path = output / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
