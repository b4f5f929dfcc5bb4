"""A classical tile encoder: how much stain, how evenly, how coarse. No weights, the same numbers everywhere.

Haematoxylin and eosin are separated by the colour vectors of Ruifrok and Johnston (2001, Anal Quant Cytol Histol 23),
as scikit-image has them; texture is Haralick's grey-level co-occurrence (1973) and uniform local binary patterns (Ojala
2002) of the haematoxylin.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

NAME = "stain-texture"
REVISION = "1"
_SIDE = 192
_LEVELS = 16
_DISTANCES = (1, 3, 8)
_PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")
_QUANTILES = (10, 50, 90)
_STRONGEST = 0.3
"""Concentration that counts as the darkest grey; strong nuclei reach it."""


def stain_texture(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features (D,) of an RGB tile (px, px, 3): 2 stains x (mean, sd, 3 quantiles, gradient), 3 x 4 of co-occurrence,
    10 of binary patterns, mean and sd of each colour; all within a few units of 0."""
    side = min(_SIDE, *tile.shape[:2])
    small = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)
    concentrations = rgb2hed(small)[..., :2]
    numbers: list[float] = []
    for stain in range(2):
        plane = concentrations[..., stain]
        numbers += [plane.mean() * 10, plane.std() * 10, *(np.percentile(plane, _QUANTILES) * 10)]
        numbers.append(float(np.hypot(*np.gradient(plane)).mean()) * 100)
    grey = np.clip(concentrations[..., 0] / _STRONGEST * _LEVELS, 0, _LEVELS - 1).astype(np.uint8)
    pairs = graycomatrix(grey, _DISTANCES, (0.0, np.pi / 2), levels=_LEVELS, symmetric=True, normed=True)
    for name in _PROPERTIES:
        numbers += list(graycoprops(pairs, name).mean(axis=1))
    fine = (np.clip(concentrations[..., 0] / _STRONGEST, 0, 1) * 255).astype(np.uint8)
    patterns = local_binary_pattern(fine, 8, 1.0, "uniform")
    numbers += list(np.bincount(patterns.astype(np.intp).ravel(), minlength=10)[:10] / patterns.size)
    colours = small.reshape(-1, 3) / 255
    numbers += [*colours.mean(axis=0), *colours.std(axis=0)]
    return np.asarray(numbers, dtype=np.float32)
