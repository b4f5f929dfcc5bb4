"""A finished run, loaded for use: its model, its gene panel and what its record says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mirror.data.cohort import Cohort
from mirror.data.panel import AppliedPanel, GenePanel, apply
from mirror.errors import ArtefactError, DataError
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes
from mirror.nn.mirror import Mirror, MirrorSizes
from mirror.training.checkpoint import load_weights
from mirror.training.runs import RunFolder


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`panel` is None in a run imported without a gene list: it embeds slides, not expression."""

    run: RunFolder
    model: Mirror | CanonicalMirror
    panel: GenePanel | None
    record: dict[str, Any]

    def profiles(self, cohort: Cohort) -> AppliedPanel | None:
        """The cohort's expression as this model reads it, or None when the cohort or the model has none.

        Raises `DataError` when the units differ or no gene is shared.
        """
        if cohort.expression is None or self.panel is None:
            return None
        return apply(self.panel, cohort.expression, cohort.expression.patients)

    def check_fits(self, cohort: Cohort) -> None:
        """Raise `DataError` when the cohort's tile features are not of the kind this model was trained on."""
        if cohort.feature_dim != self.model.sizes.tile_dim:
            raise DataError(
                f"the cohort's tile features have width {cohort.feature_dim}, the model of {self.run.path} reads "
                f"{self.model.sizes.tile_dim}; extract them with the encoder it was trained on "
                f"({self.record.get('encoder') or 'not recorded'})"
            )
        known, given = self.record.get("encoder"), cohort.encoder
        if known and given and known != given:
            raise DataError(
                f"the cohort's tile features come from '{given}', the model of {self.run.path} was trained on "
                f"'{known}'; features of another encoder mean something else even where the width is the same"
            )


def load_trained(run: RunFolder) -> TrainedModel:
    """Load a finished run. Raises `ArtefactError` when it is not finished, or its files do not belong together."""
    record = run.read_record()
    weights = load_weights(run.weights)
    try:
        sizes = dict(weights.sizes)
        canonical = sizes.pop("kind", "published") == "canonical"
        model = CanonicalMirror(CanonicalSizes(**sizes)) if canonical else Mirror(MirrorSizes(**sizes))
        model.load_state_dict(weights.tensors)
    except (TypeError, RuntimeError) as error:
        raise ArtefactError(f"{run.weights} does not hold a model of this version: {error}") from error
    if not run.panel.exists() and "imported_from" not in record:
        raise ArtefactError(f"{run.panel} is missing; run `mirror pretrain` again, which writes it anew")
    return TrainedModel(run, model.eval(), GenePanel.load(run.panel) if run.panel.exists() else None, record)
