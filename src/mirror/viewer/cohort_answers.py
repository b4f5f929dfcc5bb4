"""What the page asks of the cohort: its patients, the maps, the genes to colour them by, one patient."""

from __future__ import annotations

import threading
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from mirror.viewer.contents import Contents
from mirror.viewer.maps import VIEWS, by_gene, genes_like, map_of
from mirror.viewer.patient import Patients
from mirror.viewer.responses import NOT_KEPT, as_json


class CohortAnswers:
    """An answer a kind of question about the cohort of `contents`, each in a thread of its own."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._patients = Patients(contents)
        self._map = lru_cache(maxsize=16)(self._fresh_map)
        self._one_map = threading.Lock()

    def prepare(self, patient: str) -> None:
        """Make the first map, and what is known of a patient, before they are asked for."""
        self._map_told(next(iter(self._contents.runs)), VIEWS[0])
        self._patients.known(patient)

    def cohort(self, _: Request) -> Response:
        contents, people = self._contents, self._contents.cohort.patients
        patients = [
            {
                "name": str(name),
                "label": None if label is None or label != label else str(label),
                "slides": contents.slides_of[str(name)],
                "expression": bool(known),
            }
            for name, label, known in zip(people.index, people["label"], people["has_expression"], strict=True)
        ]
        return as_json(
            {
                "name": contents.name,
                "preset": contents.preset,
                "runs": list(contents.runs),
                "patients": patients,
                "survival": self._patients.curve,
                "pictures": len(contents.files),
            }
        )

    def map(self, request: Request) -> Response:
        asked = request.query_params
        told = self._map_told(asked.get("run", ""), asked.get("view", ""))
        return Response(told, media_type="application/json", headers=NOT_KEPT)

    def _map_told(self, run: str, view: str) -> bytes:
        with self._one_map:  # the second to ask for a map waits for the first instead of making it again
            return self._map(run, view)

    def _fresh_map(self, run: str, view: str) -> bytes:
        return bytes(as_json(map_of(self._contents, self._contents.run(run), view)).body)

    def genes(self, request: Request) -> Response:
        return as_json({"genes": genes_like(self._contents, request.query_params.get("like", ""))})

    def gene(self, request: Request) -> Response:
        return as_json(by_gene(self._contents, request.query_params.get("name", "")))

    def patient(self, request: Request) -> Response:
        return as_json(self._patients.known(request.query_params.get("name", "")))
