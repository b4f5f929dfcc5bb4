"""What `mirror explain` left: layers over a slide, a run and target each, and what a patient's genes add to a target.

Legend: T tiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mirror.artefacts import read_json
from mirror.errors import ArtefactError
from mirror.viewer.contents import Contents, ShownRun, Unknown

_PLACES = ("tile", "x", "y")
_TOLD = ("patient", "target", "value", "at_mean")
LEADING = 8
"""Genes shown of each target."""


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


def attributions_of(contents: Contents, run: ShownRun, patient: str) -> list[dict[str, Any]]:
    """What the patient's genes add to each explained target in this run, the `LEADING` largest by size, signed.

    Empty where `mirror explain expression` has not run, or says nothing of the patient. Raises `ArtefactError`.
    """
    path = contents.explained / run.name / "expression_patients.parquet"
    if not path.exists():
        return []
    try:
        table = pq.read_table(path, filters=[("patient", "=", patient)]).to_pandas()
        found: list[dict[str, Any]] = []
        for row in table.to_dict("records"):
            genes = pd.Series({name: value for name, value in row.items() if name not in _TOLD}, dtype=float).dropna()
            leading = genes.loc[genes.abs().sort_values(ascending=False, kind="stable").index[:LEADING]]
            found.append(
                {
                    "target": str(row["target"]),
                    "value": float(row["value"]),
                    "at_mean": float(row["at_mean"]),
                    "genes": [{"gene": str(name), "value": float(value)} for name, value in leading.items()],
                }
            )
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain expression` again") from error
    return found


def _file(contents: Contents, run: str, slide: str) -> Path:
    """Both names are of fixed lists: `contents.runs` and the cohort's slides."""
    return contents.explained / run / "slides" / slide / "relevance.parquet"


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
