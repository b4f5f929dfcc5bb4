"""Training on labels or survival, and stopping in time: patients held back from the training half say when.

Nothing is seen of the fold's test half. Of the training patients one part is watched and not trained on; the weights
kept are those of the epoch in which the watched patients' loss was least.

Legend: B patients, C outputs (classes, or intervals of time).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mirror.config import SupervisedConfig
from mirror.data.patient_bags import PatientBags
from mirror.data.splits import inner_folds
from mirror.losses.survival import survival_loss
from mirror.nn.supervised import Pretrained, SupervisedModel
from mirror.seeding import generator_for, stream_seed
from mirror.training.loop import Schedule, train_epoch
from mirror.types import Fold, Progress, silent


@dataclass(frozen=True)
class Outcome:
    """What is known of N `patients`: class or interval of time, 0 ... C - 1, as `target` (N,); `event` (N,), of
    survival only."""

    task: Literal["subtyping", "survival"]
    patients: tuple[str, ...]
    target: NDArray[np.int64]
    event: NDArray[np.bool_]
    outputs: int

    def of(self, patients: Sequence[str]) -> Outcome:
        """The same of some of the patients, in their order."""
        place = {patient: row for row, patient in enumerate(self.patients)}
        rows = [place[patient] for patient in patients]
        return Outcome(self.task, tuple(patients), self.target[rows], self.event[rows], self.outputs)

    def strata(self) -> dict[str, str]:
        """Patient -> what held-back patients are stratified by: the class, or whether the event happened."""
        told = self.target if self.task == "subtyping" else self.event
        return {patient: str(value) for patient, value in zip(self.patients, told, strict=True)}


class Inputs(NamedTuple):
    """Bags and profiles, and which of them a model reads; `genes` G, 0 where it reads none."""

    bags: PatientBags
    reads_slides: bool
    reads_expression: bool
    tile_dim: int
    genes: int


class LabelledBatch(NamedTuple):
    """Drawn tiles (B, T, D), profiles (B, G), either with no columns where it is not read; class or interval, event."""

    tiles_BTD: Tensor
    expression_BG: Tensor
    target_B: Tensor
    event_B: Tensor


class LabelledBatches:
    """The patients of an outcome, shuffled anew each epoch."""

    def __init__(self, outcome: Outcome, inputs: Inputs, settings: SupervisedConfig, *, seed: int) -> None:
        self._outcome, self._inputs, self._settings, self._seed = outcome, inputs, settings, seed

    def __len__(self) -> int:
        return -(-len(self._outcome.patients) // self._settings.batch)

    def epoch(self, number: int) -> Iterator[LabelledBatch]:
        """The batches of epoch `number`, which depend on nothing but the seed and that number."""
        patients = self._outcome.patients
        order = torch.randperm(len(patients), generator=generator_for(self._seed, "order", number)).tolist()
        for start in range(0, len(order), self._settings.batch):
            yield self._batch([patients[place] for place in order[start : start + self._settings.batch]], number)

    def _batch(self, patients: list[str], epoch: int) -> LabelledBatch:
        inputs, known = self._inputs, self._outcome.of(patients)
        tiles = torch.zeros(len(patients), 1, inputs.tile_dim)
        if inputs.reads_slides:
            tiles = inputs.bags.drawn(patients, tiles=self._settings.tiles, epoch=epoch)
        genes = inputs.bags.profile(patients) if inputs.reads_expression else torch.zeros(len(patients), 0)
        return LabelledBatch(tiles, genes, torch.from_numpy(known.target), torch.from_numpy(known.event))


class SupervisedTask:
    """The task that the loop trains: classes of equal weight, as in the probes, or discrete-time hazards."""

    def __init__(self, model: SupervisedModel, outcome: Outcome, *, device: torch.device) -> None:
        self.model, self._task = model, outcome.task
        counts = np.bincount(outcome.target, minlength=outcome.outputs)
        balance = len(outcome.target) / (outcome.outputs * np.maximum(counts, 1))
        self._weight_C = torch.from_numpy(balance).float().to(device)

    def terms(self, batch: LabelledBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of one batch as `total`."""
        device = generator.device
        logits_BC = self.model(batch.tiles_BTD.to(device), batch.expression_BG.to(device))
        return {"total": self.loss(logits_BC, batch.target_B.to(device), batch.event_B.to(device))}

    def loss(self, logits_BC: Tensor, target_B: Tensor, event_B: Tensor) -> Tensor:
        """Mean over patients, a scalar."""
        if self._task == "survival":
            return survival_loss(logits_BC, target_B, event_B)
        # Summed over patients by hand: torch divides by the weights of the batch, and so forgets their balance.
        return (F.cross_entropy(logits_BC, target_B, reduction="none") * self._weight_C[target_B]).mean()

    def after_update(self) -> None:
        """Nothing has to be kept in range."""


