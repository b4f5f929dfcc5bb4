"""What `mirror workflow` hands to Snakemake: every study's frozen settings and the jobs that they come to.

The settings of each stage are a file of their own, which is written only when they differ from what stands there. So a
changed value makes exactly the jobs run again whose file it stands in. Nothing here imports torch: the plan is made
before every start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.artefacts import write_text
from mirror.config import Config, dump_config
from mirror.errors import ConfigError, raise_together
from mirror.workflow.inputs import inputs_stamp

if TYPE_CHECKING:
    from mirror.slides.manifest import SlideEntry

INDIFFERENT = {"workers", "checkpoint_seconds", "recompute"}
"""Keys of `pretraining` that change how fast a run is, but not what it is."""

# What each stage leaves, the file that it writes last at the end.
COHORT = ("cohort.parquet", "covariates.parquet", "excluded.csv", "folds.json", "cohort.json", "inputs.json")
RUN = ("config.yaml", "panel.json", "model.safetensors", "run.json")
"""A run's files but for its state and its metrics, from which an interrupted run goes on."""

EMBEDDED = ("embeddings.h5ad",)
PAGE = ("audit.json", "report.json", "report.html")
SCORES = ("predictions.parquet", "intervals.parquet", "evaluation.json", "scores.parquet")


class SlideJobs(NamedTuple):
    """Slides to be made into features: a settings file, its output folder, and the part of the slides of each job."""

    settings: Path
    output: Path
    mark: str
    """Of the settings that decide features."""
    parts: dict[str, str]
    """Name of the job -> its `--shard`."""
    slides: dict[str, list[SlideEntry]]
    """Name of the job -> its slides."""

    @property
    def folder(self) -> Path:
        """Where the workflow keeps what it knows of these slides."""
        return self.output / "workflow"

    @property
    def receipts(self) -> list[str]:
        """The file that each job leaves when its slides are done."""
        return [str(self.folder / f"{name}.done") for name in self.parts]


class JobUse(NamedTuple):
    """What a job runs with, and what it uses of its machine."""

    python: str
    threads: int = 1
    processes: int = 1
    """Of one training, each with `threads` threads and, where there are GPUs, with one of them."""
    gpus: bool = False
    volume: str | None = None
    """Where jobs see files through Snakemake's storage, the folder that it is in every one of them: it passes receipts
    between them then. None where all see one file system."""


class Study(NamedTuple):
    """One configuration: where its frozen copy lies, its runs, and the slide jobs that its features wait for."""

    config: Config
    runs: tuple[tuple[int, int], ...]
    """(seed, fold) of each."""
    waits_for: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the workflow keeps what it knows of the study."""
        return self.config.output / "workflow"


def plan_study(config: Config, slides: Sequence[SlideJobs] = ()) -> Study:
    """The jobs of one configuration. Raises `DataError` where the folds it names cannot be read."""
    waits = [
        receipt
        for jobs in slides
        if jobs.output / "features" == config.cohort.features.path
        for receipt in jobs.receipts
    ]
    runs = tuple((seed, fold) for seed in config.seeds for fold in _folds(config))
    return Study(config, runs, tuple(waits))


def _folds(config: Config) -> Iterable[int]:
    if config.cohort.folds.path is None:
        return range(config.cohort.folds.count)
    from mirror.data.remote import fetched
    from mirror.data.splits import fold_numbers

    here = fetched(config.cohort.folds).path
    assert here is not None
    return fold_numbers(here)


def require_apart(studies: Sequence[Study], slides: Sequence[SlideJobs] = ()) -> None:
    """Raise `ConfigError` where studies, or slides of several settings, would write into each other's folders."""
    twice: list[str] = []
    for outputs in ([study.config.output for study in studies], [jobs.output for jobs in slides]):
        twice += [str(output) for output in dict.fromkeys(outputs) if outputs.count(output) > 1]
    raise_together(ConfigError, "these configurations have the same `output`; give each its own:", twice)


