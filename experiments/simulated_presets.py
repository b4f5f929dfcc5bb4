"""The presets at sizes fit for the bags of simulated cohorts, as experiments train them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mirror.config import Config, resolve

PRESETS: dict[str, dict[str, Any]] = {
    "mirror": {"preset": "mirror", "model": {"components": 16}, "pretraining": {"tiles": 48}},
    "alignment-only": {"preset": "alignment-only", "model": {"components": 16}, "pretraining": {"tiles": 48}},
    "published": {
        "preset": "published",
        "model": {"width": 96, "attention": "exact", "style_hidden": 64, "style_out": 48, "style_latent": 32,
                  "prototypes": 64},
        "pretraining": {"tiles": 48, "epochs": 30, "learning_rate": 2e-4, "expression_transform": "standardise"},
    },
    "published, Nystrom": {
        "preset": "published",
        "model": {"width": 96, "landmarks": 16, "style_hidden": 64, "style_out": 48, "style_latent": 32,
                  "prototypes": 64},
        "pretraining": {"tiles": 48, "epochs": 30, "learning_rate": 2e-4, "expression_transform": "standardise"},
    },
}  # fmt: skip
"""Sections of a configuration by the preset's name. Nystrom attention, with which `published` ships, is a row of its
own beside exact attention, which bags as small as these can have."""
SHOWN = ("published", "alignment-only", "mirror")
"""The rows of the README."""


def configuration(folder: Path, preset: str) -> Config:
    """That of the simulated cohort in `folder`, with the sections of one of `PRESETS`."""
    content = yaml.safe_load((folder / "demo.yaml").read_text(encoding="utf-8"))
    content = {key: content[key] for key in ("name", "cohort")} | PRESETS[preset] | {"output": f"run-{preset}"}
    return resolve(content, where=folder / "demo.yaml")
