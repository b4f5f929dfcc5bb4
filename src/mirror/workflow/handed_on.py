"""A handed-on model in use: `mirror.load(...)`, `model.embed(...)`.

Legend: N slides, T tiles, D feature width, G genes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import fingerprint
from mirror.config import ExpressionConfig, FeaturesConfig, SlidesConfig, checked
from mirror.data.expression import ExpressionTable, read_expression
from mirror.data.feature_store import FeatureStore, find_bags
from mirror.data.hdf5 import TileScale
from mirror.data.ledger import Excluded, as_frame
from mirror.data.slide_table import ReadOwners, read_owners, read_slides
from mirror.data.unit_checks import check_units
from mirror.errors import ConfigError, DataError, raise_together
from mirror.evaluation.embed import Bags, OpenBag, as_table, embed_slides
from mirror.ids import SlideId
from mirror.tasks.model_folder import ModelFacts, load_model
from mirror.tasks.trained import FeatureKind, TrainedModel
from mirror.training.device import choose_device
from mirror.types import Progress, silent
from mirror.workflow.hub import find_model

Arrays = Mapping[str, NDArray[np.floating[Any]]]
Device = Literal["auto", "cpu", "cuda"]


def load(path_or_id: str | Path, *, revision: str | None = None, device: Device = "auto") -> LoadedModel:
    """The model in a folder that `mirror export` wrote, or in a repository of the Hugging Face hub.

    Reads safetensors and JSON alone. Raises `MirrorError`s that say what to do.
    """
    folder = find_model(path_or_id, revision=revision)
    facts = folder.read_facts()
    return LoadedModel(load_model(folder), facts, device)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A handed-on model. `facts` are those of its config.json: what it expects, its training set, its scores."""

    trained: TrainedModel
    facts: ModelFacts
    device: Device = "auto"

    def embed(
        self,
        features: str | Path | Arrays | None,
        *,
        patients: str | Path | Mapping[str, str] | None = None,
        expression: str | Path | pd.DataFrame | None = None,
        units: str | None = None,
        genes_in_rows: bool = False,
        without_slide: Literal["leave_out", "keep"] = "leave_out",
        encoder: str | None = None,
        mpp: float | None = None,
        tile_px: int | None = None,
        magnification: float | None = None,
        progress: Progress = silent,
    ) -> anndata.AnnData:
        """Embed slides, and the expression of their patients where there is any; or expression alone.

        `features`: a folder with one feature file a slide, or arrays (T, D) by name of slide; None where there are no
        slides. `without_slide`: whether patients of the expression table who have no slide are left out and listed, or
        kept (without any slides they are), in rows called 'no slide: ' and the patient. `patients`: the
        patient of each slide, as a mapping or a table with the columns `slide_id` and `case_id`; without it each
        slide is its own patient. `expression`: a table, or a file with one, a row a patient and a column a gene
        (`genes_in_rows`: the other way round), in `units`. `encoder`, `mpp` (um/px), `tile_px` and
        `magnification` (nominal, 20 for 20x) say of the features what they do not say themselves.

        Returns an AnnData: obs = slide with `patient` and `role`, obsm = views float32 (N, .) such as `X_slide`,
        `X_expression` and `X_fused`, rows of NaN where a modality is missing, uns = where it comes from and `excluded`,
        what was left out and why. Raises `DataError` for features or units that are not those of the training.
        """
        if features is None:
            given, known = _NO_SLIDES, set[str]()
            if expression is None:
                raise DataError("there is nothing to embed: give features of slides, an expression table, or both")
        else:
            given = _given(features, patients, encoder)
            self.trained.check_fits(_kind(given.kind, encoder, TileScale(mpp, tile_px, magnification)))
            known = set(given.slides["patient"])
        everybody = features is None or without_slide == "keep"
        table, left = _expression(expression, units, genes_in_rows, None if everybody else known)
        lone = () if table is None else tuple(name for name in table.patients if name not in known)
        known |= set(lone)
        profiles = self.trained.profiles(table)
        values = dict(zip(profiles.patients, profiles.values, strict=True)) if profiles is not None else {}
        embedded = embed_slides(
            self.trained.model,
            given.bags,
            given.slides,
            {patient: row for patient, row in values.items() if patient in known},
            device=choose_device(self.device),
            without_slide=lone,
            progress=progress,
        )
        trained_on = self.trained.patients
        other = "unknown" if trained_on is None else "new"
        roles = {patient: "train" if patient in (trained_on or ()) else other for patient in known}
        provenance: dict[str, Any] = {
            "run": self.trained.fingerprint,
            "model": self.trained.source,
            "encoder": given.kind.encoder or encoder or "",
            "preset": self.trained.preset,
            "cohort": fingerprint(given.slides.to_numpy().tolist(), None if table is None else table.content_hash()),
            "missing_genes": " ".join(profiles.missing_genes if profiles is not None else ()),
            "excluded": as_frame([*given.excluded, *left]),
        }
        return as_table(embedded, roles=roles, provenance=provenance)


class _Given(NamedTuple):
    """Slides (columns slide, patient), their bags, what these are, and what was left out."""

    slides: pd.DataFrame
    bags: Bags
    kind: FeatureKind
    excluded: tuple[Excluded, ...]


