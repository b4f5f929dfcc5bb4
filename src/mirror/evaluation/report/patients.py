"""Who is in the cohort, and what was left out and why."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mirror.evaluation.report.inputs import UNLABELLED, ReportInputs
from mirror.evaluation.report.risk_split import median_follow_up

KINDS = {
    "slide": "slides",
    "feature_file": "feature files",
    "expression": "expression profiles",
    "clinical": "clinical rows",
    "gene": "genes",
}


def flow(inputs: ReportInputs) -> list[dict[str, Any]]:
    flow: list[dict[str, Any]] = []
    for kind, count in inputs.counts.items():
        of_kind = inputs.excluded[inputs.excluded["kind"] == kind].fillna("")
        reasons = [
            {"reason": str(reason), "count": len(part), "examples": list(part["item"].astype(str).head(3))}
            for reason, part in sorted(of_kind.groupby("reason"), key=lambda pair: -len(pair[1]))
        ]
        share = 100 * count["kept"] / count["given"] if count["given"] else 0.0
        flow.append({"label": KINDS.get(kind, kind), "share": share, "reasons": reasons, **count})
    return flow


def people(patients: pd.DataFrame) -> dict[str, Any]:
    labels = patients["label"].astype(object).where(patients["label"].notna(), UNLABELLED).astype(str)
    counts = labels.value_counts()
    names = sorted(counts.index, key=lambda name: (name == UNLABELLED, -counts[name], name))
    labelled = names != [UNLABELLED]
    followed = patients.dropna(subset=["time", "event"])
    rows = [
        {
            "label": name if labelled else "all patients",
            "patients": int(counts[name]),
            "width": 100 * counts[name] / counts.max(),
            "slides": int(patients.loc[labels == name, "slides"].sum()),
            "expression": int(patients.loc[labels == name, "has_expression"].sum()),
            "events": int(followed.loc[labels[followed.index] == name, "event"].astype(float).sum()),
        }
        for name in names
    ]
    return {
        "classes": rows,
        "labelled": labelled,
        "followed": len(followed),
        "events": int(followed["event"].astype(float).sum()),
        "median": median_follow_up(followed),
        "slides": int(patients["slides"].sum()),
        "expression": int(patients["has_expression"].sum()),
    }
