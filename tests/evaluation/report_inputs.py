"""Inputs of a report, made up: for the tests of the page and of what its numbers say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror.evaluation.report import ReportInputs
from mirror.evaluation.scores import COLUMNS

REPRESENTATIONS = ("slide", "expression", "fused", "raw_slide", "raw_fused", "pca8_fused")


def scores_of(values: dict[str, list[float]], *, task: str = "subtyping", protocol: str = "linear") -> pd.DataFrame:
    metric = "c_index" if task == "survival" else "auroc"
    rows = [
        ("demo", fold, 0, "published", name, protocol, task, metric, value)
        for name, by_fold in values.items()
        for fold, value in enumerate(by_fold)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def make_inputs(*, patients: int = 60, folds: int = 3, classes: int = 2, seed: int = 0) -> ReportInputs:
    rng = np.random.default_rng(seed)
    names = [f"P-{number:03d}" for number in range(patients)]
    label = [f"class {number % classes}" for number in range(patients)]
    people = pd.DataFrame({"patient": names, "label": label, "time": rng.exponential(30, patients)})
    people["event"] = pd.array(rng.random(patients) < 0.6, dtype="boolean")
    people["slides"], people["has_expression"] = 1, [number % 10 != 0 for number in range(patients)]
    people.loc[3, "event"], people.loc[3, "time"] = pd.NA, np.nan
    parts = []
    for task, protocols, metrics in (
        ("subtyping", ("linear", "shot10"), ("accuracy", "auroc")),
        ("survival", ("cox", "discrete"), ("c_index",)),
    ):
        parts += [
            ("demo", fold, 0, "published", name, protocol, task, metric, rng.uniform(0.55, 0.95))
            for fold in range(folds)
            for name in REPRESENTATIONS
            for protocol in protocols
            for metric in metrics
        ]
    predictions = pd.DataFrame(
        [
            {"patient": name, "fold": number % folds, "seed": 0, "representation": representation, "protocol": protocol}
            | {"task": "survival", "draw": 0, "risk": rng.normal()}
            for number, name in enumerate(names)
            for representation in REPRESENTATIONS
            for protocol in ("cox", "discrete")
        ]
    )
    history = [{"epoch": epoch, "total": 2.0 / (1 + epoch), "alignment": 3.0 / (1 + epoch)} for epoch in range(5)]
    points = [
        {
            "patient": name,
            "modality": modality,
            "label": label[number],
            "role": "train" if number % folds else "test",
        }
        | {f"v{place}": value for place, value in enumerate(rng.normal(size=6))}
        for number, name in enumerate(names)
        for modality in ("slide", "expression")
    ]
    excluded = pd.DataFrame(
        [("slide", f"S-{number}", "no features", "slides.csv") for number in range(4)],
        columns=["kind", "item", "reason", "source"],
    )
    return ReportInputs(
        name="demo",
        preset="published",
        config_yaml="name: demo\n",
        counts={"slide": {"given": patients + 4, "kept": patients, "excluded": 4}},
        excluded=excluded,
        patients=people,
        notes=["One is an event."],
        warnings=["Do not trust this."],
        scores=pd.DataFrame(parts, columns=list(COLUMNS)),
        predictions=predictions,
        histories={(0, fold): history for fold in range(folds)},
        embedding=pd.DataFrame(points),
        facts={"Finished": "2025-01-01", "Made with": "torch 2.0"},
    )
