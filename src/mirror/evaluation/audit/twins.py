"""One slide under two names, and one profile under two: they count twice, and may stand in both halves of a fold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mirror.artefacts import hash_bytes
from mirror.data.expression import ExpressionTable
from mirror.evaluation.audit.finding import Check, Finding, counted, few
from mirror.types import Fold

SLIDES, PROFILES = "slides under two names", "profiles under two names"


def check_slides(slides: pd.DataFrame, folds: Sequence[Fold]) -> Check:
    """`slides` as a cohort has them. Slides are the same when their tile features are, to the last bit."""
    of: dict[tuple[int, str], list[str]] = defaultdict(list)
    marks = zip(slides["tiles"], slides["feature_hash"], slides["slide"], strict=True)
    for tiles, mark, slide in marks:
        of[int(tiles), str(mark)].append(str(slide))
    owner = {str(slide): str(name) for slide, name in zip(slides["slide"], slides["patient"], strict=True)}
    findings = _findings(SLIDES, "slide", of.values(), owner, folds)
    return Check(SLIDES, f"the features of {counted(len(slides), 'slide')}, by hash", tuple(findings))


def check_profiles(expression: ExpressionTable | None, folds: Sequence[Fold]) -> Check:
    """Profiles are the same when all their values are; a profile of one value throughout tells nobody apart."""
    if expression is None:
        return Check(PROFILES, "no expression in this cohort")
    of: dict[str, list[str]] = defaultdict(list)
    for patient, values in zip(expression.patients, expression.values, strict=True):
        if len(np.unique(values[~np.isnan(values)])) > 1:
            of[hash_bytes([np.ascontiguousarray(values).tobytes()])].append(patient)
    owner = {name: name for name in expression.patients}
    findings = _findings(PROFILES, "profile", of.values(), owner, folds)
    return Check(PROFILES, f"the values of {counted(len(owner), 'profile')}, by hash", tuple(findings))


def _findings(
    check: str, word: str, groups: Iterable[list[str]], owner: Mapping[str, str], folds: Sequence[Fold]
) -> Iterable[Finding]:
    """The groups of equal things by what they do: across halves, across patients, within a patient."""
    sorted_out: dict[Hashable, list[list[str]]] = {"across": [], "patients": [], "own": []}
    crossed: set[int] = set()
    for names in groups:
        if len(names) < 2:
            continue
        people = {owner[name] for name in names}
        across = {fold.number for fold in folds if people & set(fold.train) and people & set(fold.test)}
        sorted_out["own" if len(people) == 1 else "across" if across else "patients"].append(sorted(names))
        crossed |= across if len(people) > 1 else set()
    said = {
        "across": f"have equal contents under the names of different patients, and stand in both halves of "
        f"{counted(len(crossed), 'fold')} ({', '.join(map(str, sorted(crossed)))})",
        "patients": "have equal contents under the names of different patients",
        "own": "of one patient have equal contents, so that it counts twice in what is averaged",
    }
    for kind, found in sorted_out.items():
        if found:
            count = sum(map(len, found))
            yield Finding(
                check,
                "leak" if kind == "across" else "warning",
                few([" = ".join(names) for names in found]),
                count,
                f"{word}s",
                f"{counted(count, word)} {said[str(kind)]}",
                f"find out whose {word} it is, and keep it under that name alone",
                tuple(" = ".join(names) for names in found),
            )
