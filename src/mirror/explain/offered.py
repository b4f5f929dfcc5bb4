"""Which methods may explain which model: those that were held to a known truth and passed.

A method passes where it finds planted tiles (AUROC of relevance at least 0.9), and where in every cohort it changes
with the weights and removing the tiles it puts first costs the number more than removing others. The figures are those
of `python experiments/explanations_true.py` (docs/log.md); what has none here cannot say anything of that model at all.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from mirror.config import ModelConfig, PublishedModelConfig
from mirror.explain.relevance import Method, Model, is_linear
from mirror.explain.targets import Target
from mirror.nn.canonical import CanonicalMirror

Kind = Literal["closed form", "pooling network", "token attention", "Nystrom attention"]

PASSED = 0.9
"""AUROC of relevance for planted tiles from which on a method is offered."""
SAME = 0.9
"""Rank correlation with the relevance of a model whose weights are all random, from which on it counts as the same."""
FEWEST, MOST = 191, 400
"""Training patients on whom heads were fitted in the exams' cohorts with pixels."""
COHORTS = 7
"""In both exams together."""


class Figure(NamedTuple):
    """A method on a kind of model and target, and its measured AUROC for planted tiles in features and in slides with
    pixels: of a head on the slide alone, and `fused` on both modalities (nothing where heads have no part). The rest is
    of heads on the slide and on both: `left`, the largest rank correlation in any cohort that is left when all weights
    are random, and `costless`, in how many of `COHORTS` removing its first tiles was not shown to cost more than
    removing others (Wilcoxon's p is 0.05 or more). The first method that passed is the default."""

    kind: Kind
    target: str
    method: Method
    planted: tuple[float, ...]
    fused: tuple[float, ...] = ()
    left: tuple[float, ...] = ()
    costless: tuple[int, int] = (0, 0)

    def of(self, representation: str) -> float:
        """The lesser figure for what a head reads."""
        return min(self.fused if representation == "fused" else self.planted)

    def reason(self, representation: str) -> str | None:
        """Why it is not offered for what a head reads; None where it passed."""
        found = self.of(representation)
        if found < PASSED:
            return f"finds planted tiles with an AUROC of {found:.3f}, {PASSED} is asked for"
        both = representation == "fused"
        if self.left[both] >= SAME:
            return f"hardly changes with the weights: a rank correlation of {self.left[both]:.2f} is left without them"
        costless = self.costless[both]
        if costless:
            return (
                f"puts tiles first whose removal costs no more than that of others in {costless} of {COHORTS} "
                "simulated cohorts"
            )
        return None


MEASURED: tuple[Figure, ...] = (
    Figure("closed form", "class", "pattern", (0.969, 0.893), (0.990, 0.906), left=(0.62, 0.67)),
    Figure("closed form", "class", "contributions", (0.994, 0.712), (0.999, 0.705), left=(0.50, 0.62)),
    Figure("closed form", "risk", "pattern", (0.970, 0.913), (0.955, 0.920), left=(0.68, 0.74)),
    Figure("closed form", "risk", "contributions", (0.994, 0.760), (0.972, 0.778), left=(0.48, 0.51)),
    Figure("closed form", "agreement", "pattern", (0.999, 0.927), left=(0.61,)),
    Figure("closed form", "agreement", "integrated-gradients", (1.000, 0.765), left=(0.62,)),
    Figure("closed form", "agreement", "attention-gradient", (0.586, 0.652), left=(0.55,)),
    Figure("closed form", "embedding", "pattern", (0.990, 0.910), left=(0.80,)),
    Figure("closed form", "embedding", "integrated-gradients", (0.991, 0.684), left=(0.62,)),
    Figure("closed form", "embedding", "attention-gradient", (0.500, 0.500), left=(0.00,)),
    Figure("closed form", "attention", "attention", (0.485, 0.895), left=(0.63,)),
    Figure("pooling network", "class", "pattern", (0.956, 0.912), (0.943, 0.893), left=(0.66, 0.69)),
    Figure("pooling network", "class", "integrated-gradients", (0.964, 0.825), (0.951, 0.791), left=(0.52, 0.48)),
    Figure("pooling network", "class", "attention-gradient", (0.958, 0.772), (0.945, 0.735), left=(0.75, 0.64)),
    Figure("pooling network", "risk", "pattern", (0.977, 0.891), (0.990, 0.849), left=(0.86, 0.80)),
    Figure("pooling network", "risk", "integrated-gradients", (0.956, 0.718), (0.968, 0.692), left=(0.73, 0.69)),
    Figure("pooling network", "risk", "attention-gradient", (0.942, 0.671), (0.959, 0.649), left=(0.79, 0.72)),
    Figure("pooling network", "agreement", "pattern", (0.982, 0.858), left=(0.72,)),
    Figure("pooling network", "agreement", "integrated-gradients", (0.930, 0.805), left=(0.59,)),
    Figure("pooling network", "agreement", "attention-gradient", (0.926, 0.753), left=(0.61,)),
    Figure("pooling network", "embedding", "pattern", (0.987, 0.926), left=(0.81,)),
    Figure("pooling network", "embedding", "integrated-gradients", (0.981, 0.796), left=(0.76,)),
    Figure("pooling network", "embedding", "attention-gradient", (0.972, 0.721), left=(0.77,)),
    Figure("pooling network", "attention", "attention", (0.910, 0.967), left=(0.59,)),
    Figure("token attention", "class", "pattern", (0.960, 0.874), (0.955, 0.850), left=(0.69, 0.85), costless=(0, 1)),
    Figure("token attention", "class", "integrated-gradients", (0.602, 0.705), (0.766, 0.740), left=(0.29, 0.42)),
    Figure("token attention", "class", "attention-gradient", (0.705, 0.493), (0.783, 0.507), left=(0.36, 0.24)),
    Figure("token attention", "risk", "pattern", (0.952, 0.935), (0.942, 0.781), left=(0.73, 0.95), costless=(2, 1)),
    Figure("token attention", "risk", "integrated-gradients", (0.696, 0.657), (0.734, 0.601), left=(0.22, 0.36)),
    Figure("token attention", "risk", "attention-gradient", (0.795, 0.495), (0.801, 0.508), left=(0.44, 0.37)),
    Figure("token attention", "agreement", "pattern", (0.854, 0.808), left=(0.83,), costless=(1, 0)),
    Figure("token attention", "agreement", "integrated-gradients", (0.696, 0.717), left=(0.39,)),
    Figure("token attention", "agreement", "attention-gradient", (0.731, 0.493), left=(0.30,)),
    Figure("token attention", "embedding", "pattern", (0.875, 0.939), left=(0.96,), costless=(7, 0)),
    Figure("token attention", "embedding", "integrated-gradients", (0.370, 0.756), left=(0.34,)),
    Figure("token attention", "embedding", "attention-gradient", (0.317, 0.491), left=(0.24,)),
    Figure("token attention", "attention", "attention", (0.586, 0.937), left=(0.35,)),
    Figure("Nystrom attention", "class", "pattern", (0.956, 0.876), (0.966, 0.848), left=(0.69, 0.70), costless=(0, 1)),
    Figure("Nystrom attention", "risk", "pattern", (0.938, 0.930), (0.935, 0.775), left=(0.84, 0.72), costless=(1, 0)),
    Figure("Nystrom attention", "agreement", "pattern", (0.837, 0.804), left=(0.86,), costless=(1, 0)),
    Figure("Nystrom attention", "embedding", "pattern", (0.867, 0.937), left=(0.96,), costless=(7, 0)),
    Figure("Nystrom attention", "attention", "attention", (0.633, 0.930), left=(0.50,)),
)


