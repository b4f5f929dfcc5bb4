"""How much each tile of a slide has to do with one number of its patient.

* `contributions`: where the number is affine in the tiles, what each adds. They sum to the number less what it is at
  the mean tile of the training patients.
* `integrated-gradients` (Sundararajan et al., 2017; captum): the same sum for a network, along the straight way there.
* `attention-gradient`: a tile's attention times the slope of the number along it, in the last layer that pools: to
  first order, what the number loses when that attention goes to the other tiles.
* `pattern`: the number that is to be expected from the tile alone, less the mean of that over the slide, by how the
  mean tile of training patients shifts with the number (`pattern.py`).
* `attention`: the tile's share in the pooled slide, of no number in particular: rollout through both layers of token
  attention, or the weights of gated attention.

Legend: B slides (one), T tiles, N tokens, D tile-feature width, G genes, E width, H heads, C width of one head.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mirror.errors import ConfigError
from mirror.explain.pattern import Seen, as_tiles_say
from mirror.explain.targets import FUSED, Head, Target
from mirror.nn.canonical import CanonicalMirror
from mirror.nn.layers import recompute_residuals
from mirror.nn.mirror import Mirror
from mirror.nn.rollout import attention_of, attention_rollout, on_tiles

Method = Literal["contributions", "pattern", "integrated-gradients", "attention-gradient", "attention"]
Model = Mirror | CanonicalMirror
STEPS = (16, 64)
"""Points of integrated gradients (a Gauss-Legendre rule): the first number after which they are complete is enough."""
COMPLETE = 0.02
"""Most that their sum may differ from what it has to be, as a share of that."""
POINTS = 64 * 4096
"""Most tiles times points: a large slide gets the first number of points, and what its sum lacks is told."""


class Subject(NamedTuple):
    """One slide: its tiles (T, D), its patient's profile as the panel gives it (G,), None where there is none, and what
    it is compared with: the mean tile of the training patients (D,), and the mean of what the model makes of their
    expression (E,), None where nobody has any."""

    tiles_TD: NDArray[np.float32]
    profile_G: NDArray[np.float32] | None
    baseline_D: NDArray[np.float64]
    mean_expression_E: NDArray[np.float64] | None = None


class Relevance(NamedTuple):
    """`values` (T,), positive where a tile speaks for more of the target, of `pattern` for more than the slide's tiles
    on average. `value` is the target's number for the slide, `baseline` that of a slide of as many mean tiles, both NaN
    for `attention`; `values` of contributions and integrated gradients sum to the difference, those of pattern to 0.
    `usual`, of both modalities' heads alone: the number of mean tiles beside the mean expression."""

    values: NDArray[np.float64]
    value: float = np.nan
    baseline: float = np.nan
    usual: float = np.nan

    @property
    def from_slide(self) -> float:
        """What the slide adds to the number, beyond mean tiles."""
        return self.value - self.baseline

    @property
    def from_expression(self) -> float:
        """What the patient's expression adds to the number, beyond the mean one; the same beside any slide."""
        return self.baseline - self.usual


def is_linear(model: Model) -> bool:
    """True where all that a model says of slides is affine in the mean tile: networks have no part in it."""
    return isinstance(model, CanonicalMirror) and model.sizes.correction == 0


def is_affine(model: Model, target: Target) -> bool:
    """True where the target is the same affine function of the mean tile for everybody."""
    return is_linear(model) and isinstance(target, Head)


def relevance(
    model: Model, subject: Subject, target: Target | None, method: Method, *, seen: Seen | None = None
) -> Relevance:
    """One number of one slide, as `Described.relevance` explains it."""
    return Described(model, subject).relevance(target, method, seen=seen)


def target_value(model: Model, subject: Subject, target: Target) -> float:
    """The target's number for a slide; NaN where it needs expression that the patient has not."""
    return _Number(Described(model, subject), target).value


