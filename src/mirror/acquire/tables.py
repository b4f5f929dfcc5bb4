"""From what the sources sent to the tables that `mirror run` reads: slides, clinical data, whose STAR file is whose.

Nothing is filled in: a patient of whom a source says nothing has empty cells.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mirror.acquire.lock import Lock
from mirror.acquire.settings import RecipeConfig, StudiesConfig
from mirror.acquire.sources import intogen
from mirror.artefacts import write_aside, write_text
from mirror.errors import DataError, nearest

SLIDES, CLINICAL, SAMPLES = "slides.csv", "clinical.csv", "samples.csv"
GENES = f"genes/{intogen.TABLE}"

_CLINICAL = ("case_id", "project", "label", "survival_months", "survival_days", "event")


class Tables(NamedTuple):
    """The tables that were written, and how many patients have what."""

    files: tuple[str, ...]
    patients: int
    with_label: int
    with_survival: int
    events: int


def write_tables(lock: Lock, folder: Path) -> Tables:
    """Write every table that the fetched parts allow. Raises `DataError` for documents that are something else.

    `clinical.csv`: a row for each patient of the projects; `label` and `survival_months` from the studies where the
    recipe names some, else `label` is the GDC's first primary diagnosis and `survival_days` from its follow-up;
    `event` is `1:DECEASED` or `0:LIVING`.
    """
    recipe = RecipeConfig.model_validate(dict(lock.recipe))
    written = [_write(folder / SLIDES, ("slide_id", "case_id"), sorted(lock.slides.items()))]
    star = lock.of_part("star")
    if star:
        rows = [(Path(file.path).name, file.subject, "".join(file.patients[:1])) for file in star]
        written.append(_write(folder / SAMPLES, ("File Name", "Sample ID", "Case ID"), rows))
    if lock.of_part("genes"):
        written.append(_unpack_genes(folder, lock))
    gdc = {case["submitter_id"]: case for case in _cases(lock, folder)}
    studies = _attributes(lock, folder) if lock.of_part("survival") else None
    if not gdc and studies is None:
        return Tables(tuple(written), len(lock.patients), 0, 0, 0)
    rows = [_patient(patient, gdc.get(patient, {}), studies, recipe.studies) for patient in lock.patients]
    written.append(_write(folder / CLINICAL, _CLINICAL, [[row[name] for name in _CLINICAL] for row in rows]))
    timed = [row for row in rows if (row["survival_months"] or row["survival_days"]) and row["event"]]
    return Tables(
        tuple(written),
        len(rows),
        sum(bool(row["label"]) for row in rows),
        len(timed),
        sum(row["event"].startswith("1") for row in timed),
    )


def _patient(
    patient: str,
    case: Mapping[str, Any],
    studies: Mapping[str, Mapping[str, str]] | None,
    config: StudiesConfig | None,
) -> dict[str, str]:
    row = dict.fromkeys(_CLINICAL, "") | {
        "case_id": patient,
        "project": str(case.get("project", {}).get("project_id", "")),
    }
    if studies is not None and config is not None:
        found = studies.get(patient, {})
        return row | {
            "label": found.get(config.label, ""),
            "survival_months": found.get("OS_MONTHS", ""),
            "event": found.get("OS_STATUS", ""),
        }
    days, event = _survival(case)
    diagnoses = [one.get("primary_diagnosis") for one in _primary(case)]
    return row | {"label": next(filter(None, diagnoses), ""), "survival_days": days, "event": event}


def _survival(case: Mapping[str, Any]) -> tuple[str, str]:
    """Days to death, or to the last that was heard of the patient, and which of the two it was."""
    demographic = case.get("demographic") or {}
    if str(demographic.get("vital_status", "")).lower() == "dead":
        days = demographic.get("days_to_death")
        return ("" if days is None else str(days)), "1:DECEASED"
    # In newer releases follow-up stands in a section of its own, in older ones in the diagnosis.
    heard = [one.get("days_to_last_follow_up") for one in case.get("diagnoses") or ()]
    heard += [one.get("days_to_follow_up") for one in case.get("follow_ups") or ()]
    known = [float(days) for days in heard if days is not None]
    if str(demographic.get("vital_status", "")).lower() != "alive":
        return "", ""
    return (f"{max(known):g}" if known else ""), "0:LIVING"


def _primary(case: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    diagnoses: list[Mapping[str, Any]] = case.get("diagnoses") or []
    return sorted(diagnoses, key=lambda one: one.get("classification_of_tumor") not in ("primary", None))


def _cases(lock: Lock, folder: Path) -> Iterator[Mapping[str, Any]]:
    for file in lock.of_part("clinical"):
        content = _document(folder / file.path)
        try:
            yield from content["data"]["hits"]
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / file.path} holds no cases of the GDC ({error!r}); fetch it again") from error


def _attributes(lock: Lock, folder: Path) -> dict[str, dict[str, str]]:
    """Patient -> attribute -> value. Of several samples of a patient that of the first name counts."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    seen: set[str] = set()
    for file in lock.of_part("survival"):
        rows = _document(folder / file.path)
        if not isinstance(rows, list):
            raise DataError(f"{folder / file.path} holds no clinical data of cBioPortal; fetch it again")
        for row in sorted(rows, key=lambda row: str(row.get("sampleId", ""))):
            try:
                found[row["patientId"]].setdefault(row["clinicalAttributeId"], str(row["value"]))
                seen.add(row["clinicalAttributeId"])
            except (KeyError, TypeError) as error:
                raise DataError(f"{folder / file.path} has a row without {error}; fetch it again") from error
    recipe = RecipeConfig.model_validate(dict(lock.recipe))
    if recipe.studies is not None and recipe.studies.label not in seen:
        raise DataError(
            f"the studies {', '.join(recipe.studies.studies)} have no attribute '{recipe.studies.label}'"
            f"{nearest(recipe.studies.label, tuple(sorted(seen)))}; correct `studies.label`"
        )
    return found


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch again") from error


def _unpack_genes(folder: Path, lock: Lock) -> str:
    archive = folder / lock.of_part("genes")[0].path
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [name for name in opened.namelist() if Path(name).name == intogen.TABLE]
            if len(members) != 1:
                raise DataError(f"{archive} has {len(members)} tables {intogen.TABLE}; correct `genes.archive`")
            # Read and written under a name of our own: what the archive calls it never becomes a path.
            content = opened.read(members[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive} is no readable zip archive ({error}); fetch it again") from error
    with write_aside(folder / GENES) as aside:
        aside.write_bytes(content)
    return GENES


def _write(path: Path, header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path.name
