"""Which genes a number of a patient comes from: a signed contribution of every gene of the panel.

Contributions of a patient add up to the target's value less its value at the training patients' mean profile. Where the
view is affine in the panel, as what the default preset gives to heads, a gene's contribution is its distance from that
mean times the target's slope, exactly. Elsewhere it is integrated gradients from that mean (Sundararajan et al., 2017),
by captum.

Legend: N patients, G genes of the panel, U columns of a slide's embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mirror.errors import ConfigError
from mirror.evaluation.metrics import Floats
from mirror.explain.gene_effect import gene_effects
from mirror.explain.relevance import Model, is_affine
from mirror.explain.targets import Agreement, Target

Method = Literal["exact", "integrated gradients"]

STEPS = 64
"""Points of the Gauss-Legendre rule on the way from the mean profile; `GeneContributions.error` says what is left."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """Of patients: `values` (N, G) as the panel gives them, and what the target reads of their slides, None where it
    reads none: embeddings (N, U) of the published model, aligned views (N, K) for the agreement."""

    patients: tuple[str, ...]
    values: Floats
    slide: Floats | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """Mean and standard deviation of the training patients' profiles, (G,) each, and who they were."""

    mean: Floats
    deviation: Floats
    fitted_on: tuple[str, ...]

    def standardise(self, values: Floats) -> Floats:
        """Profiles (N, G) in standard deviations from the mean; zero for a gene that never varied."""
        return (values - self.mean) / np.where(self.deviation > 0, self.deviation, np.inf)


@dataclass(frozen=True, slots=True)
class GeneContributions:
    """One target of one run: `contributions` (N, G), of each patient the target's `value` and that `at_mean`, (N,).

    `effect` (G,): of a head, by how much what the expression adds to its output goes along with the gene
    (`gene_effects`); of the agreement, the mean contribution. `size` (G,) is the mean absolute contribution.
    `error` is the largest difference, over patients, between the sum of the contributions and value less value at the
    mean, in standard deviations of the values.
    """

    target: str
    unit: str
    method: Method
    patients: tuple[str, ...]
    contributions: Floats
    value: Floats
    at_mean: Floats
    effect: Floats
    size: Floats
    error: float


def reference(patients: tuple[str, ...], values: Floats) -> Reference:
    """Of training patients with `values` (N, G) as the panel gives them."""
    return Reference(values.mean(axis=0), values.std(axis=0), patients)


def contributions(
    model: Model,
    target: Target,
    profiles: Profiles,
    mean: Reference,
    *,
    method: Method | None = None,
) -> GeneContributions:
    """The contributions of every gene to `target`, exact where that is possible unless `method` says otherwise.

    Raises `ConfigError` where `method` is exact and the target is not affine, and where captum is needed and absent.
    """
    affine = is_affine(model, target)
    chosen: Method = method or ("exact" if affine else "integrated gradients")
    if chosen == "exact" and not affine:
        raise ConfigError(f"'{target.name}' is not affine in this model's panel; take integrated gradients")
    output = Output(model, target, profiles)
    x_NG, mean_G = torch.from_numpy(profiles.values), torch.from_numpy(mean.mean)
    given = _exact(output, x_NG, mean_G) if chosen == "exact" else _integrated(output, x_NG, mean_G)
    value, at_mean = output.values(x_NG), output.values(mean_G.expand_as(x_NG))
    error = np.abs(given.sum(axis=1) - (value - at_mean)).max(initial=0.0)
    effect = given.mean(axis=0) if isinstance(target, Agreement) else _effects(profiles, mean, value - at_mean)
    return GeneContributions(
        target.name,
        target.unit,
        chosen,
        profiles.patients,
        given,
        value,
        at_mean,
        effect,
        np.abs(given).mean(axis=0),
        float(error / max(value.std(), 1e-12)),
    )


def head_effects(output: Output, profiles: Profiles, mean: Reference) -> Floats:
    """(G,) of a head: `gene_effects` on what the expression of each patient adds to its output."""
    return _effects(profiles, mean, added(output, profiles, mean))


def _effects(profiles: Profiles, mean: Reference, added_N: Floats) -> Floats:
    return gene_effects(mean.standardise(profiles.values), added_N[:, None])[:, 0]


def added(output: Output, profiles: Profiles, mean: Reference) -> Floats:
    """(N,) the output of patients less what it is with the training patients' mean profile and the same slide.

    Every view that heads read is a sum of what the slide and what the expression say: it is the same with any slide.
    """
    x_NG, mean_G = torch.from_numpy(profiles.values), torch.from_numpy(mean.mean)
    return output.values(x_NG) - output.values(mean_G.expand_as(x_NG))


class Output:
    """A target's value as a function of profiles alone, each patient's slide held as it is.

    The agreement's length is held too: `<s, e(x)> / (|s| |e|)` with |e| at the patient's own profile. On the way from
    the mean, where an expression says nothing and its direction is undefined, a cosine proper jumps.
    """

    def __init__(self, model: Model, target: Target, profiles: Profiles) -> None:
        self._model = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
        self._target = target
        count, held = len(profiles.patients), profiles.slide
        slide = None if held is None else torch.from_numpy(held)
        self._aligned_NK, self._length_N = None, None
        self._slide_NU = torch.zeros(count, model.slide_width, dtype=torch.float64)
        if isinstance(target, Agreement):
            assert slide is not None
            self._aligned_NK = F.normalize(slide, dim=1)
            own = self.view(torch.from_numpy(profiles.values), "X_align_expression")
            self._length_N = own.norm(dim=1).clamp(min=1e-12)
        elif slide is not None:
            self._slide_NU = slide

    def __call__(self, x_BG: Tensor, rows_B: Tensor) -> Tensor:
        """(B,) at profiles (B, G) with the slides of the patients `rows_B`; gradients flow."""
        views = self._views(x_BG, rows_B)
        if self._aligned_NK is None or self._length_N is None:
            return self._target.value(views)
        return (views["X_align_expression"] * self._aligned_NK[rows_B]).sum(dim=1) / self._length_N[rows_B]

    @torch.no_grad()
    def values(self, x_NG: Tensor) -> Floats:
        """(N,) at a profile a patient."""
        return self(x_NG, torch.arange(len(x_NG))).numpy()

    def view(self, x_BG: Tensor, name: str) -> Tensor:
        """One view of profiles (B, G) that does not look at slides; gradients flow."""
        return self._views(x_BG, torch.zeros(len(x_BG), dtype=torch.long))[name]

    def _views(self, x_BG: Tensor, rows_B: Tensor) -> Mapping[str, Tensor]:
        return self._model.views(self._slide_NU[rows_B], self._model.embed_expression(x_BG))


def _exact(output: Output, x_NG: Tensor, mean_G: Tensor) -> Floats:
    at = mean_G[None].clone().requires_grad_(True)
    (slope_1G,) = torch.autograd.grad(output(at, torch.zeros(1, dtype=torch.long)).sum(), at)
    return ((x_NG - mean_G) * slope_1G).numpy()


def _integrated(output: Output, x_NG: Tensor, mean_G: Tensor) -> Floats:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError('networks are explained by captum: pip install "mirror-pathology[explain]"') from None
    found = IntegratedGradients(output).attribute(
        x_NG,
        baselines=mean_G.expand_as(x_NG),
        additional_forward_args=(torch.arange(len(x_NG)),),
        n_steps=STEPS,
        internal_batch_size=max(1024, len(x_NG)),
    )
    return found.detach().numpy()
