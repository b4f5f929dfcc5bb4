"""Random cohorts without a flaw, as tables: biology, floors of unexpressed genes and sites, none of it an artefact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mirror.data.cohort import Cohort
from mirror.data.expression import ExpressionTable
from mirror.data.splits import make_folds
from mirror.seeding import rng_for
from mirror.types import Fold


class Clean(NamedTuple):
    """A cohort with what an audit reads beside it: columns of groups, the label's among them."""

    cohort: Cohort
    groups: dict[str, dict[str, str]]


def clean_cohort(seed: int, *, genes: int = 60) -> Clean:
    """60 to 160 patients of TCGA barcodes from 4 to 12 uneven sites, two or three subtypes with genes of their own."""
    rng = rng_for(seed, "clean cohort")
    count, sites = int(rng.integers(60, 160)), int(rng.integers(4, 13))
    site = rng.choice(sites, count, p=rng.dirichlet(np.full(sites, 2.0)))
    names = [f"TCGA-{chr(65 + code)}{code % 10}-{number:04d}" for number, code in enumerate(site)]
    classes = int(rng.integers(2, 4))
    label = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, 8.0)))
    label[: 5 * classes] = np.arange(5 * classes) % classes  # folds need a few patients of each
    biology = np.where(rng.random((classes, genes)) < 0.2, rng.normal(0, 1.2, (classes, genes)), 0.0)
    log = rng.normal(rng.uniform(0, 8, genes), 1.0, (count, genes)) + biology[label]
    values = np.where(rng.random((count, genes)) < rng.choice([0.0, 0.3], genes), np.log2(0.001), log)
    values[rng.random(values.shape) < 0.01] = np.nan
    time = rng.exponential(30.0, count) + 0.1
    slides = rng.permutation(np.repeat(np.arange(count), rng.choice([1, 2], count, p=[0.9, 0.1])))
    event = rng.random(count) < 0.5
    frame = pd.DataFrame(
        {
            "slide": [f"{names[owner]}-01Z-00-DX{number}" for number, owner in enumerate(slides)],
            "patient": [names[owner] for owner in slides],
            "path": "none",
            "tiles": rng.integers(20, 60, len(slides)),
            "feature_hash": [rng.bytes(12).hex() for _ in slides],
            "has_expression": True,
            "label": [f"class {label[owner]}" for owner in slides],
            "time": time[slides],
            "event": pd.array(event[slides], dtype="boolean"),
        }
    ).sort_values("slide", ignore_index=True)
    order = np.argsort(names)
    table = ExpressionTable(
        tuple(names[row] for row in order),
        tuple(f"GENE{number}" for number in range(genes)),
        values[order].astype(np.float32),
        "log2(TPM + 0.001)",
        "made",
    )
    labels = dict(zip(names, (f"class {code}" for code in label), strict=True))
    folds = make_folds(labels, dict(zip(names, map(bool, event), strict=True)), count=4, seed=seed)
    batch = {name: f"batch {rng.integers(3)}" for name in names}
    cohort = Cohort(frame, table, folds, 8, "made", pd.DataFrame(), {}, {})
    return Clean(cohort, {"subtype": labels, "batch": batch})


def with_fold(cohort: Cohort, fold: Fold) -> tuple[Fold, ...]:
    """The folds of `cohort` with `fold` in place of that of its number."""
    return tuple(fold if one.number == fold.number else one for one in cohort.folds)
