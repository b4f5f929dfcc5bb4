"""The Genomic Data Commons: projects, cases, and files with their md5, by its public API.

Every search is a GET whose `filters` are JSON; results come in pages (`size`, `from`) with their total. A file is at
`/data/<uuid>`. See https://docs.gdc.cancer.gov/API/Users_Guide/Search_and_Retrieval/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from mirror.acquire.client import Client, SourceError
from mirror.acquire.remote import RemoteFile, safe_name
from mirror.acquire.settings import Part

PAGE = 2000
"""Results asked for at a time."""

_FILE_FIELDS = (
    "file_id",
    "file_name",
    "file_size",
    "md5sum",
    "access",
    "cases.submitter_id",
    "cases.project.project_id",
    "cases.samples.submitter_id",
)
_CASE_FIELDS = (
    "submitter_id",
    "project.project_id",
    "primary_site",
    "disease_type",
    "demographic.vital_status",
    "demographic.days_to_death",
    "demographic.gender",
    "diagnoses.primary_diagnosis",
    "diagnoses.age_at_diagnosis",
    "diagnoses.days_to_last_follow_up",
    "diagnoses.classification_of_tumor",
    "follow_ups.days_to_follow_up",
)
_WHICH: dict[str, dict[str, str]] = {
    "slides": {"data_type": "Slide Image", "experimental_strategy": "Diagnostic Slide"},
    "star": {"data_type": "Gene Expression Quantification", "analysis.workflow_type": "STAR - Counts"},
}


class Project(NamedTuple):
    """A project of the GDC and how much it has."""

    project: str
    name: str
    cases: int
    files: int


class Gdc:
    """The API at `base`, for the cases of `projects`."""

    def __init__(self, client: Client, base: str, projects: Sequence[str]) -> None:
        self._client, self._base, self._projects = client, base.rstrip("/"), tuple(projects)

    def release(self) -> str:
        """What the API serves now, such as `Data Release 45.0 - December 04, 2025`."""
        status = self._client.json(f"{self._base}/status")
        release = status.get("data_release") if isinstance(status, dict) else None
        if not isinstance(release, str):
            raise SourceError(f"{self._base}/status names no data_release; is this an API of the GDC?")
        return release

    def projects(self) -> list[Project]:
        """All projects, in order of name."""
        fields = ("project_id", "name", "summary.case_count", "summary.file_count")
        found = [
            Project(
                hit["project_id"],
                hit.get("name", ""),
                int(hit["summary"]["case_count"]),
                int(hit["summary"]["file_count"]),
            )
            for hit in self._all("projects", None, fields, sort="project_id")
        ]
        return sorted(found)

    def cases(self) -> list[str]:
        """The patients of the projects. Raises `SourceError` when there are none: a project is called otherwise."""
        hits = self._all("cases", self._of_projects(), ("submitter_id",), sort="case_id")
        found = [hit["submitter_id"] for hit in hits]
        if not found:
            raise SourceError(
                f"{self._base} has no case of {', '.join(self._projects)}; `mirror data list --projects` names projects"
            )
        return sorted(found)

    def files(self, part: Part, release: str, *, access: str) -> list[RemoteFile]:
        """The files of a part (`slides` or `star`), in order of name; controlled ones only where `access` says so."""
        wanted = {**_WHICH[part]} | ({} if access == "controlled" else {"access": "open"})
        of_projects = _is("cases.project.project_id", self._projects)
        filters = _both(of_projects, *(_is(field, [value]) for field, value in wanted.items()))
        made = [self._file(hit, part, release) for hit in self._all("files", filters, _FILE_FIELDS, sort="file_id")]
        return sorted(made, key=lambda file: file.path)

    def case_documents(self, release: str, cases: int) -> list[RemoteFile]:
        """The cases with their diagnoses and follow-up, as documents of the API, a page each."""
        return [
            RemoteFile(
                path=f"clinical/gdc_cases.{number:03d}.json",
                url=self._url("cases", self._of_projects(), _CASE_FIELDS, sort="case_id", start=start),
                part="clinical",
                source="gdc",
                release=release,
            )
            for number, start in enumerate(range(0, cases, PAGE))
        ]

    def _file(self, hit: dict[str, Any], part: Part, release: str) -> RemoteFile:
        try:
            name, cases = safe_name(hit["file_name"]), hit.get("cases", [])
            samples = [sample["submitter_id"] for case in cases for sample in case.get("samples", [])]
            # A sample's file goes where the GDC's own client puts it: the same name may come twice.
            path = f"slides/{name}" if part == "slides" else f"star/{safe_name(hit['file_id'])}/{name}"
            return RemoteFile(
                path=path,
                url=f"{self._base}/data/{hit['file_id']}",
                part=part,
                source="gdc",
                release=release,
                size=int(hit["file_size"]),
                checksum=f"md5:{hit['md5sum']}",
                controlled=hit["access"] != "open",
                subject=name.removesuffix(".svs") if part == "slides" else (samples or [""])[0],
                patients=tuple(case["submitter_id"] for case in cases),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self._base}/files lists a file without what it needs ({error!r}): {hit}") from error

    def _of_projects(self) -> dict[str, Any]:
        return _is("project.project_id", self._projects)

    def _all(self, what: str, filters: Any, fields: Iterable[str], *, sort: str) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = []
        while True:
            url = self._url(what, filters, fields, sort=sort, start=len(hits))
            page = self._client.json(url)
            try:
                found, total = page["data"]["hits"], int(page["data"]["pagination"]["total"])
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"{url} answers without hits or total ({error!r}); is this the GDC?") from error
            hits += found
            if len(hits) >= total:
                return hits
            if not found:
                raise SourceError(f"{url} stops at {len(hits)} of {total} results; give the command again")

    def _url(self, what: str, filters: Any, fields: Iterable[str], *, sort: str, start: int) -> str:
        asked = {"fields": ",".join(fields), "format": "json", "size": PAGE, "from": start, "sort": sort}
        if filters is not None:
            asked = {"filters": json.dumps(filters, separators=(",", ":")), **asked}
        return f"{self._base}/{what}?{urlencode(asked)}"


def _is(field: str, values: Iterable[str]) -> dict[str, Any]:
    return {"op": "in", "content": {"field": field, "value": list(values)}}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"op": "and", "content": list(filters)}
