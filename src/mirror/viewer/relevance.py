"""The layers over a slide: what `mirror explain slide` left, a run and target each. Legend: T tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mirror.artefacts import read_json
from mirror.errors import ArtefactError
from mirror.viewer.contents import Contents, Unknown

_PLACES = ("tile", "x", "y")


class Layer(NamedTuple):
    """One number a tile: `key` names it among the slide's, `facts` are what its explanation says of it."""

    key: str
    run: str
    name: str
    role: str
    facts: dict[str, Any]


def layers_of(contents: Contents, slide: str) -> list[Layer]:
    """The layers there are of a slide, those of runs in which its patient is a test patient first.

    Raises `ArtefactError` when one of the files is damaged.
    """
    found: list[Layer] = []
    for run in contents.runs.values():
        path = _file(contents, run.name, slide)
        if not path.exists():
            continue
        about = read_json(path.with_suffix(".json"))
        told = about.get("layers", {})
        facts = told if isinstance(told, dict) else {str(one.get("name")): one for one in told}
        role = run.role_of(contents.owners[slide])
        names = [name for name in _columns(path) if name not in _PLACES]
        found += [Layer(f"{run.name}:{name}", run.name, name, role, facts.get(name, {})) for name in names]
    return sorted(found, key=lambda layer: layer.role != "test")


def layer_values(contents: Contents, slide: str, layer: Layer, tiles: int) -> NDArray[np.float32]:
    """The layer's values (T,), in the order of the feature file; NaN for tiles it says nothing of.

    Raises `ArtefactError` when the file is damaged or of other features.
    """
    path = _file(contents, layer.run, slide)
    try:
        table = pd.read_parquet(path, columns=["tile", layer.name])
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
    rows = table["tile"].to_numpy()
    if len(rows) and (rows.min() < 0 or rows.max() >= tiles):
        raise ArtefactError(f"{path} is of other features than these {tiles} tiles; run `mirror explain slide` again")
    values = np.full(tiles, np.nan, dtype=np.float32)
    values[rows] = table[layer.name].to_numpy(np.float32)
    return values


def named_layer(contents: Contents, slide: str, key: str) -> Layer:
    """The layer of that key. Raises `Unknown`."""
    for layer in layers_of(contents, slide):
        if layer.key == key:
            return layer
    raise Unknown(f"slide '{slide}' has no layer '{key}'")


def _file(contents: Contents, run: str, slide: str) -> Path:
    """Both names are of fixed lists: `contents.runs` and the cohort's slides."""
    return contents.explained / run / "slides" / slide / "relevance.parquet"


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
