"""Where points lie on the map of embeddings: two principal components, fitted on training patients."""

from __future__ import annotations

import numpy as np
import pandas as pd


def place_points(embedding: pd.DataFrame) -> pd.DataFrame:
    """The points with their place `x, y` on a map: two principal components of the vectors, rows with NaN left out.

    Each modality is standardised by its own training rows (all rows where none is marked), so that the map shows how
    patients lie within a modality and not the constant gap between the two; the components are those of training rows.
    """
    known = ["patient", "modality", "label", "role"]
    if embedding.empty:
        return pd.DataFrame(columns=[*known, "x", "y"])
    vectors = embedding.drop(columns=known)
    complete = vectors.notna().all(axis=1)
    points, vectors = embedding.loc[complete, known].reset_index(drop=True), vectors[complete].reset_index(drop=True)
    if points.empty or {"x", "y"} <= set(vectors):
        return points.join(vectors)
    values = vectors.to_numpy(np.float64)
    fitted = (points["role"] == "train").to_numpy()
    fitted = fitted if fitted.sum() > 2 else np.ones(len(points), dtype=bool)
    for modality in points["modality"].unique():
        rows = (points["modality"] == modality).to_numpy()
        base = values[rows & fitted] if (rows & fitted).any() else values[rows]
        scale = base.std(axis=0)
        values[rows] = (values[rows] - base.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    axes = np.linalg.svd(values[fitted], full_matrices=False)[2][:2]
    # The sign of a component is arbitrary: its largest entry is made positive, so that equal runs give equal maps.
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    placed = np.pad(values @ axes.T, ((0, 0), (0, 2 - len(axes))))
    return points.assign(x=placed[:, 0], y=placed[:, 1])
