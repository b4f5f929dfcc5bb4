"""Predictions in the form of predictions.parquet, made up: for the tests of intervals and comparisons."""

from __future__ import annotations

import numpy as np
import pandas as pd


def subtyping(
    *, seed: int, classes: int = 3, patients: int = 36, folds: int = 3, draws: int = 2, seeds: int = 2
) -> pd.DataFrame:
    """Predictions in the form of predictions.parquet: the patients and labels are the same for every `seed`."""
    names = [f"class{k}" for k in range(classes)]
    codes = np.random.default_rng(99).permutation(np.arange(patients) % classes)
    rng, parts = np.random.default_rng(seed), []
    for run in range(seeds):
        for draw in range(draws):
            # Rounded, so that there are ties; and better than chance.
            p = np.round(rng.dirichlet(np.ones(classes), size=patients) + 0.3 * np.eye(classes)[codes], 1)
            p += 1e-4 * rng.random(p.shape)
            frame = pd.DataFrame(
                {"patient": [f"P{n:03d}" for n in range(patients)], "fold": np.arange(patients) % folds}
            )
            frame = frame.assign(seed=run, draw=draw, representation="fused", protocol="shot4", task="subtyping")
            frame["label"] = [names[code] for code in codes]
            frame["predicted"] = [names[code] for code in p.argmax(axis=1)]
            parts.append(frame.assign(**{f"probability_{name}": p[:, k] for k, name in enumerate(names)}))
    return pd.concat(parts, ignore_index=True).sample(frac=1.0, random_state=seed)


def survival(*, seed: int, patients: int = 60, folds: int = 3, seeds: int = 1, signal: float = 1.0) -> pd.DataFrame:
    outcome = np.random.default_rng(98)
    time, event = outcome.integers(1, 25, patients).astype(float), outcome.random(patients) < 0.6
    rng = np.random.default_rng(seed)
    parts = []
    for run in range(seeds):
        risk = np.round(rng.normal(size=patients) - signal * (time - 12) / 12, 1)
        frame = pd.DataFrame({"patient": [f"P{n:03d}" for n in range(patients)], "fold": np.arange(patients) % folds})
        frame = frame.assign(seed=run, draw=0, representation="fused", protocol="cox", task="survival")
        parts.append(frame.assign(time=time, event=event, risk=risk))
    return pd.concat(parts, ignore_index=True)
