"""What `mirror explain` left: layers over a slide, a run and target each, and what a patient's genes add to a target.

Legend: T tiles.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mirror.artefacts import read_json
from mirror.errors import ArtefactError
from mirror.explain.patient_genes import TOLD, read_patient_genes
from mirror.viewer.contents import Contents, ShownRun, Unknown

_PLACES = ("tile", "x", "y")
LEADING = 8
"""Genes shown of each target."""


class Layer(NamedTuple):
    """One number a tile: `key` names it among the slide's, `facts` are what its explanation says of it."""

    key: str
    run: str
    name: str
    role: str
    facts: dict[str, Any]


class Relevance:
    """The layers of the slides of `contents`: those that `mirror explain slide` left, and those made when asked for.

    What is made lies in `contents.made_in` as long as the page is there; the run's own folder is only read.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._one_at_a_time = threading.Lock()

    def can_make(self, patient: str) -> bool:
        """True where layers of the patient's slides can be made on demand: by a run that has not seen the patient."""
        return self._contents.explain is not None and patient in self._contents.folds

    def make(self, slide: str) -> None:
        """Explain a slide that has no layers, by the run in which its patient is a test patient.

        Raises `Unknown` where nothing can be made, `MirrorError` as `mirror explain slide` does.
        """
        if self._contents.explain is None:
            raise Unknown("nothing can be explained here")
        with self._one_at_a_time:
            if not self.layers(slide):
                self._contents.explain(slide)

    def layers(self, slide: str) -> list[Layer]:
        """The layers there are of models as they are now, those of runs in which the patient is a test patient first.

        Raises `ArtefactError`.
        """
        found: list[Layer] = []
        for run in self._contents.runs.values():
            path, told = self._current(run, slide)
            if path is None:
                continue
            facts = {str(one.get("name")): one for one in told.get("layers", ())}
            role = run.role_of(self._contents.owners[slide])
            names = [name for name in _columns(path) if name not in _PLACES]
            found += [Layer(f"{run.name}:{name}", run.name, name, role, facts.get(name, {})) for name in names]
        return sorted(found, key=lambda layer: layer.role != "test")

    def outdated(self, slide: str) -> list[str]:
        """The runs of which there are layers of an earlier training alone, which are not shown."""
        runs = self._contents.runs.values()
        return [run.name for run in runs if self._made(run, slide) and self._current(run, slide)[0] is None]

    def values(self, slide: str, key: str, tiles: int) -> NDArray[np.float32]:
        """The values (T,) of the layer `key`, in the order of the feature file; NaN for tiles it says nothing of.

        Raises `Unknown`, and `ArtefactError` when the file is damaged or of other features.
        """
        layer = next((layer for layer in self.layers(slide) if layer.key == key), None)
        path = None if layer is None else self._current(self._contents.run(layer.run), slide)[0]
        if layer is None or path is None:
            raise Unknown(f"slide '{slide}' has no layer '{key}'")
        try:
            table = pd.read_parquet(path, columns=["tile", layer.name])
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
        rows = table["tile"].to_numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= tiles):
            raise ArtefactError(
                f"{path} is of other features than these {tiles} tiles; run `mirror explain slide` again"
            )
        values = np.full(tiles, np.nan, dtype=np.float32)
        values[rows] = table[layer.name].to_numpy(np.float32)
        return values

    def _current(self, run: ShownRun, slide: str) -> tuple[Path | None, dict[str, Any]]:
        """The table of layers of the run's model as it is now, and what its explanation says."""
        for path in self._made(run, slide):
            told = read_json(path.with_suffix(".json"))
            if told.get("model") == run.model:
                return path, told
        return None, {}

    def _made(self, run: ShownRun, slide: str) -> list[Path]:
        """Both names are of fixed lists: `contents.runs` and the cohort's slides."""
        folders = (self._contents.explained / run.name, self._contents.made_in / run.name)
        paths = [folder / "slides" / slide / "relevance.parquet" for folder in folders]
        return [path for path in paths if path.with_suffix(".json").exists()]


def attributions_of(contents: Contents, run: ShownRun, patient: str) -> list[dict[str, Any]]:
    """What the patient's genes add to each explained target in this run, the `LEADING` largest by size, signed.

    Empty where `mirror explain expression` has not run since the run was trained, or says nothing of the patient.
    Raises `ArtefactError`.
    """
    path = contents.explained / run.name / "expression_patients.parquet"
    found: list[dict[str, Any]] = []
    for row in read_patient_genes(path, patient, model=run.model).to_dict("records"):
        genes = pd.Series({name: value for name, value in row.items() if name not in TOLD}, dtype=float).dropna()
        leading = genes.loc[genes.abs().sort_values(ascending=False, kind="stable").index[:LEADING]]
        found.append(
            {
                "target": str(row["target"]),
                "value": float(row["value"]),
                "at_mean": float(row["at_mean"]),
                "genes": [{"gene": str(name), "value": float(value)} for name, value in leading.items()],
            }
        )
    return found


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
