"""Inputs of a report, made up: for the tests of the page and of what its numbers say."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd

from mirror.data.expression import ExpressionTable
from mirror.evaluation.audit.finding import Audit, Check, Finding
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.prototypes import prototypes
from mirror.evaluation.report.retrieved import retrieved
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


SHOTS = (1, 4, 10)


def complete_inputs(*, patients: int = 60, classes: int = 2, seed: int = 0) -> ReportInputs:
    """`make_inputs` with everything that a page may have: chances of subtypes, several shots, sites, an audit, ..."""
    inputs = make_inputs(patients=patients, classes=classes, seed=seed)
    rng = np.random.default_rng(seed + 1)
    people = inputs.patients.set_index("patient")
    folds = {name: number % 3 for number, name in enumerate(people.index)}
    rows = []
    for name, label in people["label"].items():
        for representation in REPRESENTATIONS:
            p = rng.dirichlet(np.where(np.arange(classes) == int(label.split()[1]), 3.0, 1.0))
            row = {f"probability_class {code}": p[code] for code in range(classes)}
            row |= {"patient": name, "fold": folds[name], "seed": 0, "draw": 0, "representation": representation}
            row |= {"protocol": "linear", "task": "subtyping", "cohort": "demo", "preset": "published"}
            rows.append(row | {"label": label, "predicted": f"class {p.argmax()}"})
    survival = inputs.predictions.assign(cohort="demo", preset="published")
    survival = survival.assign(**{name: survival["patient"].map(people[name]) for name in ("time", "event")})
    shots = [
        ("demo", fold, 0, "published", name, f"shot{count}", "subtyping", metric, rng.uniform(0.5, 0.6) + 0.02 * count)
        for count in SHOTS
        for fold in range(3)
        for name in REPRESENTATIONS
        for metric in ("accuracy", "auroc")
    ]
    scores = inputs.scores[inputs.scores["protocol"] != "shot10"]
    aligned = rng.normal(size=(patients, 4))
    obs = pd.DataFrame({"patient": people.index, "role": ["test" if one == 0 else "train" for one in folds.values()]})
    table = anndata.AnnData(obs=obs.set_index(people.index + "-DX"))
    table.obsm["X_align_slide"] = aligned + 0.3 * rng.normal(size=aligned.shape)
    table.obsm["X_align_expression"] = aligned
    expression = ExpressionTable(
        tuple(people.index),
        tuple(f"GENE{number}" for number in range(12)),
        (aligned @ rng.normal(size=(4, 12))).astype(np.float32),
        "made",
        "made",
    )
    found = Finding("a check", "leak", "fold 1", 2, "patients", "two of 20 patients are wrong", "mend them", ("P-001",))
    warning = found._replace(severity="warning", size=0.66, unit="AUROC", sentence="a site tells the label")
    return replace(
        inputs,
        scores=pd.concat([scores, pd.DataFrame(shots, columns=list(COLUMNS))], ignore_index=True),
        predictions=pd.concat([survival, pd.DataFrame(rows)], ignore_index=True),
        sites={name: f"site {rng.integers(3)}" for name in people.index},
        folds=folds,
        audit=Audit((Check("a check", "everything", (found, warning)), Check("another check", "the rest"))),
        retrieved=retrieved(table, people["label"].to_dict(), run="seed 0, fold 0"),
        prototypes=prototypes(table, rng.normal(size=(6, 4)), people, expression, run="seed 0, fold 0"),
    )
