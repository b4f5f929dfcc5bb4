"""A trained model, loaded for use: from the run that trained it, or from the folder in which it was handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mirror.artefacts import hash_file
from mirror.data.cohort import Cohort
from mirror.data.expression import ExpressionTable
from mirror.data.hdf5 import UNTOLD, TileScale
from mirror.data.panel import AppliedPanel, GenePanel, apply
from mirror.data.slide_table import same_mpp
from mirror.errors import ArtefactError, DataError, raise_together
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes
from mirror.nn.mirror import Mirror, MirrorSizes
from mirror.training.checkpoint import Weights, load_weights
from mirror.training.runs import RunFolder


class FeatureKind(NamedTuple):
    """What tile features are: numbers a tile, encoder and scale, the latter two as far as they are known."""

    width: int
    encoder: str | None = None
    scale: TileScale = UNTOLD

    @classmethod
    def of(cls, cohort: Cohort) -> FeatureKind:
        """The kind of a cohort's features."""
        return cls(cohort.feature_dim, cohort.encoder, TileScale.of(cohort.facts.get("tiles")))


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`source` says where it was loaded from; `panel` is None in a run imported without a gene list: it embeds slides,
    not expression. `patients` are those it was trained on, None where it does not name them."""

    source: str
    model: Mirror | CanonicalMirror
    panel: GenePanel | None
    panel_hash: str
    fingerprint: str
    preset: str
    features: FeatureKind
    patients: tuple[str, ...] | None

    def profiles(self, table: ExpressionTable | None) -> AppliedPanel | None:
        """A table's expression as this model reads it, or None when there is none or the model reads none.

        Raises `DataError` when the units differ or no gene is shared.
        """
        if table is None or self.panel is None:
            return None
        return apply(self.panel, table, table.patients)

    def check_fits(self, given: FeatureKind) -> None:
        """Raise one `DataError` when tile features are not of the kind this model was trained on.

        What either side does not say is taken on trust; the width always counts.
        """
        known = self.features
        problems: list[str] = []
        if given.width != known.width:
            problems.append(
                f"they have width {given.width}, the model reads {known.width}; extract them with the encoder it was "
                f"trained on ({known.encoder or 'not recorded'})"
            )
        if known.encoder and given.encoder and known.encoder != given.encoder:
            problems.append(
                f"they come from '{given.encoder}', the model was trained on '{known.encoder}'; features of another "
                "encoder mean something else even where the width is the same: extract them with that one"
            )
        mpp, px, power = zip(known.scale, given.scale, strict=True)
        if mpp[0] and mpp[1] and not same_mpp(mpp[0], mpp[1]):
            problems.append(
                f"their encoder saw {mpp[1]:g} um/px, the model was trained at {mpp[0]:g} um/px; extract them at that "
                "resolution (`mpp` of `mirror slides`)"
            )
        if px[0] and px[1] and px[0] != px[1]:
            problems.append(
                f"their tiles are {px[1]} px wide, the model was trained on tiles of {px[0]} px; extract them "
                "with that size (`tile_px` of `mirror slides`)"
            )
        if power[0] and power[1] and power[0] != power[1]:
            problems.append(
                f"their tiles are of {power[1]:g}x, as the files say, the model was trained on tiles of {power[0]:g}x; "
                "extract them at that magnification"
            )
        raise_together(DataError, f"the tile features do not fit the model of {self.source}:", problems)


def load_trained(run: RunFolder) -> TrainedModel:
    """Load a finished run. Raises `ArtefactError` when it is not finished, or its files do not belong together."""
    record = run.read_record()
    weights = load_weights(run.weights)
    model = built(weights, run.weights)
    if not run.panel.exists() and "imported_from" not in record:
        raise ArtefactError(f"{run.panel} is missing; run `mirror pretrain` again, which writes it anew")
    return TrainedModel(
        source=str(run.path),
        model=model,
        panel=GenePanel.load(run.panel) if run.panel.exists() else None,
        panel_hash=hash_file(run.panel) if run.panel.exists() else "",
        fingerprint=str(record["fingerprint"]),
        preset=str(record["preset"]),
        features=FeatureKind(model.sizes.tile_dim, record.get("encoder"), TileScale.of(record.get("tiles"))),
        patients=tuple(record["patients"]),
    )


def built(weights: Weights, path: Path) -> Mirror | CanonicalMirror:
    """The model that a file of weights describes, in evaluation mode. Raises `ArtefactError` when they do not fit."""
    try:
        model = _of_sizes(weights.sizes)
        model.load_state_dict(dict[str, Tensor](weights.tensors))
    except (TypeError, RuntimeError) as error:
        raise ArtefactError(f"{path} does not hold a model of this version: {error}") from error
    return model.eval()


def _of_sizes(sizes: Mapping[str, Any]) -> Mirror | CanonicalMirror:
    own = {name: value for name, value in sizes.items() if name != "kind"}
    canonical = sizes.get("kind", "published") == "canonical"
    return CanonicalMirror(CanonicalSizes(**own)) if canonical else Mirror(MirrorSizes(**own))
