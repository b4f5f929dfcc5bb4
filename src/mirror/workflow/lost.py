"""Finished jobs of which a file is gone that Snakemake does not know: one that only some jobs leave, or goes on from.

Snakemake looks at the outputs that a rule declares. It removes them before the job, so what an interrupted run goes on
from is none of them, and a rule declares the same for every study, so what only some leave (a cohort's expression, the
supervised models) is none either. Such files are looked for here. A job that lost one is named by the output that it
writes last: without that, it is one that has to run.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.artefacts import read_json
from mirror.errors import ArtefactError
from mirror.workflow.study import COHORT, EMBEDDED, PAGE, RUN, SCORES, SlideJobs, Study

if TYPE_CHECKING:
    from mirror.slides.manifest import SlideEntry


def jobs_to_repeat(study: Study, *, receipts: bool = False) -> list[Path]:
    """The last output (or its receipt, where Snakemake passes `receipts` alone) of each job that has lost a file."""
    output = study.config.output
    runs = [output / "runs" / f"seed{seed}" / f"fold{fold}" for seed, fold in study.runs]
    jobs = [
        (output / "cohort", COHORT, _has_tables(output / "cohort")),
        *((run, RUN, (run / "metrics.jsonl").exists()) for run in runs),
        *((run, EMBEDDED, True) for run in runs),
        (output, SCORES, study.config.supervised is None or _has_supervised(output)),
        (output, PAGE, True),
    ]
    found: list[Path] = []
    for folder, names, has_further in jobs:
        last = folder / (f".{names[-1]}.done" if receipts else names[-1])
        if last.exists() and not (has_further and all((folder / name).exists() for name in names)):
            found.append(last)
    return found


def slides_to_repeat(jobs: SlideJobs) -> list[Path]:
    """The receipt of each job that has lost the features of a slide, or whose slide is newer than its receipt."""
    receipts = [(Path(receipt), jobs.slides[name]) for name, receipt in zip(jobs.parts, jobs.receipts, strict=True)]
    return [
        receipt
        for receipt, slides in receipts
        if receipt.exists() and not all(_is_made(slide, jobs.output, receipt) for slide in slides)
    ]


@contextmanager
def away(paths: Sequence[Path], *, put_back: bool) -> Generator[None]:
    """Remove files, or take them away for as long as the block lasts."""
    if not put_back:
        for path in paths:
            path.unlink()
        yield
        return
    aside = {path: path.with_name(f".{path.name}.away") for path in paths}
    try:
        for path, there in aside.items():
            path.rename(there)
        yield
    finally:
        for path, there in aside.items():
            with suppress(FileNotFoundError):  # interrupted before this one
                there.rename(path)


def _has_tables(folder: Path) -> bool:
    """True where every file that the cohort stage says it has left is there."""
    try:
        return all((folder / name).exists() for name in read_json(folder / "inputs.json").get("files", {}))
    except ArtefactError:  # missing or damaged
        return False


def _has_supervised(output: Path) -> bool:
    """True where every supervised model that the evaluation says it has judged is there."""
    try:
        runs = read_json(output / "evaluation.json").get("runs", [])
    except ArtefactError:
        return False
    return all((output / name).exists() for run in runs for name in run.get("supervised", []))


def _is_made(slide: SlideEntry, output: Path, receipt: Path) -> bool:
    """True while the features are there and the slide's file is not newer than the receipt for them."""
    if not (output / "features" / f"{slide.slide}.h5").exists():
        return False
    return not slide.path.exists() or slide.path.stat().st_mtime <= receipt.stat().st_mtime
