"""Splits by patient: the user's folds, folds of our own, inner folds, few-shot subsets."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from mirror.artefacts import read_json, write_json
from mirror.errors import ArtefactError, DataError, LeakError, raise_together
from mirror.seeding import rng_for
from mirror.types import Fold


class ReadFolds(NamedTuple):
    """The user's folds, and by fold number the patients the cohort does not have and those the fold does not use."""

    folds: tuple[Fold, ...]
    unknown: dict[int, tuple[str, ...]]
    unused: dict[int, tuple[str, ...]]


def read_folds(path: Path, patients: Sequence[str]) -> ReadFolds:
    """Read JSON `{"0": {"train": [...], "val": [...]}, ...}` (or a list of such parts; `test` for `val`).

    A fold's number is its key where all keys are numbers, else its place. Patients the cohort does not have are left
    out of their fold and reported. Raises `LeakError` that names every patient who stands in both halves of a fold,
    and `DataError` when the file is not of this form or half a fold is empty.
    """
    cohort = set(patients)
    folds: list[Fold] = []
    shared: list[str] = []
    empty: list[str] = []
    unknown: dict[int, tuple[str, ...]] = {}
    unused: dict[int, tuple[str, ...]] = {}
    for number, (train, test) in read_halves(path).items():
        both = sorted(train & test)
        if both:
            shared.append(f"fold {number}: {len(both)} patients in both halves: {', '.join(both)}")
        if not (train & cohort and test & cohort):
            empty.append(f"fold {number}: a half has no patient of the cohort; are these the cohort's patient names?")
        unknown[number] = tuple(sorted((train | test) - cohort))
        unused[number] = tuple(sorted(cohort - train - test))
        folds.append(Fold(number, tuple(sorted(train & cohort)), tuple(sorted(test & cohort))))
    remedy = "give each patient one half, or leave `folds.path` out to have folds made"
    raise_together(LeakError, f"{path} puts patients in both halves of a fold; {remedy}:", shared)
    raise_together(DataError, f"{path}:", empty)
    return ReadFolds(tuple(folds), unknown, unused)


def read_halves(path: Path) -> dict[int, tuple[set[str], set[str]]]:
    """The halves of each fold of the user's file as they are written, shared patients and strangers among them.

    Raises `DataError` when the file is not of the form that `read_folds` reads.
    """
    return {number: _halves(part, f"{path}, fold {number}") for number, part in _parts(path).items()}


def fold_numbers(path: Path) -> tuple[int, ...]:
    """The numbers of the folds in a file that `read_folds` reads. Raises `DataError` as it does."""
    return tuple(_parts(path))


def make_folds(
    labels: Mapping[str, str | None], events: Mapping[str, bool | None], *, count: int, seed: int
) -> tuple[Fold, ...]:
    """Folds stratified by label and event, the same for any order of the patients (the keys of `labels`).

    Patients without label or event are a stratum of their own. Any stratum is spread to within one patient over the
    folds, any label too, however rare its events are. Raises `DataError` when a class has fewer patients than `count`.
    """
    sizes = Counter(label for label in labels.values() if label is not None)
    small = [f"class '{label}' has {size}" for label, size in sorted(sizes.items()) if size < count]
    remedy = "lower `folds.count`, or leave the class out of `classes`"
    raise_together(DataError, f"{count} folds need {count} patients of each class; {remedy}:", small)
    strata = {patient: f"{label!r}, {events.get(patient)!r}" for patient, label in labels.items()}
    return inner_folds(strata, count=count, seed=seed)


def inner_folds(strata: Mapping[str, str], *, count: int, seed: int) -> tuple[Fold, ...]:
    """Folds of the patients (the keys of `strata`), each stratum spread over them to within one patient.

    Raises `DataError` when there are fewer patients than folds.
    """
    if len(strata) < count:
        raise DataError(f"{len(strata)} patients cannot be split into {count} folds; lower the number of folds")
    members: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(strata):
        members[strata[patient]].append(patient)
    # Dealt like cards, one stratum after the other without starting over: neighbours in the order of strata (the events
    # of one label) are spread together, and no fold is larger than another by more than one patient.
    dealt = [
        patient
        for stratum in sorted(members)
        for patient in rng_for(seed, "folds", stratum).permutation(np.array(members[stratum], dtype=object))
    ]
    tests = [sorted(dealt[number::count]) for number in range(count)]
    return tuple(
        Fold(number, tuple(sorted(set(strata).difference(test))), tuple(test)) for number, test in enumerate(tests)
    )


def save_folds(path: Path, folds: Sequence[Fold]) -> None:
    """Write the folds as JSON."""
    write_json(path, {"folds": [fold._asdict() for fold in folds]})


def load_folds(path: Path) -> tuple[Fold, ...]:
    """Read what `save_folds` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
    content = read_json(path)
    try:
        return tuple(Fold(int(fold["number"]), tuple(fold["train"]), tuple(fold["test"])) for fold in content["folds"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} does not hold folds ({error!r}); build the cohort again") from error


def _parts(path: Path) -> dict[int, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there are no folds {path}; correct `folds.path`, or leave it out") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict | list) or not content:
        raise DataError(f'{path} has no folds; expected {{"0": {{"train": [...], "val": [...]}}, ...}}')
    if isinstance(content, list):
        return dict(enumerate(cast("list[Any]", content)))
    named = cast("dict[str, Any]", content)
    numbered = all(key.isdecimal() for key in named) and len({int(key) for key in named}) == len(named)
    return {int(key): part for key, part in named.items()} if numbered else dict(enumerate(named.values()))


def _halves(part: Any, where: str) -> tuple[set[str], set[str]]:
    names = set(cast("dict[str, Any]", part)) if isinstance(part, dict) else set[str]()
    judged = names & {"val", "test"}
    if "train" not in names or len(judged) != 1 or not all(isinstance(half, list) for half in part.values()):
        raise DataError(f"{where} has {sorted(names)}; expected the lists `train` and one of `val` and `test`")
    return {str(patient) for patient in part["train"]}, {str(patient) for patient in part[judged.pop()]}
