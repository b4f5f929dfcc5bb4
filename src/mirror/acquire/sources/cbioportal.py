"""cBioPortal: the clinical data of a study, one document for patients and one for samples.

See https://www.cbioportal.org/api (OpenAPI): a row is `{patientId, sampleId?, clinicalAttributeId, value, ...}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from mirror.acquire.client import Client, SourceError
from mirror.acquire.remote import RemoteFile

_ALL_ROWS = 10_000_000


class CBioPortal:
    """The API at `base`, for `studies`."""

    def __init__(self, client: Client, base: str, studies: Sequence[str]) -> None:
        self._client, self._base, self._studies = client, base.rstrip("/"), tuple(studies)

    def release(self) -> str:
        """When each study was imported last."""
        dates: list[str] = []
        for study in self._studies:
            url = f"{self._base}/studies/{quote(study)}"
            found: Any = self._client.json(url)
            if not isinstance(found, dict) or found.get("studyId") != study:
                raise SourceError(f"{url} does not describe the study {study}; is this an API of cBioPortal?")
            dates.append(f"{study} imported {found.get('importDate', 'unknown date')}")
        return "; ".join(dates)

    def files(self, release: str) -> list[RemoteFile]:
        """Two documents a study."""
        return [
            RemoteFile(
                path=f"clinical/cbioportal.{study}.{kind.lower()}.json",
                url=f"{self._base}/studies/{quote(study)}/clinical-data?"
                + urlencode(
                    {"clinicalDataType": kind, "projection": "SUMMARY", "pageSize": _ALL_ROWS, "pageNumber": 0}
                ),
                part="survival",
                source="cbioportal",
                release=release,
                subject=study,
            )
            for study in self._studies
            for kind in ("PATIENT", "SAMPLE")
        ]
