"""The last step before a probe: a rotation after which every column varies alike on the training patients.

Probes standardise columns, and so undo whatever weights a representation gave to its directions: a direction of noise
then counts as much as the leading one. Rotated so that all columns have one variance, standardising is one common
factor, and inner products, the weights with them, stay. C columns in, F = the next power of two out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def readout_width(columns: int) -> int:
    """The least power of two that is not below `columns`: Hadamard matrices are made for those."""
    return 1 << (columns - 1).bit_length()


class Readout(nn.Module):
    """`(x - mean) @ rotation`, (N, C) to (N, F); a row of NaN stays one. `fit_readout` fits both buffers."""

    mean: Tensor
    rotation: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("rotation", torch.eye(columns, readout_width(columns)))

    @torch.no_grad()
    def reset(self) -> None:
        """Back to the identity, zero columns appended."""
        self.mean.zero_()
        self.rotation.copy_(torch.eye(*self.rotation.shape))

    def forward(self, x_NC: Tensor) -> Tensor:
        return (x_NC - self.mean) @ self.rotation


@torch.no_grad()
def fit_readout(readout: Readout, x_NC: Tensor) -> None:
    """Fit on training patients (rows with NaN are left out): principal directions, then a Hadamard matrix over them.

    Each column becomes the sum of all directions with signs of its own, over the root of their number: all columns
    have the variance `trace / F`, whatever the spectrum. The sign of a direction is chosen so that its largest
    coordinate is positive.
    """
    x = x_NC.double().cpu().numpy()
    x = x[~np.isnan(x).any(axis=1)]
    mean = x.mean(axis=0)
    _, directions = np.linalg.eigh((x - mean).T @ (x - mean))
    directions = directions[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(len(largest))])
    width = readout_width(len(mean))
    from scipy.linalg import hadamard  # a tenth of a second of start-up for who fits nothing

    signs = hadamard(width)[: len(mean)] / np.sqrt(width)
    readout.mean.copy_(torch.from_numpy(mean))
    readout.rotation.copy_(torch.from_numpy(directions @ signs))
