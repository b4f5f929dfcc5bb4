"""The account of every slide: one small file each, and slides.jsonl, a line each, made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mirror.artefacts import SCHEMA, read_json, write_json, write_text
from mirror.errors import ArtefactError
from mirror.slides.manifest import SlideEntry

State = Literal["done", "failed", "started", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideAccount:
    """What became of a slide. A `waiting` one has not been tried yet; of a `started` one the process has not come back,
    yet or at all.

    `untiled` is the share of the tissue (its outlines' area) that no tile covers; `seconds` is the whole slide's,
    `waited` how many of them the encoder stood waiting for tiles; `mpp_source` is `manifest` or `header`; `error` says
    why it failed.
    """

    slide: str
    state: State
    path: str
    tiles: int | None = None
    untiled: float | None = None
    seconds: float | None = None
    waited: float | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    error: str | None = None
    mark: str = ""
    """Hash of everything that decided the features; other settings or another file give another one."""


class Accounts:
    """The accounts in a folder. Only who has claimed a slide writes its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, account: SlideAccount) -> None:
        """Replace the slide's account."""
        write_json(self._folder / f"{account.slide}.json", asdict(account))

    def read(self, slide: str) -> SlideAccount | None:
        """The slide's account, or None where there is none that can be read."""
        try:
            found = read_json(self._folder / f"{slide}.json")
            return SlideAccount(**{name: value for name, value in found.items() if name != "schema"})
        except (ArtefactError, TypeError):
            return None

    def write_lines(self, path: Path, slides: Iterable[SlideEntry]) -> list[SlideAccount]:
        """Write `slides.jsonl`, a line for each of `slides` in their order, tried or not; return their accounts."""
        known = [
            self.read(entry.slide) or SlideAccount(slide=entry.slide, state="waiting", path=str(entry.path))
            for entry in slides
        ]
        lines = [json.dumps({"schema": SCHEMA, **_shown(account)}, ensure_ascii=False) for account in known]
        write_text(path, "".join(f"{line}\n" for line in lines))
        return known


def _shown(account: SlideAccount) -> dict[str, Any]:
    return {name: value for name, value in asdict(account).items() if value is not None}
