"""A model as it is handed on: a folder of safetensors and JSON that says what it expects and how good it was.

The folder has one schema number, in config.json, whatever its files were written from. A newer one is refused with the
version to install; keys that this version does not know are left alone, so that a later version may say more.
Nothing in it can execute code, and nothing in it names a patient unless that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mirror.artefacts import hash_file, write_text
from mirror.data.hdf5 import TileScale
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError
from mirror.tasks.trained import FeatureKind, TrainedModel, built
from mirror.training.checkpoint import load_weights

MODEL_SCHEMA = 1
"""Of config.json and the folder as a whole."""

PACKAGE = "mirror-pathology"
KIND = "mirror model"

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema -> what makes the next one of it. A model outlives the version that wrote it: an old one is read, not
refused."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Expects(_Part):
    """What goes in: tile features (`width` numbers a tile), and expression in `units`, None where it reads none."""

    width: int
    encoder: str | None
    encoder_revisions: tuple[str, ...] = ()
    encoder_licence: str | None = None
    mpp: float | None
    tile_px: int | None
    magnification: float | None = None
    genes: int
    units: str | None


class TrainedOn(_Part):
    """The training set in numbers. `fold` is None for a model of all patients; `names` only where they were wanted."""

    cohort: str
    preset: str
    changed_from_preset: dict[str, Any] = {}
    seed: int | None = None
    fold: int | None = None
    folds: int | None = None
    patients: int
    pairs: int | None = None
    classes: dict[str, int] = {}
    events: int | None = None
    inputs: dict[str, str] = {}
    pooled: tuple[dict[str, int], ...] = ()
    imported_from: str | None = None
    finished: str | None = None
    versions: dict[str, str] = {}
    names: tuple[str, ...] | None = None


class ScoreRow(_Part):
    """A number with its 95 % interval over `patients`; None where it is not defined."""

    representation: str
    protocol: str
    task: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    patients: int


class ModelFacts(_Part):
    """config.json of a handed-on model. `scores_are` says of what, in a sentence."""

    fingerprint: str
    package: dict[str, str]
    files: dict[str, str]
    expects: Expects
    trained_on: TrainedOn
    scores: tuple[ScoreRow, ...]
    scores_are: str
    settings: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The files of a handed-on model. config.json is written last and says that the others are complete."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def panel(self) -> Path:
        return self.path / "panel.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    def write_facts(self, facts: ModelFacts) -> None:
        """Write config.json."""
        content = {"schema": MODEL_SCHEMA, "kind": KIND, **facts.model_dump(mode="json")}
        write_text(self.config, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")

    def read_facts(self) -> ModelFacts:
        """Read config.json. Raises `ArtefactError` when it is missing, damaged, of something else or too new."""
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtefactError(
                f"{self.path} holds no model: there is no config.json; `mirror export` writes one"
            ) from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ArtefactError(f"{self.config} is damaged ({error}); fetch or export the model again") from error
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ArtefactError(f"{self.config} describes no model of this package; `mirror export` writes one")
        return self._validated(_current(content, self.config))

    def _validated(self, content: Mapping[str, Any]) -> ModelFacts:
        try:
            return ModelFacts.model_validate(content)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:5])
            raise ArtefactError(f"{self.config} is damaged (at {where}); fetch or export the model again") from None


def file_hashes(folder: ModelFolder) -> dict[str, str]:
    """File name -> hash of what belongs to the model besides config.json and the card."""
    return {path.name: hash_file(path) for path in (folder.weights, folder.panel) if path.exists()}


def load_model(folder: ModelFolder) -> TrainedModel:
    """Load a handed-on model. Raises `ArtefactError` when a file is missing, damaged or of another model."""
    facts = folder.read_facts()
    found = file_hashes(folder)
    for name, mark in facts.files.items():
        if found.get(name) != mark:
            what = "missing" if name not in found else "damaged, or of another model"
            raise ArtefactError(f"{folder.path / name} is {what}; fetch or export the model again")
    model = built(load_weights(folder.weights), folder.weights)
    has_panel = folder.panel.name in facts.files
    return TrainedModel(
        source=str(folder.path),
        model=model,
        panel=GenePanel.load(folder.panel) if has_panel else None,
        panel_hash=found.get(folder.panel.name, ""),
        fingerprint=facts.fingerprint,
        preset=facts.trained_on.preset,
        features=FeatureKind(model.sizes.tile_dim, facts.expects.encoder, TileScale.of(facts.expects.model_dump())),
        patients=facts.trained_on.names,
    )


def without_names(panel: GenePanel) -> GenePanel:
    """The panel without the patients it was fitted on and its genes were chosen on."""
    chosen = None if panel.selection is None else replace(panel.selection, selected_on=())
    return replace(panel, fitted_on=(), selection=chosen)


def _current(content: dict[str, Any], path: Path) -> dict[str, Any]:
    schema = content.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise ArtefactError(f"{path} has schema {schema}, which never was one; export the model again")
    if schema > MODEL_SCHEMA:
        package = content.get("package")
        writer = package.get("version") if isinstance(package, dict) else None
        least = f"{PACKAGE}>={writer}" if writer else PACKAGE
        raise ArtefactError(
            f"{path} has schema {schema}, written by {PACKAGE} {writer or '(unknown)'}; this is {version(PACKAGE)}, "
            f'which reads schemas up to {MODEL_SCHEMA}: pip install --upgrade "{least}"'
        )
    while schema < MODEL_SCHEMA:
        content = UPGRADES[schema](content)
        schema += 1
    return content
