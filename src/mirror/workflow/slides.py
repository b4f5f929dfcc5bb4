"""The slides stage: a cohort of slides to features, resumable, shared among machines, every slide accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirror.data.feature_file import read_facts
from mirror.data.feature_store import Bag
from mirror.errors import DataError, MirrorError, first_line, raise_together
from mirror.slides.account import Accounts, SlideAccount
from mirror.slides.claims import Claims
from mirror.slides.extract import extract_slide, is_extracted, slide_files
from mirror.slides.manifest import SlideEntry, read_manifest, write_manifest
from mirror.slides.origin import Origin
from mirror.slides.quality import write_contact_page
from mirror.slides.scan import UnknownResolution, open_scan, resolution_of
from mirror.slides.settings import ExtractionConfig
from mirror.slides.shards import Shard
from mirror.types import Progress, silent

LINES_EVERY_SECONDS = 10.0
_LINES_SHARE = 0.02
"""Most of the time that slides.jsonl may take: of ten thousand slides on a network disk it takes seconds."""


@dataclass(slots=True)
class SlidesReport:
    """What a call came to. `earlier` slides were done before, `taken` ones are another worker's at this moment."""

    lines: Path
    page: Path
    done: list[SlideAccount] = field(default_factory=list[SlideAccount])
    failed: list[SlideAccount] = field(default_factory=list[SlideAccount])
    earlier: list[str] = field(default_factory=list[str])
    taken: list[str] = field(default_factory=list[str])


def extract_slides(
    config: ExtractionConfig,
    *,
    shard: Shard | None = None,
    overwrite: bool = False,
    download: bool = False,
    progress: Progress = silent,
) -> SlidesReport:
    """Extract every slide of the manifest (or of a shard of it) that has no features of these settings yet.

    A bad slide is accounted for and the others go on. Slides whose process died are tried last: what kills a process
    keeps nobody else waiting. Raises `DataError` before any work when a slide has no plausible resolution (unless
    `on_unknown_mpp: exclude`), `ConfigError` when the folder holds features of other settings (unless `overwrite`) or
    the encoder cannot be loaded.
    """
    slides = read_manifest(config.slides)
    work = _Work(config, Origin(config, overwrite=overwrite, download=download), slides)
    wanted = work.not_yet_done(slides if shard is None else shard.of(slides))
    if config.on_unknown_mpp == "stop":
        _require_resolutions(wanted, slides, config, progress)
    try:
        work.extract(wanted, progress)
    finally:  # Ctrl-C too leaves an account of how far it came
        report = work.finish()
    return report


