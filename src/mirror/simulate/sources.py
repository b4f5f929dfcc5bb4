"""What the sources of a recipe would hold, simulated: patients of its projects, their slides, transcripts and outcomes.

The classes differ in the first transcripts (`SIGNAL` of them) and in nothing else, so what a refinement should find is
known. Flaws of the real sources are there too: normals beside tumours, patients without a slide, without expression or
without follow-up, several slides of one patient, samples of other projects in the matrix, classes outside the task.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.acquire.settings import RecipeConfig
from mirror.acquire.sources.intogen import CANCER_TYPE, SYMBOL, TABLE
from mirror.artefacts import write_aside
from mirror.seeding import rng_for
from mirror.simulate.archive import Content, Served, gdc_file
from mirror.types import Progress, silent

SIGNAL = 40
"""Transcripts that differ between the classes."""

REGION_FEATURES = 192
_PER_GENE = 4
_DIGITS = 1000
"""Values are told apart to a thousandth, as far as anybody reads them."""


@dataclass(frozen=True, slots=True)
class SourceSizes:
    """How much the simulated sources hold."""

    patients: int = 60
    transcripts: int = 400
    others: int = 12
    """Samples of other projects in the matrix."""
    effect: float = 2.0
    """What the signal moves a class, in logarithms of base 2."""


@dataclass(frozen=True, slots=True)
class SimulatedPatient:
    """One patient and what is simulated of them."""

    name: str
    project: str
    label: str
    group: int
    slides: tuple[str, ...]
    expressed: bool
    normal: bool
    months: float | None
    dead: bool


def simulate_sources(
    recipe: RecipeConfig, folder: Path, *, seed: int, sizes: SourceSizes | None = None, progress: Progress = silent
) -> tuple[Content, list[SimulatedPatient]]:
    """All that `recipe` asks its sources for, and who is in it. The matrix lies in `folder`; the rest is in memory."""
    sizes = sizes or SourceSizes()
    people = _people(recipe, sizes, seed=seed)
    content = content_of(recipe, people, seed=seed)
    content.files[f"/intogen/{recipe.genes.archive}"] = Served(_genes(recipe))
    matrix = write_matrix(folder / "matrix.tsv.gz", people, sizes, seed=seed, progress=progress)
    content.files[f"/xena/{recipe.toil.matrix}"] = Served(matrix, etag='"toil"')
    content.files[f"/xena/{recipe.toil.probe_map}"] = Served(_probe_map(sizes), etag='"map"')
    return content, people


def content_of(recipe: RecipeConfig, people: Sequence[SimulatedPatient], *, seed: int) -> Content:
    """What the GDC, cBioPortal and HIPT hold of `people`: all but the matrix, its map and the list of genes."""
    content = Content()
    _gdc(content, people, seed=seed)
    _cbioportal(content, recipe, people)
    _hipt(content, recipe, people, seed=seed)
    return content


def transcript_name(row: int) -> str:
    """The transcript in a row of the matrix."""
    return f"ENST{row:011d}.2"


def gene_of(row: int) -> str:
    """The gene of a row's transcript."""
    return f"GENE{row // _PER_GENE}"


def _people(recipe: RecipeConfig, sizes: SourceSizes, *, seed: int) -> list[SimulatedPatient]:
    rng = rng_for(seed, "sources", recipe.name, "people")
    classes = recipe.studies.classes if recipe.studies else ("A", "B")
    people: list[SimulatedPatient] = []
    for number in range(sizes.patients):
        group = number % len(classes)
        name = f"TCGA-{chr(65 + number // 1000 % 26)}{recipe.name[0].upper()}-A{number % 1000:03d}"
        copies = 0 if number % 20 == 7 else 2 if number % 20 == 3 else 1
        people.append(
            SimulatedPatient(
                name=name,
                project=recipe.projects[group % len(recipe.projects)],
                label="OTHER" if number % 20 == 11 else classes[group],
                group=group,
                slides=tuple(f"{name}-01Z-00-DX{copy + 1}.{rng.bytes(8).hex().upper()}" for copy in range(copies)),
                expressed=number % 20 != 13,
                normal=number % 10 == 5,
                months=None if number % 20 == 17 else round(float(rng.exponential(30)), 2),
                dead=bool(rng.random() < 0.4),
            )
        )
    return people


