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

from mirror.errors import ArtefactError
from mirror.explain.patient_genes import TOLD, read_patient_genes
from mirror.explain.relevance_file import LayerFacts, read_relevance_file
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


class Damaged(NamedTuple):
    """A file of an explanation by `run` that cannot be read."""

    run: str
    file: str


class _Read(NamedTuple):
    """The table of a run's layers, None where there is none of its model as it is now that can be read; what its
    explanation says of them; and the files that cannot be read."""

    path: Path | None
    told: tuple[LayerFacts, ...]
    damaged: list[Path]


class Relevance:
    """The layers of the slides of `contents`: those that `mirror explain slide` left, and those made when asked for.

    What is made lies in `contents.made_in` as long as the page is there; the run's own folder is only read.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._one_at_a_time = threading.Lock()

    def can_make(self, slide: str) -> bool:
        """True where layers of the slide can be made on demand, and are not there: by the run in which its patient is a
        test patient, if a method has passed for models of its kind."""
        judged = self._contents.judged_in(self._contents.owners[slide])
        if self._contents.explain is None or not self._contents.offered or judged is None:
            return False
        return self._read(judged, slide).path is None

    def make(self, slide: str) -> None:
        """Explain a slide of which the run in which its patient is a test patient has no layers.

        Raises `Unknown` where nothing can be made, `MirrorError` as `mirror explain slide` does.
        """
        if self._contents.explain is None:
            raise Unknown("nothing can be explained here")
        if not self._contents.offered:
            raise Unknown("no method has passed for models of this kind (docs/explain.md)")
        with self._one_at_a_time:
            if self.can_make(slide):
                self._contents.explain(slide)

    def layers(self, slide: str) -> list[Layer]:
        """The layers of models as they are now, those of runs in which the patient is a test patient first."""
        found: list[Layer] = []
        for run in self._contents.runs.values():
            path, told, _ = self._read(run, slide)
            if path is None:
                continue
            facts = {one.name: one.told for one in told}
            role = run.role_of(self._contents.owners[slide])
            names = [name for name in _columns(path) if name not in _PLACES]
            found += [Layer(f"{run.name}:{name}", run.name, name, role, facts.get(name, {})) for name in names]
        return sorted(found, key=lambda layer: layer.role != "test")

    def outdated(self, slide: str) -> list[str]:
        """The runs of which there are layers of an earlier training alone, which are not shown."""
        read = {run.name: self._read(run, slide) for run in self._contents.runs.values() if self._made(run, slide)}
        return [name for name, one in read.items() if one.path is None and not one.damaged]

    def damaged(self, slide: str) -> list[Damaged]:
        """The files of explanations of the slide that cannot be read; the layers of other files are there."""
        runs = self._contents.runs.values()
        return [Damaged(run.name, str(path)) for run in runs for path in self._read(run, slide).damaged]

    def values(self, slide: str, key: str, tiles: int) -> NDArray[np.float32]:
        """The values (T,) of the layer `key`, in the order of the feature file; NaN for tiles it says nothing of.

        Raises `Unknown`, and `ArtefactError` when the file is damaged or of other features.
        """
        layer = next((layer for layer in self.layers(slide) if layer.key == key), None)
        path = None if layer is None else self._read(self._contents.run(layer.run), slide).path
        if layer is None or path is None:
            raise Unknown(f"slide '{slide}' has no layer '{key}'")
        try:
            table = pd.read_parquet(path, columns=["tile", layer.name])
            rows, found = table["tile"].to_numpy(np.int64), table[layer.name].to_numpy(np.float32)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain slide` again") from error
        if len(rows) and (rows.min() < 0 or rows.max() >= tiles):
            raise ArtefactError(
                f"{path} is of other features than these {tiles} tiles; run `mirror explain slide` again"
            )
        values = np.full(tiles, np.nan, dtype=np.float32)
        values[rows] = found
        return values

    def _read(self, run: ShownRun, slide: str) -> _Read:
        """What there is of the run's model as it is now."""
        damaged: list[Path] = []
        for path in self._made(run, slide):
            reading = path.with_suffix(".json")
            try:
                told = read_relevance_file(reading)
                if told.model != run.model:
                    continue
                reading = path
                _columns(path)
            except ArtefactError:
                damaged.append(reading)  # the page says which
            else:
                return _Read(path, told.layers, damaged)
        return _Read(None, (), damaged)

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
