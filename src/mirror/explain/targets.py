"""What is explained: one number of a patient, as a function of the views in which a model describes the patient.

A class's log-odds and the log hazard are those of heads (`heads.py`).

Legend: N patients, D columns of a view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mirror.config import EvaluationConfig
from mirror.errors import ConfigError
from mirror.evaluation.metrics import Floats
from mirror.evaluation.representations import ALIGNED, LEARNED, PatientTable
from mirror.types import Fold

CLASS = "class:"
"""Begins the target of a class; its name follows."""
RISK = "risk"
AGREEMENT = "agreement"
EMBEDDING = "embedding"
FUSED = "fused"
"""The view of both modalities, which is affine in what the model makes of either."""
_NONE = 1e-9
"""Share of the largest variance below which an axis is one of rounding."""


class Target(Protocol):
    """One number of a patient. `representation` says of what, `fitted_on` by whom (nobody where nothing is fitted)."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def representation(self) -> str: ...
    @property
    def fitted_on(self) -> tuple[str, ...]: ...
    def value(self, views: Mapping[str, Tensor], /) -> Tensor:
        """(N,) float64 of what a model's `views` gave, (N, ...) each; gradients flow."""
        ...

    def held(self, views: Mapping[str, Tensor], /) -> Head:
        """The target as one patient, whose `views` (1, ...) are given, has it: affine in a view."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """`X_<representation> @ weights + offset`: `weights` (D,) and `offset` on the view as the model gives it."""

    name: str
    unit: str
    representation: str
    weights: Floats
    offset: float
    fitted_on: tuple[str, ...]

    @property
    def view(self) -> str:
        """The view that it reads."""
        return f"X_{self.representation}"

    def value(self, views: Mapping[str, Tensor], /) -> Tensor:
        view = views[self.view].double()
        return view @ view.new_tensor(self.weights) + self.offset

    def held(self, _: Mapping[str, Tensor], /) -> Head:
        """Itself: it is the same for everybody."""
        return self


NOTHING_KNOWN: Mapping[str, Head] = {}


@dataclass(frozen=True, slots=True)
class Agreement:
    """The cosine of a patient's slide and expression in the space where the model aligns them; nothing is fitted."""

    name: str = AGREEMENT
    unit: str = "cosine"
    representation: str = ALIGNED
    fitted_on: tuple[str, ...] = ()

    def value(self, views: Mapping[str, Tensor], /) -> Tensor:
        return F.cosine_similarity(views["X_align_slide"].double(), views["X_align_expression"].double(), dim=1)

    def held(self, views: Mapping[str, Tensor], /) -> Head:
        """With the expression and the slide's length held at the patient's own: at the mean tile, where a slide says
        nothing and its direction is undefined, a cosine proper jumps."""
        slide, expression = (views[f"X_align_{name}"].detach().double()[0] for name in ("slide", "expression"))
        along = expression / (expression.norm() * slide.norm())
        return Head(self.name, self.unit, "align_slide", along.cpu().numpy(), 0.0, self.fitted_on)


@dataclass(frozen=True, slots=True)
class Embedding:
    """How far a slide lies from `centre` (D,), the training patients' mean, in the slide representation: the root of
    `away @ metric @ away`.

    `metric` (D, D) is the inverse root of the training patients' covariance: of the squares along its axes each counts
    by one over the axis's deviation. Euclid's distance is that along the widest axes, stain before all, Mahalanobis's
    as much along those that are noise; between them lies the one that finds most planted tiles (docs/log.md).
    """

    centre: Floats
    metric: Floats
    fitted_on: tuple[str, ...]
    name: str = EMBEDDING
    unit: str = "distance from the training patients' mean"
    representation: str = "slide"

    @classmethod
    def of(cls, view_ND: Floats, patients: Sequence[str]) -> Embedding:
        """By the slide representation of the training `patients`, a row each; a direction in which none of them differs
        does not count."""
        centre = view_ND.mean(axis=0)
        away = view_ND - centre
        variances, axes = np.linalg.eigh(away.T @ away / len(away))
        there = variances > _NONE * variances.max(initial=0.0)
        metric = (axes[:, there] / np.sqrt(variances[there])) @ axes[:, there].T
        return cls(centre, metric, tuple(patients))

    def value(self, views: Mapping[str, Tensor], /) -> Tensor:
        view = views["X_slide"].double()
        away = view - view.new_tensor(self.centre)
        return ((away @ view.new_tensor(self.metric)) * away).sum(dim=1).clamp_min(0).sqrt()

    def held(self, views: Mapping[str, Tensor], /) -> Head:
        """Along the direction in which the patient's own slide lies: what makes the slide what it is."""
        view = views["X_slide"].detach().double()[0]
        away = (view - view.new_tensor(self.centre)).cpu().numpy()
        along = self.metric @ away
        along /= max(float(np.sqrt(max(away @ along, 0.0))), 1e-300)
        return Head(self.name, self.unit, self.representation, along, -float(self.centre @ along), self.fitted_on)


def target_names(table: PatientTable) -> tuple[str, ...]:
    """Every target that the outcomes and views of `table` allow: classes, risk, agreement."""
    present = {label for label in table.labels if label in table.classes}
    classes = [f"{CLASS}{name}" for name in table.classes] if len(present) > 1 else []
    risk = [RISK] if not np.isnan(table.time).all() else []
    agreement = [AGREEMENT] if {"align_slide", "align_expression"} <= set(table.views) else []
    return (*classes, *risk, *agreement)


def distinct_targets(table: PatientTable) -> tuple[str, ...]:
    """`target_names`, but of two classes the second alone: the other's log-odds are the same with the other sign."""
    names = target_names(table)
    classes = [name for name in names if name.startswith(CLASS)]
    return tuple(name for name in names if len(classes) != 2 or name != classes[0])


def require_known(names: Sequence[str], there: Sequence[str]) -> None:
    """Raises `ConfigError` for `names` that are not of the targets that are `there`."""
    strange = [name for name in names if name not in there]
    if strange:
        raise ConfigError(f"there is no target {', '.join(strange)} in this cohort; there are {', '.join(there)}")


def fit_targets(
    names: Sequence[str],
    representation: str,
    table: PatientTable,
    fold: Fold,
    config: EvaluationConfig,
    *,
    seed: int,
    known: Mapping[str, Head] = NOTHING_KNOWN,
) -> list[Target]:
    """The targets `names`, `EMBEDDING` among them, those with a head fitted on `representation` (of `LEARNED`) of the
    fold's training patients, unless it is `known`.

    Raises `ConfigError` for a target or representation that this cohort does not have, `DataError` where the fold has
    too few patients to fit a head on.
    """
    there = (*target_names(table), EMBEDDING)
    if representation not in LEARNED:
        raise ConfigError(f"'{representation}' is no view of a model; explain one of {', '.join(LEARNED)}")
    require_known(names, there)
    found: dict[str, Target] = {**known, AGREEMENT: Agreement()}
    if EMBEDDING in names:
        found[EMBEDDING] = _embedding(table, fold)
    unknown = [name for name in names if name not in found]
    if unknown:
        from mirror.explain.heads import fit_heads  # a second of start-up that only who fits them pays

        found |= fit_heads(unknown, representation, table, fold, config, seed=seed)
    return [found[name] for name in names]


def _embedding(table: PatientTable, fold: Fold) -> Embedding:
    patients = sorted(fold.train)
    view = table.views["slide"][table.rows(patients)]
    known = ~np.isnan(view).any(axis=1)
    return Embedding.of(view[known], tuple(np.array(patients)[known].tolist()))