def require_read(slides: Sequence[SlideJobs], studies: Sequence[Study]) -> None:
    """Raise `ConfigError` for slides whose features no study reads."""
    read = [study.config.cohort.features.path for study in studies]
    unread = [str(jobs.output / "features") for jobs in slides if jobs.output / "features" not in read]
    raise_together(ConfigError, "no study reads these features; name them in `cohort.features.path`:", unread)


def require_on(volume: str, folders: Iterable[Path]) -> None:
    """Raise `ConfigError` for what does not lie on the volume that jobs have in common."""
    outside = [str(folder) for folder in folders if not folder.is_relative_to(volume)]
    raise_together(ConfigError, f"jobs see nothing but {volume} (`default-storage-prefix` of the profile):", outside)


def write_sections(study: Study) -> None:
    """Bring the files of the study's settings up to date; those that say the same are not touched."""
    config = study.config
    # Features that jobs of this workflow make are known by the jobs' receipts: now, they may not even be there.
    made = config.cohort.features.path if study.waits_for else None
    pretraining = config.pretraining.model_dump(mode="json", exclude=INDIFFERENT)
    sections: dict[str, Any] = {
        "cohort": {"settings": config.cohort.model_dump(mode="json"), "inputs": inputs_stamp(config.cohort, but=made)},
        "pretrain": {
            "model": config.model.model_dump(mode="json"),
            "pretraining": pretraining,
            "refinement": None if config.refinement is None else inputs_stamp(config.refinement),
            "pool": [inputs_stamp(cohort) for cohort in config.pool],
        },
        "evaluate": {
            "name": config.name,
            "preset": config.preset,
            "evaluation": config.evaluation.model_dump(mode="json"),
            "supervised": None if config.supervised is None else config.supervised.model_dump(mode="json"),
        },
        "report": config.model_dump(mode="json", exclude={"output", "device"}),
    }
    for stage, content in sections.items():
        _write_if_changed(study.folder / f"{stage}.json", json.dumps(content, indent=1) + "\n")
    _write_if_changed(study.folder / "config.yaml", dump_config(config))


def write_slides(jobs: SlideJobs) -> None:
    """The same for settings of `mirror slides`."""
    _write_if_changed(jobs.folder / "slides.json", json.dumps({"settings": jobs.mark}) + "\n")


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def write_plan(path: Path, studies: Sequence[Study], slides: Sequence[SlideJobs], use: JobUse) -> None:
    """Write what the Snakefile reads."""
    plan: dict[str, Any] = {
        "jobs": use._asdict(),
        "studies": [
            {
                "output": str(study.config.output),
                "runs": study.runs,
                "waits_for": study.waits_for,
                "supervised": study.config.supervised is not None,
            }
            for study in studies
        ],
        "slides": [{"settings": str(one.settings), "output": str(one.output), "parts": one.parts} for one in slides],
    }
    _write_if_changed(path, json.dumps(plan, indent=1) + "\n")


def plan_slides(settings: Path, *, shards: int | None) -> SlideJobs:
    """One job a slide of a `mirror slides` settings file, or `shards` jobs.

    Raises `ConfigError` and `DataError` as reading settings and manifest does.
    """
    from mirror.slides.manifest import read_manifest
    from mirror.slides.settings import load_extraction, settings_mark
    from mirror.slides.shards import Shard

    config = load_extraction(settings)
    entries = read_manifest(config.slides)
    names = [str(entry.slide) for entry in entries]
    count = len(names) if shards is None else min(shards, len(names))
    shared = {
        (names[number - 1] if shards is None else f"part{number}of{count}"): Shard(number, count)
        for number in range(1, count + 1)
    }
    parts = {name: f"{one.number}/{count}" for name, one in shared.items()}
    slides = {name: list(one.of(entries)) for name, one in shared.items()}
    return SlideJobs(settings.resolve(), config.output, settings_mark(config), parts, slides)
