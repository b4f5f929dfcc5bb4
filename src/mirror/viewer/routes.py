"""Which address of the page is answered by what; nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mirror.errors import MirrorError
from mirror.viewer.cohort_answers import CohortAnswers
from mirror.viewer.contents import Contents
from mirror.viewer.guard import EXPLAIN
from mirror.viewer.page_files import page_routes
from mirror.viewer.responses import plainly
from mirror.viewer.slide_answers import SlideAnswers


class Answers:
    """All that can be asked about `contents`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._cohort = CohortAnswers(contents)
        self._slides = SlideAnswers(contents)

    def prepare(self) -> None:
        """Make what the page asks for first, before it does."""
        patient, slides = next(iter(self._contents.slides_of.items()))
        with suppress(MirrorError):  # whoever asks for it is told
            self._cohort.prepare(patient)
            if slides:
                self._slides.prepare(slides[0])

    def routes(self) -> list[Route]:
        """The page's own files, and the addresses of its data."""
        cohort, slides = self._cohort, self._slides
        data: dict[str, Callable[[Request], Response]] = {
            "/data/cohort": cohort.cohort,
            "/data/map": cohort.map,
            "/data/genes": cohort.genes,
            "/data/gene": cohort.gene,
            "/data/patient": cohort.patient,
            "/data/slide": slides.slide,
            "/data/layer": slides.layer,
            "/data/similar": slides.similar,
            "/data/nearest": slides.nearest,
            "/picture/piece": slides.piece,
            "/picture/tile": slides.tile,
        }
        found = [Route(path, plainly(answer), methods=["GET"]) for path, answer in data.items()]
        found.append(Route(EXPLAIN, plainly(slides.explain), methods=["POST"]))
        return found + page_routes()
