"""The one training loop. It knows a task and an optimiser, neither the data nor the objective."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mirror.artefacts import write_text
from mirror.errors import ArtefactError, MirrorError
from mirror.seeding import generator_for, stream_seed
from mirror.training.checkpoint import TrainingState, load_state, save_state
from mirror.training.device import autocast
from mirror.types import Progress, Share, silent

Batch = TypeVar("Batch", contravariant=True)


class Task(Protocol[Batch]):
    """A model with its objective."""

    @property
    def model(self) -> nn.Module: ...

    def terms(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Named scalar terms of one batch; `total` is what is minimised. `generator` is on the model's device."""
        ...

    def after_update(self) -> None:
        """What the weights need after each update, such as a clamp."""
        ...


class Batches(Sized, Protocol):
    """The batches of any epoch; the same epoch gives the same batches every time."""

    def epoch(self, number: int) -> Iterable[Any]: ...


class Schedule(NamedTuple):
    """How long, how precisely and with which numbers."""

    epochs: int
    seed: int
    device: torch.device
    precision: str
    checkpoint_seconds: float


class Records(NamedTuple):
    """Where a run leaves its numbers and its state; `fingerprint` names the run the state belongs to."""

    metrics: Path
    state: Path
    fingerprint: str


def train(
    task: Task[Any],
    batches: Batches,
    optimiser: torch.optim.Optimizer,
    *,
    schedule: Schedule,
    records: Records,
    share: Share = Share(),  # noqa: B008 - immutable
    progress: Progress = silent,
) -> list[dict[str, float]]:
    """Train `task` to the last epoch, from the state left behind if there is one, and return each epoch's mean terms.

    An interrupted run ends with the numbers of one that was not: states are written between epochs, and every random
    stream, dropout's included, is seeded by the epoch's number. Of several processes the first one writes them, for
    any number of processes to go on from. Raises `MirrorError` when the loss is not finite.
    """
    state, history = last_state(records)
    done = len(history)
    if state is not None:
        task.model.load_state_dict(state.model)
        optimiser.load_state_dict(state.optimiser)
    written = time.monotonic()
    total_steps = schedule.epochs * len(batches)
    for epoch in range(done, schedule.epochs):
        means = train_epoch(task, batches, optimiser, epoch, schedule, share=share, progress=progress)
        history.append({"epoch": epoch, **means})
        last = epoch + 1 == schedule.epochs
        if share.rank != 0:
            continue
        # A metric file longer than the state is cut back on resuming, so the metrics are always written first.
        write_text(records.metrics, "".join(json.dumps(line) + "\n" for line in history))
        if last or time.monotonic() - written >= schedule.checkpoint_seconds:
            state = TrainingState(epoch + 1, task.model.state_dict(), optimiser.state_dict())
            save_state(records.state, state, fingerprint=records.fingerprint)
            written = time.monotonic()
    if not schedule.epochs and share.rank == 0:
        write_text(records.metrics, "")
    progress(total_steps, total_steps)
    return history


def train_epoch(
    task: Task[Any],
    batches: Batches,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    schedule: Schedule,
    *,
    share: Share = Share(),  # noqa: B008 - immutable
    progress: Progress = silent,
) -> dict[str, float]:
    """One pass over the batches of `epoch`; the mean of each term. Raises `MirrorError` when one is not finite."""
    device = schedule.device
    generator = generator_for(schedule.seed, "draws", epoch, device=device)
    sums: dict[str, Tensor] = {}
    task.model.train()
    # Dropout draws from torch's own generator: it is seeded here by the epoch and given back afterwards. Each rank has
    # a stream of its own: with one of all, rows at the same place of every rank's part would drop the same units.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(stream_seed(schedule.seed, "dropout", epoch, *([share.rank] if share.rank else [])))
        for step, batch in enumerate(batches.epoch(epoch)):
            progress(epoch * len(batches) + step, schedule.epochs * len(batches), f"epoch {epoch + 1}")
            with autocast(device, schedule.precision):  # pyright: ignore[reportArgumentType]
                terms = task.terms(batch, generator=generator)
            optimiser.zero_grad(set_to_none=True)
            terms["total"].backward()
            optimiser.step()
            task.after_update()
            for name, value in terms.items():
                # Summed on the device: reading a number every step would make the host wait for it.
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach().float()
    means = {name: float(value) / len(batches) for name, value in sums.items()}
    if not all(torch.isfinite(value) for value in sums.values()):
        raise MirrorError(
            f"the loss is not finite in epoch {epoch + 1} ({means}); lower `pretraining.learning_rate`, "
            "or set `precision: fp32`"
        )
    return means


def last_state(records: Records) -> tuple[TrainingState | None, list[dict[str, float]]]:
    """The state to go on from, if there is one, and the mean terms of each of its epochs.

    Raises `ArtefactError` when it is damaged or another run's, or its epochs' metrics are not there.
    """
    state = load_state(records.state, fingerprint=records.fingerprint)
    done = 0 if state is None else state.epochs_done
    history = read_metrics(records.metrics)[:done] if done else []
    if len(history) < done:
        raise ArtefactError(
            f"{records.metrics} has fewer epochs than {records.state}; delete both to train this fold from the start"
        )
    return state, history


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The mean terms of each epoch so far. Raises `ArtefactError` when the file is missing or damaged."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; delete {path.parent} to train this fold from the start") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"{path} is damaged ({error}); delete {path.parent} to train this fold from the start"
        ) from error
