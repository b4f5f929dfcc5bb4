"""The canonical model: what both modalities say of a patient, and what only one of them does, told apart.

Each encoder is a linear path onto canonical directions, fitted in closed form on the training patients
(`tasks/canonical_start.py`), plus a network that starts at zero. Along direction j the two modalities correlate by
rho_j: the model of probabilistic canonical correlation (Bach and Jordan, 2005), `u = sqrt(rho) z + noise`, `v`
likewise, one shared z for both, which says what a patient's z is given both modalities or either one.

What expression varies by beyond its K components (the tail) has no part in that; probes get it beside the rest.

Legend: B pairs, T tiles, D tile-feature width, G genes, K components, M those of the tail, V = K + M, P prototypes, F
width of the fused view; U and E columns of a slide's and an expression's embedding: K and V, or K more where probes get
other components (`correction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror.nn.draws import draw_mask
from mirror.nn.initialise import initialise_layers
from mirror.nn.layers import Mlp
from mirror.nn.readout import Readout


@dataclass(frozen=True, slots=True)
class CanonicalSizes:
    """Sizes and switches of the model; `tile_dim` and `genes` come from the data. See `CanonicalModelConfig`."""

    tile_dim: int
    genes: int
    components: int
    hidden: int
    dropout: float
    prototypes: int
    mask_ratio: float
    temperature: float
    style_temperature: float
    private: float
    start: Literal["canonical", "none"]
    tail: int = 0
    correction: float = 1.0
    slide_private: bool = False
    same_patient: Literal["left_out", "negatives"] = "left_out"


class CanonicalDraws(NamedTuple):
    """True = hidden: tiles (B, T), genes (B, G)."""

    tiles_BT: Tensor
    genes_BG: Tensor


class Rebuilt(NamedTuple):
    """What was hidden as the decoder sees it: `prediction`, `target` and `mask` (True = hidden) of one shape."""

    prediction: Tensor
    target: Tensor
    mask: Tensor


class CanonicalOutput(NamedTuple):
    """What the objectives need. Directions of either modality (B, K), of length one; scores of either modality against
    the prototypes over their temperature (B, P); and what either decoder rebuilt: the mean hidden tile (B, D), the
    genes (B, G)."""

    slide_BK: Tensor
    expression_BK: Tensor
    slide_scores_BP: Tensor
    expression_scores_BP: Tensor
    slide_retention: Rebuilt
    expression_retention: Rebuilt


class Attended(NamedTuple):
    """Tiles (B, T, H) and the weight of each in their sum (B, T)."""

    tiles_BTH: Tensor
    weight_BT: Tensor


class TilePooling(nn.Module):
    """Gated attention over tiles (Ilse et al., 2018): (B, T, D), and which of them are visible (B, T), to (B, K)."""

    def __init__(self, tile_dim: int, hidden: int, out: int, *, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(tile_dim, hidden)
        self.gate = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, out)

    def forward(self, tiles_BTD: Tensor, visible_BT: Tensor) -> Tensor:
        h_BTH, weight_BT = self.attend(tiles_BTD, visible_BT)
        return self.out(self.dropout((weight_BT.unsqueeze(1) @ h_BTH).squeeze(1)))

    def attend(self, tiles_BTD: Tensor, visible_BT: Tensor) -> Attended:
        """The tiles as they are pooled, and by which weights; those of visible ones sum to one."""
        h_BTH = F.gelu(self.embed(tiles_BTD))
        score_BT = self.score(h_BTH.tanh() * self.gate(h_BTH).sigmoid()).squeeze(2)
        return Attended(h_BTH, score_BT.masked_fill(~visible_BT, float("-inf")).softmax(dim=1))


class CanonicalMirror(nn.Module):
    """Structure only: the closed form and the readout are buffers that `tasks/canonical_start.py` fits.

    Standardisation, directions and correlations are not trained; both networks' last layers start at zero, so an
    untrained model is the closed form.
    """

    slide_mean: Tensor
    slide_scale: Tensor
    slide_axes: Tensor
    gene_mean: Tensor
    gene_scale: Tensor
    gene_axes: Tensor
    tail_axes: Tensor
    correlations: Tensor

    def __init__(self, sizes: CanonicalSizes) -> None:
        super().__init__()
        self.sizes = sizes
        k, hidden = sizes.components, sizes.hidden
        for name, width in (("slide", sizes.tile_dim), ("gene", sizes.genes)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))
            self.register_buffer(f"{name}_axes", torch.zeros(width, k))
        if sizes.tail:
            self.register_buffer("tail_axes", torch.zeros(sizes.genes, sizes.tail))
        self.register_buffer("correlations", torch.ones(k))
        self.slide_network = TilePooling(sizes.tile_dim, hidden, k, dropout=sizes.dropout)
        self.expression_network = Mlp(sizes.genes, hidden, k, dropout=sizes.dropout)
        self.slide_decoder = nn.Linear(k, sizes.tile_dim)
        self.expression_decoder = nn.Linear(k, sizes.genes)
        self.prototypes = nn.Linear(k, sizes.prototypes, bias=False)
        self.slide_readout, self.expression_readout = Readout(k), Readout(k + sizes.tail)
        self.fused_readout = Readout(3 * k + sizes.tail)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights of what is trained; what the closed form and the readout fit is left at the identity."""
        initialise_layers(self, linear="fan_in", generator=generator)
        networks = (self.slide_network.out, self.expression_network.fc2) if self.sizes.start == "canonical" else ()
        for last in (*networks, self.slide_decoder, self.expression_decoder):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.orthogonal_(self.prototypes.weight, generator=generator)
        for name in ("slide", "gene"):
            getattr(self, f"{name}_mean").zero_()
            getattr(self, f"{name}_scale").fill_(1.0)
            getattr(self, f"{name}_axes").zero_()
        if self.sizes.tail:
            self.tail_axes.zero_()
        self.correlations.fill_(1.0)
        for readout in (self.slide_readout, self.expression_readout, self.fused_readout):
            readout.reset()

    @property
    def slide_width(self) -> int:
        """Columns U of what `embed_slide` gives."""
        return self.sizes.components * (1 if self.sizes.correction == 1 else 2)

    @property
    def expression_width(self) -> int:
        """Columns E of what `embed_expression` gives."""
        return self.slide_width + self.sizes.tail

    def embed_slide(self, tiles_BTD: Tensor, hidden_BT: Tensor | None = None) -> Tensor:
        """Canonical components u of slides of any number of tiles, of the visible ones where some are hidden, (B, U).

        Where `correction` is not 1, those for probes follow after them.
        """
        return self._with_those_for_probes(*self._slide(self._standard_tiles(tiles_BTD), hidden_BT))

    def embed_expression(self, expression_BG: Tensor, hidden_BG: Tensor | None = None) -> Tensor:
        """Canonical components v of profiles as the panel gives them, as of slides, and then the tail, (B, E)."""
        genes_BG = self._standard_genes(expression_BG)
        v_BU = self._with_those_for_probes(*self._expression(genes_BG, hidden_BG))
        if not self.sizes.tail:
            return v_BU
        return torch.cat([v_BU, self._visible(genes_BG, hidden_BG) @ self.tail_axes], dim=1)

    def attend(self, tiles_BTD: Tensor) -> Attended:
        """How the slide's network pools all tiles of slides."""
        visible_BT = torch.ones_like(tiles_BTD[..., 0], dtype=torch.bool)
        return self.slide_network.attend(self._standard_tiles(tiles_BTD), visible_BT)

    def for_probes(self, slide_NU: Tensor, expression_NE: Tensor) -> tuple[Tensor, Tensor]:
        """The columns of either embedding that probes get: components (N, K), and components and tail (N, V)."""
        k = self.sizes.components
        return slide_NU[:, -k:], expression_NE[:, -(k + self.sizes.tail) :]

    def _with_those_for_probes(self, closed_BK: Tensor, added_BK: Tensor) -> Tensor:
        whole_BK, share = closed_BK + added_BK, self.sizes.correction
        return whole_BK if share == 1 else torch.cat([whole_BK, closed_BK + share * added_BK], dim=1)

    def draw(self, batch: int, tiles: int, *, generator: torch.Generator, device: torch.device | str) -> CanonicalDraws:
        """Which inputs one forward hides."""
        ratio = self.sizes.mask_ratio
        tiles_BT = draw_mask(batch, tiles, mask_ratio=ratio, generator=generator)
        genes_BG = draw_mask(batch, self.sizes.genes, mask_ratio=ratio, generator=generator)
        return CanonicalDraws(tiles_BT.to(device), genes_BG.to(device))

    @torch.no_grad()
    def before_forward(self) -> None:
        """To be called before every training forward: prototypes back to length one, in place."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor, draws: CanonicalDraws) -> CanonicalOutput:
        """Encode what is visible of both modalities and run every head on it."""
        tiles_BTD, genes_BG = self._standard_tiles(tiles_BTD), self._standard_genes(expression_BG)
        u_BK = torch.add(*self._slide(tiles_BTD, draws.tiles_BT))
        v_BK = torch.add(*self._expression(genes_BG, draws.genes_BG))
        slide_BK = F.normalize(self.correlations * u_BK, dim=1)
        expression_BK = F.normalize(self.correlations * v_BK, dim=1)
        hidden_BT1 = draws.tiles_BT.unsqueeze(2)
        # Tiles have no order, so all hidden ones have the same best prediction: that of their mean.
        mean_BD = (tiles_BTD * hidden_BT1).sum(dim=1) / hidden_BT1.sum(dim=1).clamp(min=1)
        some_BD = hidden_BT1.any(dim=1).expand_as(mean_BD)
        sharpness = 1 / self.sizes.style_temperature
        return CanonicalOutput(
            slide_BK,
            expression_BK,
            self.prototypes(slide_BK) * sharpness,
            self.prototypes(expression_BK) * sharpness,
            Rebuilt(self.slide_decoder(u_BK), mean_BD, some_BD),
            Rebuilt(self.expression_decoder(v_BK), genes_BG, draws.genes_BG),
        )

    def views(self, slide_NU: Tensor, expression_NE: Tensor) -> dict[str, Tensor]:
        """What a patient is described by, from `embed_slide` and `embed_expression`, a row of NaN where there is none.

        `X_slide`, `X_expression` and `X_fused` are for probes (`Readout`); `X_fused` needs both. `X_align_slide` and
        `X_align_expression` (N, K) are compared by their cosine. `X_shared` (N, K) is the expected z given what the
        patient has; `X_slide_private` and `X_expression_private` (N, K) are what z leaves of u and of v: nothing linear
        of them can be predicted from the other modality.
        """
        rho, k = self.correlations, self.sizes.components
        slide_NK, expression_NK = slide_NU[:, :k], expression_NE[:, :k]
        probed_NK, probed_NV = self.for_probes(slide_NU, expression_NE)
        shared = self.shared(slide_NK, expression_NK)
        own = slide_NK - rho.sqrt() * shared, expression_NK - rho.sqrt() * shared
        return {
            "X_slide": self.slide_readout(self.slide_alone(probed_NK)),
            "X_expression": self.expression_readout(self.expression_alone(probed_NV)),
            "X_fused": self.fused_readout(self.fused(probed_NK, probed_NV)),
            "X_align_slide": rho * slide_NK,
            "X_align_expression": rho * expression_NK,
            "X_shared": shared,
            "X_slide_private": own[0],
            "X_expression_private": own[1],
        }

    def shared(self, slide_NK: Tensor, expression_NK: Tensor) -> Tensor:
        """Expected z (N, K): `sqrt(rho) (u + v) / (1 + rho)` given both, `sqrt(rho) u` or `sqrt(rho) v` given one."""
        rho = self.correlations
        both = (slide_NK + expression_NK) / (1 + rho)
        one = torch.where(slide_NK.isnan(), expression_NK, slide_NK)
        return rho.sqrt() * torch.where(both.isnan(), one, both)

    def slide_alone(self, slide_NK: Tensor) -> Tensor:
        """A slide by itself before the readout (N, K): `rho u`, and with `slide_private` half of `private` times u too.

        `rho u` is what expression says as well: nothing along a direction that correlates with nothing. Side by side,
        both have the inner products of `sqrt(rho^2 + (private / 2)^2) u`, in twice the columns.
        """
        rho = self.correlations
        own = self.sizes.private / 2 if self.sizes.slide_private else 0.0
        return (rho.square() + own**2).sqrt() * slide_NK

    def expression_alone(self, expression_NV: Tensor) -> Tensor:
        """Expression by itself before the readout (N, V): `rho v`, and `private / 2` times the tail.

        Half of the weight it has in the fused view, where `rho v` is doubled by the other modality's `rho u`.
        """
        k, private = self.sizes.components, self.sizes.private
        return torch.cat([self.correlations * expression_NV[:, :k], private / 2 * expression_NV[:, k:]], dim=1)

    def fused(self, slide_NK: Tensor, expression_NV: Tensor) -> Tensor:
        """Shared and private parts side by side (N, 3 K + M) before the readout; NaN where a modality is missing.

        The shared columns weigh `rho (u + v)`, the private ones `private (u - rho v)` and `private (v - rho u)`, the
        tail `private`.
        """
        rho, private, k = self.correlations, self.sizes.private, self.sizes.components
        expression_NK, tail_NM = expression_NV[:, :k], expression_NV[:, k:]
        # A patient without a slide has a tail, but no fused view.
        tail_NM = tail_NM.masked_fill(slide_NK.isnan().any(dim=1, keepdim=True), float("nan"))
        parts = (
            rho * (slide_NK + expression_NK),
            private * (slide_NK - rho * expression_NK),
            private * (expression_NK - rho * slide_NK),
            private * tail_NM,
        )
        return torch.cat(parts, dim=1)

    def _standard_tiles(self, tiles_BTD: Tensor) -> Tensor:
        return (tiles_BTD - self.slide_mean) / self.slide_scale

    def _standard_genes(self, expression_BG: Tensor) -> Tensor:
        return (expression_BG - self.gene_mean) / self.gene_scale

    def _slide(self, tiles_BTD: Tensor, hidden_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """The closed form and what the network adds to it."""
        visible_BT = torch.ones_like(tiles_BTD[..., 0], dtype=torch.bool) if hidden_BT is None else ~hidden_BT
        mean_BD = (tiles_BTD * visible_BT.unsqueeze(2)).sum(dim=1) / visible_BT.sum(dim=1, keepdim=True)
        return mean_BD @ self.slide_axes, self.slide_network(tiles_BTD, visible_BT)

    def _expression(self, genes_BG: Tensor, hidden_BG: Tensor | None) -> tuple[Tensor, Tensor]:
        genes_BG = self._visible(genes_BG, hidden_BG)
        return genes_BG @ self.gene_axes, self.expression_network(genes_BG)

    @staticmethod
    def _visible(genes_BG: Tensor, hidden_BG: Tensor | None) -> Tensor:
        if hidden_BG is None:
            return genes_BG
        # As dropout does it: what stays is scaled up, so that sums over genes keep their size.
        return genes_BG.masked_fill(hidden_BG, 0.0) / (~hidden_BG).float().mean(dim=1, keepdim=True)


def build_canonical(sizes: CanonicalSizes, *, generator: torch.Generator) -> CanonicalMirror:
    """A model with first weights, on the generator's device; torch's global random state is not touched."""
    with torch.device("meta"):
        model = CanonicalMirror(sizes)
    model.to_empty(device=generator.device)
    model.initialise(generator)
    return model