def _gdc(content: Content, people: Sequence[SimulatedPatient], *, seed: int) -> None:
    rng = rng_for(seed, "sources", "gdc")
    cases, files = [], []
    for person in people:
        days = None if person.months is None else round(person.months * 30.4375)
        case: dict[str, Any] = {
            "submitter_id": person.name,
            "project": {"project_id": person.project},
            "demographic": {"vital_status": "Dead" if person.dead else "Alive", "gender": "female"}
            | ({"days_to_death": days} if person.dead and days is not None else {}),
            "diagnoses": [{"primary_diagnosis": person.label, "classification_of_tumor": "primary"}],
            "follow_ups": [{"days_to_follow_up": days}] if days is not None else [],
        }
        cases.append(case)
        owner = {"submitter_id": person.name, "project": case["project"]}
        files += [
            gdc_file(
                rng.bytes(2000),
                file_name=f"{slide}.svs",
                data_type="Slide Image",
                experimental_strategy="Diagnostic Slide",
                cases=[owner | {"samples": [{"submitter_id": f"{person.name}-01Z"}]}],
            )
            for slide in person.slides
        ]
        if person.expressed:
            files.append(
                gdc_file(
                    _star(rng),
                    file_name=f"{rng.bytes(8).hex()}.rna_seq.augmented_star_gene_counts.tsv",
                    data_type="Gene Expression Quantification",
                    analysis={"workflow_type": "STAR - Counts"},
                    cases=[owner | {"samples": [{"submitter_id": f"{person.name}-01A"}]}],
                )
            )
    for number, (record, served) in enumerate(files):
        record["file_id"] = f"{number:08x}-0000-4000-8000-{number:012x}"
        content.files[f"/gdc/data/{record['file_id']}"] = served
    content.hits["cases"] = cases
    content.hits["files"] = [record for record, _ in files]
    names = sorted({person.project for person in people})
    content.hits["projects"] = [
        {
            "project_id": name,
            "name": f"Simulated {name}",
            "summary": {"case_count": sum(one.project == name for one in people), "file_count": len(files)},
        }
        for name in names
    ]


def _star(rng: np.random.Generator) -> bytes:
    lines = ["# gene-model: GENCODE v36", "gene_id\tgene_name\tunstranded\ttpm_unstranded"]
    lines += [
        f"{name}\t\t{int(rng.integers(1_000_000))}\t"
        for name in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    ]
    counts = rng.integers(0, 500, size=50)
    lines += [
        f"ENSG{row:011d}.1\tG{row}\t{count}\t{count / counts.sum() * 1e6:.4f}"
        for row, count in enumerate(counts.tolist())
    ]
    return ("\n".join(lines) + "\n").encode()


def _cbioportal(content: Content, recipe: RecipeConfig, people: Sequence[SimulatedPatient]) -> None:
    if recipe.studies is None:
        return
    for number, study in enumerate(recipe.studies.studies):
        own = [one for one in people if recipe.projects.index(one.project) % len(recipe.studies.studies) == number]
        content.documents[f"/cbioportal/studies/{study}"] = {
            "studyId": study,
            "name": study,
            "importDate": "2024-12-05 10:00:00",
        }
        patients = [
            _attribute(study, one.name, name, value)
            for one in own
            for name, value in (
                ("OS_STATUS", "1:DECEASED" if one.dead else "0:LIVING"),
                *([] if one.months is None else [("OS_MONTHS", str(one.months))]),
            )
        ]
        samples = [
            _attribute(study, one.name, recipe.studies.label, one.label) | {"sampleId": f"{one.name}-01"} for one in own
        ]
        content.documents[f"/cbioportal/studies/{study}/clinical-data"] = {"PATIENT": patients, "SAMPLE": samples}


def _attribute(study: str, patient: str, name: str, value: str) -> dict[str, Any]:
    return {"studyId": study, "patientId": patient, "clinicalAttributeId": name, "value": value}