class Described:
    """One slide as a model describes it. What all of its numbers are computed from is computed once."""

    def __init__(self, model: Model, subject: Subject) -> None:
        self.model, self.subject = model, subject

    @cached_property
    def tiles(self) -> Tensor:
        """(1, T, D)."""
        return _tensor(self.model, self.subject.tiles_TD)[None]

    @cached_property
    def mean_tile(self) -> Tensor:
        """(1, 1, D)."""
        return _tensor(self.model, self.subject.baseline_D)[None, None]

    @cached_property
    @torch.no_grad()
    def slide(self) -> Tensor:
        """(1, U) the slide's embedding."""
        return self.model.embed_slide(self.tiles)

    @cached_property
    @torch.no_grad()
    def mean_slide(self) -> Tensor:
        """(1, U) the embedding of a slide of as many mean tiles."""
        return self.model.embed_slide(self.mean_tile.expand_as(self.tiles))

    @cached_property
    @torch.no_grad()
    def expression(self) -> Tensor:
        """(1, E) the embedding of the patient's expression, NaN without any."""
        if self.subject.profile_G is None:
            return self.tiles.new_full((1, self.model.expression_width), torch.nan)
        return self.model.embed_expression(_tensor(self.model, self.subject.profile_G)[None])

    @cached_property
    def mean_expression(self) -> Tensor:
        """(1, E) the training patients' mean, NaN where nobody has any."""
        if self.subject.mean_expression_E is None:
            return torch.full_like(self.expression, torch.nan)
        return _tensor(self.model, self.subject.mean_expression_E)[None]

    def relevance(self, target: Target | None, method: Method, *, seen: Seen | None = None) -> Relevance:
        """Explain one number. `target` is None for `attention` alone; `pattern` needs the patients `seen`.

        Raises `ConfigError` where the method cannot say anything of this target in this model, or the target needs a
        modality that the patient lacks.
        """
        model = self.model
        if method == "attention":
            return Relevance(attention(model, self.subject))
        if target is None:
            raise ConfigError(f"'{method}' explains a number; name a target, or take the method 'attention'")
        if method != "pattern" and (method == "contributions") != is_affine(model, target):
            other = "'contributions', which are exact" if is_affine(model, target) else "'integrated-gradients'"
            raise ConfigError(f"'{method}' does not explain {target.name} of this model; take {other}")
        model.requires_grad_(False)
        number = _Number(self, target)
        ends = [number.value, number.of(self.mean_slide, self.expression)]
        if np.isnan(ends).any():
            raise ConfigError(
                f"{target.name} of '{target.representation}' needs expression, which this patient has not; explain "
                "the representation 'slide'"
            )
        usual = number.of(self.mean_slide, self.mean_expression) if target.representation == FUSED else np.nan
        match method:
            case "contributions":
                values = _contributions(number)
            case "pattern":
                assert seen is not None
                values = as_tiles_say(self.subject.tiles_TD, seen, _numbers(number, seen))
                # What all tiles of the slide share, its stain first, says nothing of where, and less than the number
                # does.
                values -= values.mean()
            case "integrated-gradients":
                values = _integrated_gradients(number, ends[0] - ends[1])
            case _:
                values = _attention_gradient(number)
        return Relevance(values, ends[0], ends[1], usual)


@torch.no_grad()
def attention(model: Model, subject: Subject) -> NDArray[np.float64]:
    """Share of each tile in the pooled slide (T,), summing to one."""
    tiles_BTD = _tensor(model, subject.tiles_TD)[None]
    if isinstance(model, Mirror):
        return attention_rollout(model.slide_encoder, tiles_BTD)[0].double().cpu().numpy()
    return model.attend(tiles_BTD).weight_BT[0].double().cpu().numpy()


class _Number(nn.Module):
    """Tiles (B, T, D) to the target's number (B,) of slides of this patient, who has it as `head` says."""

    def __init__(self, described: Described, target: Target) -> None:
        super().__init__()
        self.described, self.model = described, described.model
        self.tiles, self.mean_tile = described.tiles, described.mean_tile
        with torch.no_grad():
            views = self.model.views(described.slide, described.expression)
            self.head = target.held(views)
            self.value = float(self.head.value(views))

    @torch.no_grad()
    def of(self, slide_BU: Tensor, expression_BE: Tensor) -> float:
        """The number of another slide's embedding (1, U) and expression's (1, E)."""
        return float(self.head.value(self.model.views(slide_BU, expression_BE)))

    def forward(self, tiles_BTD: Tensor) -> Tensor:
        slide = self.model.embed_slide(tiles_BTD)
        return self.head.value(self.model.views(slide, self.described.expression.expand(len(tiles_BTD), -1)))