def kind_of(model: Model) -> Kind:
    """What a slide's views are made by: the closed form (preset `mirror`), a network that pools tiles
    (`alignment-only`), or token attention, exact or where it may be Nystrom's (`published`)."""
    if isinstance(model, CanonicalMirror):
        return "closed form" if is_linear(model) else "pooling network"
    return "token attention" if model.sizes.attention == "exact" else "Nystrom attention"


def kind_told(settings: ModelConfig) -> Kind:
    """As `kind_of`, of the models that are trained by these settings."""
    if isinstance(settings, PublishedModelConfig):
        return "token attention" if settings.attention == "exact" else "Nystrom attention"
    return "closed form" if settings.correction == 0 else "pooling network"


def anything_offered(kind: Kind) -> bool:
    """True where some method has passed for a target of models of this kind, of one modality or of both."""
    own = [one for one in MEASURED if one.kind == kind]
    return any(one.reason("slide") is None or (bool(one.fused) and one.reason("fused") is None) for one in own)


def default_method(model: Model, target: Target | None) -> Method:
    """The method that explains a target (None: no number in particular) of a model when none is named: the first that
    passed, else the first that was measured."""
    figures = _figures(model, target)
    representation = _read_by(target)
    return next((one for one in figures if one.reason(representation) is None), figures[0]).method


def why_not(model: Model, target: Target | None, method: Method) -> str | None:
    """The reason, with its figure, why a method is not offered for a model of this kind; None where it is."""
    figures, representation = _figures(model, target), _read_by(target)
    better = [one.method for one in figures if one.reason(representation) is None]
    if method in better:
        return None
    measured = next((one for one in figures if one.method == method), None)
    found = "was not measured" if measured is None else measured.reason(representation)
    remedy = f"take {' or '.join(better)}" if better else "no method passed"
    return (
        f"'{method}' is not offered {_of(target)} a model by {kind_of(model)}: it {found} (docs/explain.md); {remedy}"
    )


def _figures(model: Model, target: Target | None) -> list[Figure]:
    """Those of a kind of model and target, in the order of `MEASURED`."""
    measured = kind_of(model), _measured_as(target)
    return [one for one in MEASURED if (one.kind, one.target) == measured]


def _read_by(target: Target | None) -> str:
    return "slide" if target is None else target.representation


def _of(target: Target | None) -> str:
    if target is None:
        return "for"
    name = _measured_as(target)
    read = {"fused": " of both modalities", "slide": " of the slide alone"} if name in ("class", "risk") else {}
    return f"for {name}{read.get(target.representation, '')} of"


def _measured_as(target: Target | None) -> str:
    if target is None:
        return "attention"
    return target.name if target.name in ("risk", "agreement", "embedding") else "class"
