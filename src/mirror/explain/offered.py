"""Which methods may explain which model: those that were held to a known truth and passed.

A method passes where it finds planted tiles (AUROC of relevance at least 0.9), changes with the weights, and where the
tiles it puts first count for more than others when removed. The figures are those of
`python experiments/explanations_true.py` (docs/log.md); what has none here cannot say anything of that model at all.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mirror.errors import ConfigError
from mirror.explain.relevance import Method, Model, is_linear
from mirror.explain.targets import Target
from mirror.nn.canonical import CanonicalMirror

Kind = Literal["closed form", "pooling network", "token attention"]

PASSED = 0.9
"""AUROC of relevance for planted tiles from which on a method is offered."""


class Figure(NamedTuple):
    """A method on a kind of model and target, and its measured AUROC for planted tiles in features and in slides with
    pixels: of a head on the slide alone, and `fused` on both modalities (nothing where heads have no part). The first
    method that passed both is the default."""

    kind: Kind
    target: str
    method: Method
    planted: tuple[float, ...]
    fused: tuple[float, ...] = ()

    def of(self, representation: str) -> float:
        """The lesser figure for what a head reads."""
        return min(self.fused if representation == "fused" else self.planted, default=np.nan)


MEASURED: tuple[Figure, ...] = (
    Figure("closed form", "class", "pattern", (0.969,), (0.990,)),
    Figure("closed form", "class", "contributions", (0.994,), (0.999,)),
    Figure("closed form", "risk", "pattern", (0.970,), (0.955,)),
    Figure("closed form", "risk", "contributions", (0.994,), (0.972,)),
    Figure("closed form", "agreement", "pattern", (0.999,)),
    Figure("closed form", "agreement", "integrated-gradients", (1.000,)),
    Figure("closed form", "agreement", "attention-gradient", (0.586,)),
    Figure("closed form", "attention", "attention", (0.485,)),
    Figure("pooling network", "class", "pattern", (0.956,), (0.943,)),
    Figure("pooling network", "class", "integrated-gradients", (0.964,), (0.951,)),
    Figure("pooling network", "class", "attention-gradient", (0.958,), (0.945,)),
    Figure("pooling network", "risk", "pattern", (0.977,), (0.990,)),
    Figure("pooling network", "risk", "integrated-gradients", (0.956,), (0.968,)),
    Figure("pooling network", "risk", "attention-gradient", (0.942,), (0.959,)),
    Figure("pooling network", "agreement", "pattern", (0.982,)),
    Figure("pooling network", "agreement", "integrated-gradients", (0.930,)),
    Figure("pooling network", "agreement", "attention-gradient", (0.926,)),
    Figure("pooling network", "attention", "attention", (0.910,)),
    Figure("token attention", "class", "pattern", (0.960,), (0.955,)),
    Figure("token attention", "class", "integrated-gradients", (0.602,), (0.766,)),
    Figure("token attention", "class", "attention-gradient", (0.705,), (0.783,)),
    Figure("token attention", "risk", "pattern", (0.952,), (0.942,)),
    Figure("token attention", "risk", "integrated-gradients", (0.696,), (0.734,)),
    Figure("token attention", "risk", "attention-gradient", (0.795,), (0.801,)),
    Figure("token attention", "agreement", "pattern", (0.854,)),
    Figure("token attention", "agreement", "integrated-gradients", (0.696,)),
    Figure("token attention", "agreement", "attention-gradient", (0.731,)),
    Figure("token attention", "attention", "attention", (0.586,)),
)


def kind_of(model: Model) -> Kind:
    """What a slide's views are made by: the closed form (preset `mirror`), a network that pools tiles
    (`alignment-only`), or token attention (`published`)."""
    if isinstance(model, CanonicalMirror):
        return "pooling network" if model.sizes.start == "none" else "closed form"
    return "token attention"


def default_method(model: Model, target: Target | None) -> Method:
    """The method that explains a target (None: no number in particular) of a model when none is named: the first that
    passed, else the first that was measured."""
    if target is not None and kind_of(model) == "closed form" and not is_linear(model):
        return "integrated-gradients"  # a trained network beside the closed form was not measured
    figures = _figures(model, target)
    passed = [method for method, planted in figures.items() if planted >= PASSED]
    return (passed or list(figures))[0]


def require_offered(model: Model, target: Target | None, method: Method) -> None:
    """Raise `ConfigError` where a method has not passed on a model of this kind, with its figure, or was not measured
    on a network."""
    kind, figures = kind_of(model), _figures(model, target)
    better = [other for other, planted in figures.items() if planted >= PASSED]
    if method in better or (method not in figures and kind == "closed form"):
        return
    found = f"finds planted tiles with an AUROC of {figures[method]:.2f}" if method in figures else "was not measured"
    remedy = f"take {' or '.join(better)}" if better else "no method passed"
    raise ConfigError(
        f"'{method}' is not offered for {_of(target)} of a model by {kind}: it {found}, {PASSED} is asked for "
        f"(docs/explain.md); {remedy}"
    )


def _figures(model: Model, target: Target | None) -> dict[Method, float]:
    """The measured AUROC of each method, in the order of `MEASURED`."""
    kind, name = kind_of(model), _measured_as(target)
    representation = "slide" if target is None else target.representation
    figures = {one.method: one.of(representation) for one in MEASURED if (one.kind, one.target) == (kind, name)}
    return {method: planted for method, planted in figures.items() if not np.isnan(planted)}


def _of(target: Target | None) -> str:
    if target is None:
        return "no number in particular"
    read = " of both modalities" if target.representation == "fused" else ""
    return f"{_measured_as(target)}{read}"


def _measured_as(target: Target | None) -> str:
    if target is None:
        return "attention"
    return target.name if target.name in ("risk", "agreement", "embedding") else "class"