def _contributions(number: _Number) -> NDArray[np.float64]:
    tiles, at = number.tiles[0], number.mean_tile.clone().requires_grad_()
    (slope,) = torch.autograd.grad(number(at).sum(), at)
    away = tiles.double() - number.mean_tile[0].double()
    return (away @ slope[0, 0].double() / len(tiles)).cpu().numpy()


@torch.no_grad()
def _numbers(number: _Number, seen: Seen) -> NDArray[np.float64]:
    """(N,) the number of each training patient as far as it comes from the slide, up to one constant; NaN where the
    target reads an expression that the patient lacks.

    A head is affine in its view and every view in both embeddings, so what the expression adds is the same beside any
    slide.
    """
    head = number.head
    value_N = head.value(seen.views)
    if head.representation == FUSED:
        expression_NE = seen.expression.to(number.tiles)
        here_NU = number.described.slide.expand(len(expression_NE), -1)
        value_N = value_N - head.value(number.model.views(here_NU, expression_NE)).cpu()
    return value_N.numpy()


def _integrated_gradients(number: _Number, whole: float) -> NDArray[np.float64]:
    tiles = number.tiles.shape[1]
    values = np.zeros(0)
    for steps in (points for points in STEPS if points == STEPS[0] or points * tiles <= POINTS):
        values = _along_the_way(number, steps)
        if abs(values.sum() - whole) <= COMPLETE * abs(whole):
            break
    return values


def _along_the_way(number: _Number, steps: int) -> NDArray[np.float64]:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError('networks are explained by captum: pip install "mirror-pathology[explain]"') from None
    recompute_residuals(number.model, True)  # memory of one layer, however many tiles
    try:
        # One point of the way at a time: all of them at once would hold the slide that often.
        attributed = IntegratedGradients(number).attribute(
            number.tiles,
            baselines=number.mean_tile.expand_as(number.tiles),
            n_steps=steps,
            internal_batch_size=1,
        )
    finally:
        recompute_residuals(number.model, False)
    return attributed[0].sum(dim=1).double().cpu().numpy()


def _attention_gradient(number: _Number) -> NDArray[np.float64]:
    """`attention_t * slope . (value_t - pooled)`, summed over heads."""
    model, tiles_BTD = number.model, number.tiles
    if isinstance(model, Mirror):
        encoder = model.slide_encoder
        layer = attention_of(encoder.attention2)
        slope_E = _slope_at_input(number, layer.project)[0, 0]
        with torch.no_grad():
            tokens_BNE = encoder.attention2.norm(encoder.between(encoder.tokens(tiles_BTD)))
            only_class = torch.zeros_like(tokens_BNE[..., 0])
            only_class[:, 0] = 1.0
            weight_HN = layer.reach(tokens_BNE, only_class)[0]
            heads = layer.heads(tokens_BNE)
            v_HNC = heads.v_BHNC[0, :, heads.padding :]
            along_HN = (v_HNC @ slope_E.view(layer.form.heads, -1, 1)).squeeze(2)
            pooled_H1 = (weight_HN * along_HN).sum(dim=1, keepdim=True)
            values_BN = (weight_HN * (along_HN - pooled_H1)).sum(dim=0)[None]
        return on_tiles(values_BN, tiles_BTD.shape[1])[0].double().cpu().numpy()
    slope_H = _slope_at_input(number, model.slide_network.dropout)[0]
    with torch.no_grad():
        pooled = model.attend(tiles_BTD)
        along_T = pooled.tiles_BTH[0] @ slope_H
        weight_T = pooled.weight_BT[0]
        return (weight_T * (along_T - weight_T @ along_T)).double().cpu().numpy()


def _slope_at_input(number: _Number, module: nn.Module) -> Tensor:
    """Gradient of the target by what `module` is given, in its shape."""
    seen: list[Tensor] = []

    def cut(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(given[0].detach().requires_grad_())
        return (seen[-1],)

    hook = module.register_forward_pre_hook(cut)
    try:
        value = number(number.tiles).sum()
    finally:
        hook.remove()
    (slope,) = torch.autograd.grad(value, seen[-1])
    return slope


def _tensor(model: nn.Module, values: NDArray[np.floating]) -> Tensor:
    like = next(model.buffers(), None)
    like = next(model.parameters()) if like is None else like
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)
