"""The prototypes of a run, where its model has learned any."""

from __future__ import annotations

from mirror.config import CanonicalModelConfig, Config
from mirror.evaluation.metrics import Floats
from mirror.training.checkpoint import load_weights
from mirror.training.runs import RunFolder


def learned_directions(config: Config, run: RunFolder) -> Floats | None:
    """(P, K) in the space of the aligned views; None where `why_none` says why there are none."""
    if why_none(config) is not None:
        return None
    directions = load_weights(run.weights).tensors.get("prototypes.weight")
    return None if directions is None else directions.double().numpy()


def why_none(config: Config) -> str | None:
    """The reason why the models of a configuration have no prototypes to speak of, or None where they have."""
    if config.pretraining.weights.cluster == 0:
        return "their weight in the objective (`pretraining.weights.cluster`) is 0, so they were never learned"
    if not isinstance(config.model, CanonicalModelConfig):
        return "those of the published model score a code that is drawn at random, not an embedding"
    return None