def _hipt(content: Content, recipe: RecipeConfig, people: Sequence[SimulatedPatient], *, seed: int) -> None:
    config = recipe.hipt
    tree: list[dict[str, Any]] = [{"path": "README.md", "type": "blob", "size": 10}]
    for person in people:
        for slide in person.slides:
            rng = rng_for(seed, "sources", "hipt", slide)
            features = rng.normal(person.group, 2.0, size=(int(rng.integers(8, 20)), REGION_FEATURES))
            body = io.BytesIO()
            torch.save(torch.tensor(features, dtype=torch.float32), body)
            place = f"{config.repository}/{config.commit}/{config.folder}/{slide}.pt"
            digest = hashlib.sha256(body.getvalue()).hexdigest()
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(body.getvalue())}\n"
            content.files[f"/raw/{place}"] = Served(pointer.encode())
            content.files[f"/media/{place}"] = Served(body.getvalue())
            tree.append({"path": f"{slide}.pt", "type": "blob", "size": len(pointer)})
    listing = f"/github/repos/{config.repository}/git/trees/{config.commit}:{config.folder}"
    content.documents[listing] = {"sha": config.commit, "tree": tree, "truncated": False}


def _genes(recipe: RecipeConfig) -> bytes:
    """Drivers that carry no signal, and one that is in no table."""
    kinds = recipe.genes.cancer_types or ("ANY",)
    rows = [f"{SYMBOL}\tCOHORT\t{CANCER_TYPE}"]
    rows += [f"GENE{SIGNAL + number}\tsimulated\t{kinds[number % len(kinds)]}" for number in range(2 * len(kinds))]
    rows += [f"NOWHERE\tsimulated\t{kinds[0]}", f"GENE{SIGNAL + 20}\tsimulated\tELSEWHERE"]
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(f"IntOGen/{TABLE}", "\n".join(rows) + "\n")
        archive.writestr("IntOGen/README.txt", "simulated\n")
    return body.getvalue()


def _probe_map(sizes: SourceSizes) -> bytes:
    lines = ["id\tgene\tchrom\tchromStart\tchromEnd\tstrand"]
    lines += [f"{transcript_name(row)}\t{gene_of(row)}\tchr1\t{row}\t{row + 1}\t+" for row in range(sizes.transcripts)]
    return ("\n".join(lines) + "\n").encode()


def write_matrix(
    path: Path, people: Sequence[SimulatedPatient], sizes: SourceSizes, *, seed: int, progress: Progress = silent
) -> Path:
    """The transcripts of all samples as Xena lays them out: a row a transcript, log2(FPKM + 0.001)."""
    rng = rng_for(seed, "sources", "matrix")
    columns = [
        (f"{person.name}-{kind}", person.group if kind == "01" else -1)
        for person in people
        for kind in (["01"] if person.expressed else []) + (["11"] if person.normal else [])
    ]
    columns += [(f"TCGA-ZZ-B{number:03d}-01", -1) for number in range(sizes.others)]
    order = rng.permutation(len(columns))
    names = [columns[at][0] for at in order]
    groups = np.array([columns[at][1] for at in order])
    lowest = float(np.log2(0.001))
    # Texts of all values there are, made once: writing 200 million numbers would take minutes.
    texts = [f"{lowest + step / _DIGITS:.4f}" for step in range(30 * _DIGITS)]
    with write_aside(path) as aside, gzip.open(aside, "wt", compresslevel=1) as file:
        file.write("sample\t" + "\t".join(names) + "\n")
        for row in range(sizes.transcripts):
            file.write(
                f"{transcript_name(row)}\t" + "\t".join([texts[at] for at in _row(rng, row, groups, sizes)]) + "\n"
            )
            progress(row + 1, sizes.transcripts, "transcripts")
    return path


def _row(rng: np.random.Generator, row: int, groups: NDArray[np.int64], sizes: SourceSizes) -> list[int]:
    """Steps above the lowest value of one transcript in all samples."""
    level = rng.uniform(2, 12)
    values = level + 1.5 * rng.standard_normal(len(groups), dtype=np.float32)
    if row < SIGNAL:
        # Each class is raised by its own share of the signal.
        values += sizes.effect * (groups == row % max(2, int(groups.max()) + 1))
    return np.clip(values * _DIGITS, 0, 30 * _DIGITS - 1).astype(np.int64).tolist()
