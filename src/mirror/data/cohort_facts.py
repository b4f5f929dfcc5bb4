"""What cohort.json says of a cohort: inputs by their hash, classes, survival in a plain sentence, folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.artefacts import fingerprint, hash_file
from mirror.config import ClinicalConfig, CohortConfig
from mirror.data.clinical import ReadClinical
from mirror.data.slide_table import SlideRow, duplicate_features
from mirror.data.splits import ReadFolds
from mirror.errors import DataError
from mirror.types import Fold

LIFE_MONTHS = 1200
"""Nobody is followed for longer: 100 years."""


def describe(
    config: CohortConfig, patients: pd.DataFrame, rows: Sequence[SlideRow], clinical: ReadClinical | None
) -> dict[str, Any]:
    """Counts over the `patients` that are kept (`Cohort.patients`), as JSON-like values."""
    tables = {
        "slides": config.slides.path,
        "expression": config.expression.path if config.expression else None,
        "clinical": config.clinical.path if config.clinical else None,
        "folds": config.folds.path,
    }
    inputs = {name: _hash(path) for name, path in tables.items() if path is not None}
    inputs["features"] = fingerprint([(row.slide, row.summary.feature_hash) for row in rows])
    facts: dict[str, Any] = {
        "config": fingerprint(config.model_dump(mode="json")),
        "inputs": inputs,
        "slides": len(rows),
        "patients": len(patients),
        "patients_without_slide": len(patients) - len({row.patient for row in rows}),
        "patients_with_expression": int(patients["has_expression"].sum()),
        "units": (config.expression.convert_to or config.expression.units) if config.expression else None,
        "duplicate_features": duplicate_features(rows),
    }
    if config.clinical is not None and clinical is not None:
        facts |= {
            "labels": _labels(patients, clinical, config.clinical),
            "survival": _survival(patients, config.clinical),
        }
    return facts


def endpoint_sentences(facts: Mapping[str, Any]) -> list[str]:
    """What there is to predict, of the facts of a cohort: patients by class, and how many had the event."""
    labels, survival = facts.get("labels"), facts.get("survival")
    sentences: list[str] = []
    if labels is not None:
        others = {"of other classes": sum(labels["outside"].values()), "without label": labels["missing"]}
        told = [*(f"{name} {count}" for name, count in labels["classes"].items())]
        told += [f"{count} {kind}" for kind, count in others.items() if count]
        sentences.append("; ".join(told))
    if survival is not None:
        followed = survival["events"] + survival["censored"]
        had = f"{survival['events']} of {followed} patients with follow-up had the event"
        if survival.get("median_months") is not None:
            had += (
                f"; follow-up (column '{survival['time']}', read as {survival['time_unit']}) has a median of "
                f"{_months(survival['median_months'])}, the longest is {_months(survival['longest_months'])}"
            )
        sentences.append(had)
    return sentences


def lifetime_sentences(facts: Mapping[str, Any]) -> list[str]:
    """That patients were followed for longer than anybody lives, which a wrong unit makes of right times."""
    survival = facts.get("survival") or {}
    if not survival.get("longer_than_a_life"):
        return []
    first, *others = survival["longer_than_a_life"]
    return [
        f"Follow-up is longer than a human life ({LIFE_MONTHS // 12} years) of {first['patient']}: "
        f"{first['months'] / 12:,.0f} years{f', and of {len(others)} more' if others else ''}. Column "
        f"'{survival['time']}' is read as {survival['time_unit']}; name the unit that it is in as "
        "`clinical.time_unit`, or correct the table."
    ]


def describe_folds(folds: Sequence[Fold], patients: Sequence[str], read: ReadFolds | None) -> dict[str, Any]:
    """Sizes, and what of the user's own folds (`read`) did not meet the cohort."""
    tested = Counter(patient for fold in folds for patient in fold.test)
    return {
        "source": "made" if read is None else "read",
        "sizes": [{"fold": fold.number, "train": len(fold.train), "test": len(fold.test)} for fold in folds],
        "tested_more_than_once": sorted(patient for patient, times in tested.items() if times > 1),
        "never_tested": sorted(set(patients) - tested.keys()),
        "unknown": {} if read is None else {str(fold): list(names) for fold, names in read.unknown.items() if names},
        "unused": {} if read is None else {str(fold): list(names) for fold, names in read.unused.items() if names},
    }


def _hash(path: Path) -> str:
    """Of a file, or of all files of a folder, as GDC STAR counts are."""
    if path.is_file():
        return hash_file(path)
    if not path.exists():
        raise DataError(f"{path} is not there; correct its `path` in the configuration")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint([(str(file.relative_to(path)), hash_file(file)) for file in files])


def _labels(patients: pd.DataFrame, clinical: ReadClinical, config: ClinicalConfig) -> dict[str, Any] | None:
    if config.label is None:
        return None
    outside = clinical.patients["class_outside"].reindex(patients.index).dropna()
    return {
        "classes": {str(label): int(count) for label, count in patients["label"].value_counts().sort_index().items()},
        "outside": {str(label): int(count) for label, count in outside.value_counts().sort_index().items()},
        "missing": int(patients["label"].isna().sum()) - len(outside),
    }


def _survival(patients: pd.DataFrame, config: ClinicalConfig) -> dict[str, Any] | None:
    if config.event is None:
        return None
    known = patients[patients["event"].notna()]
    happened = known["event"].astype(bool)
    beyond = known.loc[known["time"] > LIFE_MONTHS, "time"].sort_values(ascending=False, kind="stable")
    medians = [_median(known.loc[happened, "time"]), _median(known.loc[~happened, "time"])]
    sentence = (
        f"{int(happened.sum())} of the {len(known)} patients with follow-up had the event (column '{config.event}' "
        f"read as {config.event_convention}), after a median of {_months(medians[0])}; the others were followed for a "
        f"median of {_months(medians[1])}. Without follow-up: {len(patients) - len(known)}. "
        "If that is the wrong way round, name the other convention."
    )
    return {
        "convention": config.event_convention,
        "events": int(happened.sum()),
        "censored": int((~happened).sum()),
        "missing": len(patients) - len(known),
        "time": config.time,
        "time_unit": config.time_unit,
        "median_months": _median(known["time"]),
        "longest_months": round(float(known["time"].max()), 2) if len(known) else None,
        "longer_than_a_life": [
            {"patient": str(patient), "months": round(float(months), 2)} for patient, months in beyond.items()
        ],
        "median_months_event": medians[0],
        "median_months_censored": medians[1],
        "sentence": sentence,
    }


def _median(time: pd.Series) -> float | None:
    return round(float(time.median()), 2) if len(time) else None


def _months(median: float | None) -> str:
    return "(none)" if median is None else f"{median:,.1f} months"
