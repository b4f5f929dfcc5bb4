"""Embeddings of a cohort's slides by a trained model: all tiles of a slide, one slide at a time, evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirror.artefacts import SCHEMA
from mirror.data.h5ad import PlainTable, read_plain
from mirror.data.hdf5 import hdf5_aside
from mirror.errors import ArtefactError
from mirror.types import Progress, silent

if TYPE_CHECKING:
    import anndata


class Model(Protocol):
    """What either kind of model offers."""

    @property
    def slide_width(self) -> int: ...
    @property
    def expression_width(self) -> int: ...
    def to(self, device: torch.device, /) -> Self: ...
    def eval(self) -> Self: ...
    def embed_slide(self, tiles_BTD: Tensor, /) -> Tensor: ...
    def embed_expression(self, expression_BG: Tensor, /) -> Tensor: ...
    def views(self, slide_NE: Tensor, expression_NE: Tensor, /) -> dict[str, Tensor]: ...


class OpenBag(Protocol):
    """The tiles of one slide."""

    def read(self) -> NDArray[np.float32]: ...


class Bags(Protocol):
    """The bags of many slides, as `FeatureStore` has them."""

    def bag(self, slide: str, /) -> OpenBag: ...


EmbeddedRows: TypeAlias = "anndata.AnnData | PlainTable"
"""A table of embeddings as readers take it: obs, obsm and uns of an AnnData, whoever read them."""

NO_SLIDE = "no slide: "
"""Begins the name of the row of a patient who has expression alone; the patient's name follows."""


class Embeddings(NamedTuple):
    """Row i of every view is `slides[i]`; rows of a modality that the patient lacks are NaN.

    A patient without a slide has one row, called by `NO_SLIDE`, after all slides.

    `X_slide`, `X_expression`, `X_fused` float32 as the model's `views` says, with what else it has to say; and
    `X_raw_slide` (N, D), the mean tile, where anybody has a slide.
    """

    slides: tuple[str, ...]
    patients: tuple[str, ...]
    views: Mapping[str, NDArray[np.float32]]


@torch.inference_mode()
def embed_slides(
    model: Model,
    store: Bags,
    slides: pd.DataFrame,
    expression: Mapping[str, NDArray[np.float32]],
    *,
    device: torch.device,
    without_slide: Sequence[str] = (),
    progress: Progress = silent,
) -> Embeddings:
    """Embed every row of `slides` (columns slide, patient), then the patients named in `without_slide`.

    `expression` maps a patient to its panel values (G,).

    The embedding does not depend on what else is in the cohort: a bag is never padded or cut, and dropout is off.
    """
    model = model.to(device).eval()
    by_slide: list[NDArray[np.float32]] = []
    raw: list[NDArray[np.float32]] = []
    for number, slide in enumerate(slides["slide"]):
        progress(number, len(slides), "embedding slides")
        tiles = store.bag(slide).read()
        raw.append(tiles.mean(axis=0))
        by_slide.append(model.embed_slide(torch.from_numpy(tiles)[None].to(device))[0].float().cpu().numpy())
    progress(len(slides), len(slides))
    absent = np.full(model.slide_width, np.nan, dtype=np.float32)
    names = (*slides["slide"], *(f"{NO_SLIDE}{patient}" for patient in without_slide))
    patients = (*slides["patient"], *without_slide)
    x_slide = np.stack([*by_slide, *(absent for _ in without_slide)])
    x_raw = np.stack([*raw, *(np.full_like(raw[0], np.nan) for _ in without_slide)]) if raw else None
    by_patient = _embed_expression(model, expression, device=device)
    no_profile = np.full(model.expression_width, np.nan, dtype=np.float32)
    x_expression = np.stack([by_patient.get(patient, no_profile) for patient in patients])
    views = model.views(torch.from_numpy(x_slide).to(device), torch.from_numpy(x_expression).to(device))
    named = {name: view.float().cpu().numpy() for name, view in views.items()}
    return Embeddings(names, patients, named if x_raw is None else {**named, "X_raw_slide": x_raw})


def _embed_expression(
    model: Model, expression: Mapping[str, NDArray[np.float32]], *, device: torch.device, at_once: int = 256
) -> dict[str, NDArray[np.float32]]:
    patients = list(expression)
    result: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(patients), at_once):
        some = patients[start : start + at_once]
        values_BG = torch.from_numpy(np.stack([expression[patient] for patient in some])).to(device)
        embedded = model.embed_expression(values_BG).float().cpu().numpy()
        result.update(zip(some, embedded, strict=True))
    return result


def save_embeddings(
    path: Path, embeddings: Embeddings, *, roles: Mapping[str, str], provenance: Mapping[str, Any]
) -> None:
    """Write what `as_table` gives to an `.h5ad` file."""
    save_table(path, as_table(embeddings, roles=roles, provenance=provenance))


def as_table(embeddings: Embeddings, *, roles: Mapping[str, str], provenance: Mapping[str, Any]) -> anndata.AnnData:
    """An AnnData: obs = slide with its patient and that one's role, obsm = the views, uns = their origin."""
    import anndata

    patients, slides = list(embeddings.patients), list(embeddings.slides)
    obs = pd.DataFrame({"patient": patients, "role": [roles[name] for name in patients]}, index=slides)
    table = anndata.AnnData(obs=obs, uns={"schema": SCHEMA, **provenance})
    for name, view in embeddings.views.items():
        table.obsm[name] = view
    return table


def save_table(path: Path, table: anndata.AnnData) -> None:
    """Write a table of embeddings to an `.h5ad` file in one step."""
    import anndata

    # Through memory, because a disk that fills in the middle of HDF5's own writing ends the process.
    with hdf5_aside(path) as file:
        anndata.io.write_elem(file, "/", table)


def load_embeddings(path: Path) -> anndata.AnnData:
    """Read what `save_embeddings` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
    import anndata

    try:
        table = anndata.read_h5ad(path)
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; run `mirror embed` first") from None
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); delete it and run `mirror embed` again") from error
    if int(table.uns.get("schema", 0)) != SCHEMA:
        raise ArtefactError(f"{path} has another schema than {SCHEMA}; run `mirror embed` again")
    return table


def read_embeddings(path: Path) -> EmbeddedRows:
    """As `load_embeddings`, without anndata, a second of start-up, where it is not needed to read the file."""
    table = read_plain(path)
    if table is None or int(table.uns.get("schema", 0)) != SCHEMA:
        return load_embeddings(path)
    return table
