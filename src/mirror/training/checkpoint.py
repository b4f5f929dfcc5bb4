"""Weights that anyone may load, and the state from which an interrupted run goes on. Neither can execute code."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mirror.artefacts import SCHEMA, write_aside
from mirror.errors import ArtefactError


class TrainingState(NamedTuple):
    """Everything the next epoch needs. Random streams are named by epoch, so no generator state belongs to it."""

    epochs_done: int
    model: dict[str, Tensor]
    optimiser: dict[str, Any]


class Weights(NamedTuple):
    """Weights by name, and the sizes that the model is to be built with."""

    tensors: dict[str, Tensor]
    sizes: dict[str, Any]


def save_weights(path: Path, tensors: Mapping[str, Tensor], *, sizes: Mapping[str, Any]) -> None:
    """Write weights as safetensors with `sizes` in the header."""
    metadata = {"schema": str(SCHEMA), "sizes": json.dumps(dict(sizes))}
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Through memory, here and below: these libraries answer a full disk with errors of their own in the middle of it.
    with write_aside(path) as aside:
        aside.write_bytes(save(own, metadata))


def load_weights(path: Path) -> Weights:
    """Read what `save_weights` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != str(SCHEMA):
                raise ArtefactError(
                    f"{path} has schema {metadata.get('schema', 'none')}, this version reads {SCHEMA}; "
                    "bring a checkpoint of the authors' code in with `mirror import-weights`"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; run `mirror pretrain` first") from None
    except SafetensorError as error:
        raise ArtefactError(f"{path} is damaged ({error}); delete it and run `mirror pretrain` again") from error
    return Weights(tensors, json.loads(metadata["sizes"]))


def save_state(path: Path, state: TrainingState, *, fingerprint: str) -> None:
    """Write the state of a run that `fingerprint` identifies."""
    image = io.BytesIO()
    torch.save({"schema": SCHEMA, "fingerprint": fingerprint, **state._asdict()}, image)
    with write_aside(path) as aside:
        aside.write_bytes(image.getbuffer())


def load_state(path: Path, *, fingerprint: str) -> TrainingState | None:
    """The state at `path`, or None where there is none. Raises `ArtefactError` when it is damaged or another run's."""
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); delete it to train this fold from the start") from error
    if content.get("schema") != SCHEMA or content.get("fingerprint") != fingerprint:
        raise ArtefactError(
            f"{path} belongs to a run with other settings or data; train with --overwrite, or choose another `output`"
        )
    return TrainingState(content["epochs_done"], content["model"], content["optimiser"])
