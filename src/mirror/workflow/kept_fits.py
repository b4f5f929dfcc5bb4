"""What explaining the slides of a run has to fit once, kept in a file: heads, and how tiles of training slides differ.

The file carries a mark of all that went into it, and is made anew where anything is another. Fitting takes longer than
all else of a slide, the libraries that fit not least. Legend: D columns of a view or tile-feature width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mirror.artefacts import SCHEMA, fingerprint, hash_bytes, hash_file, versions, write_aside
from mirror.evaluation import metrics
from mirror.explain import pattern
from mirror.explain.pattern import Tissue
from mirror.explain.targets import Head
from mirror.workflow.explained import ExplainedRun

VERSION = 2
"""Raised whenever what is kept is fitted in another way: files of another version are made anew."""
_WITHIN, _DEVIATION = "within", "deviation"


class Kept(NamedTuple):
    """Heads by representation and target, and the `Tissue`, None where nobody needed it yet."""

    heads: Mapping[tuple[str, str], Head]
    tissue: Tissue | None = None


NOTHING = Kept({})


def mark_of(run: ExplainedRun) -> str:
    """A hash of all that heads and tissue of a run follow from: the patients' embeddings and outcomes, the training
    slides' features, fold, seed, settings, and the libraries."""
    return fingerprint(
        (VERSION, metrics.VERSION, pattern.SLIDES, pattern.TILES),
        {**versions(), "scipy": version("scipy")},
        run.config.evaluation.model_dump(mode="json"),
        hash_file(run.folder.embeddings),
        run.cohort.patients.astype(str).reset_index().to_numpy().tolist(),
        run.cohort.slides[["slide", "patient", "feature_hash"]].to_numpy().tolist(),
        (run.name.seed, list(run.fold)),
    )


def read_kept(path: Path, mark: str) -> Kept:
    """What is kept under this mark; nothing where there is no file, or it is damaged or of another mark."""
    try:
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            if (told.get("schema"), told.get("mark")) != (str(SCHEMA), mark):
                return NOTHING
            arrays: dict[str, NDArray[np.float64]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told.get("content") != _content_of(arrays, told.get("heads", "")):
            return NOTHING
        facts = json.loads(told["heads"])
    except (FileNotFoundError, SafetensorError):
        return NOTHING
    heads = [
        Head(one["name"], one["unit"], one["representation"], arrays[key], one["offset"], tuple(one["fitted_on"]))
        for key, one in facts.items()
    ]
    tissue = Tissue(arrays[_WITHIN], arrays[_DEVIATION]) if _WITHIN in arrays else None
    return Kept({(head.representation, head.name): head for head in heads}, tissue)


def write_kept(path: Path, mark: str, kept: Kept) -> None:
    """Write it in one step."""
    arrays = {} if kept.tissue is None else {_WITHIN: kept.tissue.within, _DEVIATION: kept.tissue.deviation}
    facts: dict[str, dict[str, Any]] = {}
    for (representation, name), head in kept.heads.items():
        key = f"{representation}/{name}"
        arrays[key] = head.weights
        facts[key] = {
            "name": head.name,
            "unit": head.unit,
            "representation": head.representation,
            "offset": head.offset,
            "fitted_on": head.fitted_on,
        }
    whole = {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in arrays.items()}
    heads = json.dumps(facts)
    told = {"schema": str(SCHEMA), "mark": mark, "heads": heads, "content": _content_of(whole, heads)}
    with write_aside(path) as aside:
        aside.write_bytes(save(whole, told))


def _content_of(arrays: Mapping[str, NDArray[np.float64]], heads: str) -> str:
    """A hash of the numbers themselves: a damaged one would be drawn like any other."""
    return fingerprint(heads, [(name, hash_bytes([array.tobytes()])) for name, array in sorted(arrays.items())])