class Stopped(NamedTuple):
    """Which patients said when to stop, the epoch whose weights are kept (from 1), and the watched loss by epoch."""

    watched: tuple[str, ...]
    epoch: int
    losses: tuple[float, ...]


def fit_and_stop(
    model: SupervisedModel,
    outcome: Outcome,
    inputs: Inputs,
    settings: SupervisedConfig,
    *,
    seed: int,
    device: torch.device,
    progress: Progress = silent,
) -> Stopped:
    """Train `model`, in place, on the patients of `outcome` (all of the training half) but for those who are watched.

    One part in `settings.parts` is watched, stratified by class or event. Training ends after `settings.patience`
    epochs without a lower loss of theirs, or after `settings.epochs`.
    """
    part = _held_back(outcome, settings, seed)
    watched, trained = outcome.of(part.test), outcome.of(part.train)
    task = SupervisedTask(model, trained, device=device)
    batches = LabelledBatches(trained, inputs, settings, seed=seed)
    start_at_rates(model, trained)
    schedule = Schedule(settings.epochs, seed, device, "fp32", 0.0)
    optimiser = torch.optim.AdamW(_groups(model, settings), weight_decay=settings.weight_decay)
    target, event = (torch.from_numpy(known).to(device) for known in (watched.target, watched.event))
    losses: list[float] = []
    best: dict[str, Tensor] = {}
    for epoch in range(settings.epochs):
        train_epoch(task, batches, optimiser, epoch, schedule, progress=progress)
        with torch.no_grad():
            losses.append(
                float(task.loss(predict_logits(model, inputs, watched.patients, device=device), target, event))
            )
        since = len(losses) - 1 - losses.index(min(losses))
        if not since:
            best = copy.deepcopy(model.state_dict())
        if since >= settings.patience:
            break
    model.load_state_dict(best)
    progress(1, 1)
    return Stopped(part.test, losses.index(min(losses)) + 1, tuple(losses))


@torch.no_grad()
def start_at_rates(model: SupervisedModel, outcome: Outcome) -> None:
    """Intercepts of a survival model at the hazards of its patients as a whole: a search for them would cost epochs."""
    if outcome.task == "survival":
        steps = np.arange(outcome.outputs)
        reached = (outcome.target[:, None] >= steps).sum(axis=0)
        happened = ((outcome.target[:, None] == steps) & outcome.event[:, None]).sum(axis=0)
        rate = (happened + 0.5) / (reached + 1.0)  # finite where all or none of those who reached it have the event
        model.head.bias.copy_(torch.from_numpy(np.log(rate) - np.log1p(-rate)))


def predict_logits(model: SupervisedModel, inputs: Inputs, patients: Sequence[str], *, device: torch.device) -> Tensor:
    """(N, C) in evaluation mode from all tiles: of several slides of a patient the mean of their logits."""
    return _by_patient(model, model.forward, inputs, patients, device)


def encoded_columns(model: SupervisedModel, inputs: Inputs, patients: Sequence[str], *, device: torch.device) -> Tensor:
    """(N, E): what the linear layer sees of patients, as `predict_logits` reads them."""
    return _by_patient(model, model.columns, inputs, patients, device)


@torch.no_grad()
def _by_patient(
    model: SupervisedModel,
    compute: Callable[[Tensor, Tensor], Tensor],
    inputs: Inputs,
    patients: Sequence[str],
    device: torch.device,
) -> Tensor:
    model.eval()
    genes = inputs.bags.profile(patients) if inputs.reads_expression else torch.zeros(len(patients), 0)
    genes = genes.to(device)
    if not inputs.reads_slides:
        return compute(torch.zeros(len(patients), 1, inputs.tile_dim, device=device), genes)
    rows = [
        torch.cat([compute(bag.to(device), genes[row : row + 1]) for bag in inputs.bags.whole(patient)]).mean(dim=0)
        for row, patient in enumerate(patients)
    ]
    return torch.stack(rows)


def _held_back(outcome: Outcome, settings: SupervisedConfig, seed: int) -> Fold:
    """The patients to train on, and as its test half those who are watched."""
    return inner_folds(outcome.strata(), count=settings.parts, seed=stream_seed(seed, "watched"))[0]


def _groups(model: SupervisedModel, settings: SupervisedConfig) -> list[dict[str, Any]]:
    """Parameters with their learning rates: what is pretrained moves slowly."""
    tuned = isinstance(model.encoder, Pretrained)
    encoder = {"lr": settings.fine_tuning_rate if tuned else settings.learning_rate}
    groups = [
        {"params": list(model.encoder.parameters()), **encoder},
        {"params": list(model.head.parameters()), "lr": settings.learning_rate},
    ]
    return [group for group in groups if group["params"]]