class _Work:
    """One worker's way through its slides."""

    def __init__(self, config: ExtractionConfig, origin: Origin, slides: Sequence[SlideEntry]) -> None:
        self._config, self._origin, self._slides = config, origin, slides
        self._accounts = Accounts(config.output / "account")
        self._report = SlidesReport(config.output / "slides.jsonl", config.output / "contact.html")

    def not_yet_done(self, entries: Sequence[SlideEntry]) -> list[SlideEntry]:
        """Those without features; last those whose process died. The others' accounts are set right."""
        wanted: list[SlideEntry] = []
        died: list[SlideEntry] = []
        for entry in entries:
            account, mark = self._accounts.read(entry.slide), self._origin.mark(entry)
            if not is_extracted(self._features(entry), mark):
                (died if account is not None and account.state == "started" else wanted).append(entry)
                continue
            self._report.earlier.append(entry.slide)
            if account is None or account.state != "done":  # killed between its features and its account
                tiles, mpp = Bag(self._features(entry)).tiles, read_facts(self._features(entry)).slide_mpp
                self._accounts.write(_account(entry, state="done", mark=mark, tiles=tiles, mpp=mpp))
        return wanted + died

    def extract(self, wanted: Sequence[SlideEntry], progress: Progress) -> None:
        """Each slide that no other worker holds."""
        claims = Claims(self._config.output / ".claims")
        begun = written = time.monotonic()
        pause = LINES_EVERY_SECONDS
        tiles = 0
        try:
            for number, entry in enumerate(wanted):

                def tick(done: int, of: int, *, before: int = tiles, at: int = number, name: str = entry.slide) -> None:
                    rate = (before + done) / (time.monotonic() - begun)
                    progress(at + done / of, len(wanted), f"{rate:.1f} tiles/s, {name}: {done}/{of}")

                progress(number, len(wanted), entry.slide)
                with claims.claim(entry.slide) as mine:
                    if not mine:
                        self._report.taken.append(entry.slide)
                    elif is_extracted(self._features(entry), self._origin.mark(entry)):
                        self._report.earlier.append(entry.slide)  # by another worker, since this one looked
                    else:
                        tiles += self._one(entry, tick)
                now = time.monotonic()
                if now - written > pause:
                    self._accounts.write_lines(self._report.lines, self._slides)
                    written = time.monotonic()
                    pause = max(LINES_EVERY_SECONDS, (written - now) / _LINES_SHARE)
        finally:
            claims.close()
        progress(len(wanted), len(wanted))

    def finish(self) -> SlidesReport:
        """Write slides.jsonl and the contact page over all workers' slides."""
        known = self._accounts.write_lines(self._report.lines, self._slides)
        write_contact_page(self._report.page, known, self._config.output / "quality")
        return self._report

    def _one(self, entry: SlideEntry, tick: Callable[[int, int], None]) -> int:
        """Extract a slide and account for it, whatever happens; its number of tiles."""
        encoder, mark = self._origin.encoder(), self._origin.mark(entry)
        files = slide_files(self._config.output, entry.slide)
        files.remove_remains()
        files.features.unlink(missing_ok=True)  # of other settings, or of a file that has changed
        self._accounts.write(_account(entry, state="started", mark=mark))
        begun = time.monotonic()
        try:
            done = extract_slide(entry, self._config, encoder, mark=mark, tick=tick)
        except Exception as error:  # a slide can break a library in any way, and must not end the cohort
            reason = str(error) if isinstance(error, MirrorError) else f"{type(error).__name__}: {first_line(error)}"
            seconds = round(time.monotonic() - begun, 3)
            account = _account(entry, state="failed", mark=mark, seconds=seconds, error=reason)
            self._report.failed.append(account)
        else:
            account = _account(
                entry,
                state="done",
                mark=mark,
                tiles=done.tiles,
                untiled=round(done.untiled, 3),
                seconds=round(done.seconds, 3),
                waited=round(done.waited, 3),
                mpp=done.resolution.mpp,
                mpp_source=done.resolution.source,
            )
            self._report.done.append(account)
        self._accounts.write(account)
        return account.tiles or 0

    def _features(self, entry: SlideEntry) -> Path:
        return slide_files(self._config.output, entry.slide).features


def _require_resolutions(
    entries: Sequence[SlideEntry], cohort: Sequence[SlideEntry], config: ExtractionConfig, progress: Progress
) -> None:
    """Raise one `DataError` that lists all slides without plausible resolution. Other flaws wait for their turn.

    Who gave a folder gets a manifest of it, to which the missing lines can be added.
    """
    problems: list[str] = []
    for number, entry in enumerate(entries):
        progress(number, len(entries), "reading headers")
        try:
            with open_scan(entry.path) as scan:
                resolution_of(scan, entry)
        except UnknownResolution as error:
            problems.append(str(error))
        except Exception:  # whatever it is, it will fail and be accounted for when it is extracted
            continue
    where = ""
    if problems and config.slides.is_dir():
        manifest = config.output / "manifest.csv"
        filled = {entry.slide: entry.mpp for entry in read_manifest(manifest)} if manifest.exists() else {}
        write_manifest(manifest, [entry._replace(mpp=filled.get(entry.slide)) for entry in cohort])
        where = f"; {manifest} lists all slides: fill in its column mpp and give that file instead of the folder"
    raise_together(
        DataError,
        "these slides have no plausible resolution, and tiles of unknown size are worth nothing; nothing was extracted "
        f"(`on_unknown_mpp: exclude` goes on without them{where}):",
        problems,
    )


def _account(entry: SlideEntry, **facts: Any) -> SlideAccount:
    return SlideAccount(slide=entry.slide, path=str(entry.path), **facts)
