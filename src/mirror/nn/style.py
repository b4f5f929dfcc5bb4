"""Style: a random code of either modality, scored against shared prototypes (METHOD section 5).

Legend: B pairs, E width, Z style latent width, K prototypes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror.nn.initialise import initialise_layers
from mirror.nn.layers import Mlp


class StyleOutput(NamedTuple):
    """Mean and log variance of the code's distribution, the code drawn from it, its scores against the prototypes."""

    mean_BZ: Tensor
    log_variance_BZ: Tensor
    code_BZ: Tensor
    scores_BK: Tensor


class StyleCoder(nn.Module):
    """(B, E) embeddings of one modality to a `StyleOutput`; the same weights serve both modalities.

    Args:
        width, hidden, out, latent: sizes along `width -> hidden -> out -> latent -> width`.
        prototypes: number of prototypes K.
    """

    def __init__(self, width: int, *, hidden: int, out: int, latent: int, prototypes: int) -> None:
        super().__init__()
        self.encoder = Mlp(width, hidden, out)
        self.mean = nn.Linear(out, latent)
        self.log_variance = nn.Linear(out, latent)
        self.decode = nn.Linear(latent, width)
        self.prototypes = nn.Linear(width, prototypes, bias=False)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6); prototypes start orthogonal."""
        initialise_layers(self, linear="fan_in", generator=generator)
        nn.init.orthogonal_(self.prototypes.weight, generator=generator)

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Scale every prototype to length one, in place."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def forward(self, embedding_BE: Tensor, noise_BZ: Tensor) -> StyleOutput:
        """`noise_BZ` is standard normal."""
        features = self.encoder(embedding_BE)
        mean_BZ, log_variance_BZ = self.mean(features), self.log_variance(features)
        code_BZ = mean_BZ + (log_variance_BZ / 2).exp() * noise_BZ
        return StyleOutput(mean_BZ, log_variance_BZ, code_BZ, self.prototypes(self.decode(code_BZ)))