class _NoBags:
    """The bags of no slides."""

    def bag(self, slide: str) -> OpenBag:
        raise KeyError(slide)


_NO_SLIDES = _Given(pd.DataFrame({"slide": [], "patient": []}, dtype=object), _NoBags(), FeatureKind(0), ())


def _given(
    features: str | Path | Arrays, patients: str | Path | Mapping[str, str] | None, encoder: str | None
) -> _Given:
    if isinstance(features, Mapping):
        return _arrays(features, patients)
    folder = Path(features)
    owners = _owners(list(find_bags(folder, given_as="the folder of features")), patients, str(folder))
    read = read_slides(owners, FeaturesConfig(path=folder, encoder=encoder))
    slides = pd.DataFrame(
        {"slide": [row.slide for row in read.slides], "patient": [row.patient for row in read.slides]}
    )
    store = FeatureStore({row.slide: row.path for row in read.slides}, keep_open=1)
    kind = FeatureKind(read.slides[0].summary.width, read.encoder, read.scale)
    return _Given(slides, store, kind, (*owners.excluded, *read.excluded))


def _arrays(features: Arrays, patients: str | Path | Mapping[str, str] | None) -> _Given:
    problems = [
        f"{name}: shape {array.shape}, expected (tiles, width) with tiles"
        for name, array in features.items()
        if array.ndim != 2 or 0 in array.shape
    ]
    problems += [f"{name}: NaN or infinite values" for name, array in features.items() if not np.isfinite(array).all()]
    if len({array.shape[-1] for array in features.values()}) > 1:
        problems.append("they are of several widths")
    raise_together(DataError, "these arrays are no bags of tile features:", problems)
    if not features:
        raise DataError("there are no slides; give one array a slide, by its name")
    owners = _owners(list(features), patients, "the arrays")
    listed = [name for name in sorted(features) if SlideId(name) in owners.patients]
    strangers = [name for name in sorted(features) if SlideId(name) not in owners.patients]
    left = [Excluded("feature_file", name, "its slide is not in the slide table", "the arrays") for name in strangers]
    if not listed:
        raise DataError(f"none of the slides {', '.join(strangers[:3])} has a patient; name them in `patients`")
    slides = pd.DataFrame({"slide": listed, "patient": [owners.patients[SlideId(name)] for name in listed]})
    width = int(next(iter(features.values())).shape[1])
    return _Given(slides, _InMemory(features), FeatureKind(width), (*owners.excluded, *left))


class _InMemory:
    """Arrays as bags."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def bag(self, slide: str) -> _Array:
        return _Array(self._arrays[slide])


class _Array:
    def __init__(self, array: NDArray[np.floating[Any]]) -> None:
        self._array = array

    def read(self) -> NDArray[np.float32]:
        return self._array.astype(np.float32)


def _owners(names: list[str], patients: str | Path | Mapping[str, str] | None, source: str) -> ReadOwners:
    if patients is None:
        return ReadOwners({SlideId(name): name for name in names}, (), len(names), source)
    if isinstance(patients, Mapping):
        return ReadOwners({SlideId(slide): owner for slide, owner in patients.items()}, (), len(patients), "`patients`")
    return read_owners(SlidesConfig(path=Path(patients)))


def _kind(found: FeatureKind, encoder: str | None, scale: TileScale) -> FeatureKind:
    """What the features say of themselves, and where they do not, what the caller says."""
    told = {name: value for name, value in found.scale._asdict().items() if value is not None}
    return FeatureKind(found.width, found.encoder or encoder, scale._replace(**told))


def _expression(
    given: str | Path | pd.DataFrame | None, units: str | None, genes_in_rows: bool, patients: set[str] | None
) -> tuple[ExpressionTable | None, tuple[Excluded, ...]]:
    if given is None:
        return None, ()
    if not units:
        raise ConfigError(
            "what the expression's numbers are is never guessed; name it in `units`, as the model's card does"
        )
    if not isinstance(given, pd.DataFrame):
        orientation = "genes_in_rows" if genes_in_rows else "patients_in_rows"
        told = {"path": Path(given).resolve(), "orientation": orientation, "units": units}
        config = checked(told, ExpressionConfig, where=Path("the expression"))
        read = read_expression(config, patients=patients)
        return read.table, read.excluded
    rows = given.T if genes_in_rows else given
    source = "the table given"
    twice = [f"'{name}'" for name in (*rows.index[rows.index.duplicated()], *rows.columns[rows.columns.duplicated()])]
    raise_together(DataError, f"{source} has names more than once; keep one of each:", twice)
    values = np.ascontiguousarray(rows.to_numpy(dtype=np.float32))
    if np.isinf(values).any():
        raise DataError(f"{source} has infinite values (a log of zero?); correct or empty them")
    table = ExpressionTable(tuple(map(str, rows.index)), tuple(map(str, rows.columns)), values, units, source)
    check_units(values, units, rows=table.patients, genes=table.genes, source=source)
    strangers = [] if patients is None else [name for name in table.patients if name not in patients]
    return table, tuple(
        Excluded("expression", name, "no slide of this patient was given", source) for name in strangers
    )
