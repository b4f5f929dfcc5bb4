"""A file of a source: where it is, how large it should be, and by which checksum it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from mirror.acquire.settings import Part
from mirror.errors import ArtefactError, DataError

Source = Literal["gdc", "xena", "cbioportal", "hipt", "intogen"]

TERMS: dict[Source, str] = {
    "gdc": "NCI Genomic Data Commons, https://gdc.cancer.gov/about-gdc/gdc-policies. Nobody may try to identify "
    "or re-identify a participant; whoever shows results names the data set, its accession numbers and "
    "the GDC. The GDC restricts open-access data in no other way; cite the study. Controlled-access "
    "files: the terms of the dbGaP authorisation they were granted under.",
    "xena": "UCSC Xena, Toil RNA-seq recompute of TCGA, TARGET and GTEx: cite Vivian et al. 2017 "
    "(https://doi.org/10.1038/nbt.3772) and Goldman et al. 2020 "
    "(https://doi.org/10.1038/s41587-020-0546-8). Of terms of its own nothing is known here: see "
    "https://xena.ucsc.edu. Nobody may try to identify a participant, as of TCGA's data at the GDC.",
    "cbioportal": "cBioPortal for Cancer Genomics: Open Database License (ODbL) v1.0, "
    "https://opendatacommons.org/licenses/odbl/1-0/. Name the source in public use; what you make of the "
    "database stays open, under the same licence. Cite cBioPortal and the study. Nobody may try to "
    "identify a participant, as of TCGA's data at the GDC.",
    "hipt": "HIPT (Chen et al., CVPR 2022), https://github.com/mahmoodlab/HIPT: GPLv3, for non-commercial "
    "academic purposes, as its README says; cite the paper.",
    "intogen": "IntOGen: cite Martinez-Jimenez et al. 2020 (https://doi.org/10.1038/s41568-020-0290-x). Its terms of "
    "use are not known here: see https://www.intogen.org.",
}
"""What the sources ask of whoever uses their files. Read their own pages before you publish or sell anything."""


class Digest(Protocol):
    """A running hash."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file to fetch. `path` is relative to the output folder; `checksum` is `md5:...` or `sha256:...`, or None
    where no one says it before the first fetch; `size` in bytes, None where the source tells none.

    `subject` is what the file is about (a sample's barcode, a slide's name), `patients` whose it is; both may be empty.
    """

    path: str
    url: str
    part: Part
    source: Source
    release: str
    size: int | None = None
    checksum: str | None = None
    controlled: bool = False
    subject: str = ""
    patients: tuple[str, ...] = ()
    pinned: Literal["by the source", "at first fetch"] = "by the source"
    """Who said the checksum: of one pinned at first fetch nobody knows whether that first fetch was right."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as values that JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RemoteFile:
        """What `as_json` gave. Raises `ArtefactError` when it is damaged, or leads out of the output folder."""
        values: dict[str, Any] = {**content, "patients": tuple(content.get("patients", ()))}
        try:
            made = cls(**values)
        except TypeError as error:
            raise ArtefactError(f"a file of the lock is damaged ({error}); plan again") from error
        return made._checked()

    def _checked(self) -> RemoteFile:
        place = PurePosixPath(self.path)
        if place.is_absolute() or ".." in place.parts or not place.parts:
            raise ArtefactError(f"'{self.path}' of the lock leads out of the output folder; plan again")
        return self


def safe_name(name: str) -> str:
    """`name`, as a source gave it, as the name of a file. Raises `DataError` when it would lead elsewhere."""
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise DataError(f"a source calls a file '{name}', which is no name of a file; report it to the source")
    return name


def digest_of(checksum: str) -> Digest:
    """A fresh hash of the kind that `checksum` names. Raises `ArtefactError` for one that is not known."""
    kind = checksum.split(":", 1)[0]
    if kind not in ("md5", "sha256"):
        raise ArtefactError(f"checksum '{checksum}' is of no known kind; known are md5 and sha256")
    return hashlib.md5(usedforsecurity=False) if kind == "md5" else hashlib.sha256()


def checksum_of(path: Path, kind: str) -> str:
    """`kind:...` of a file's bytes, read in pieces of one MiB."""
    digest = digest_of(f"{kind}:")
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return f"{kind}:{digest.hexdigest()}"
