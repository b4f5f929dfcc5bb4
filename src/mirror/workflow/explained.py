"""A finished run with all that explaining it needs: its model, its cohort, and the patients as it describes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.errors import ArtefactError, ConfigError
from mirror.evaluation.embed import EmbeddedRows, read_embeddings
from mirror.evaluation.representations import PatientTable
from mirror.explain.head_score import HeadScore, Unjudged, head_score
from mirror.explain.pattern import Seen, Tissue, within_slides
from mirror.explain.targets import NOTHING_KNOWN, Head, Target, fit_targets
from mirror.seeding import rng_for
from mirror.tasks.trained import TrainedModel, load_trained
from mirror.training.runs import RunFolder, run_folder
from mirror.types import Fold
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import wanted_runs


class RunName(NamedTuple):
    """A run of a configuration, written `seed0/fold0`."""

    seed: int
    fold: int

    def __str__(self) -> str:
        return f"seed{self.seed}/fold{self.fold}"


def parse_run(text: str) -> RunName:
    """`seed0/fold2` by its numbers. Raises `ConfigError` for anything else."""
    found = re.fullmatch(r"seed(\d+)/fold(\d+)", text.strip().strip("/"))
    if found is None:
        raise ConfigError(f"'{text}' names no run; write it like seed0/fold0")
    return RunName(int(found[1]), int(found[2]))


class ExplainedRun(NamedTuple):
    """One run. `table` has a row a patient, the mean over slides in every view that is one of slides; `profiles` the
    expression (G,) of each patient who has any, as the model reads it."""

    config: Config
    cohort: Cohort
    name: RunName
    fold: Fold
    folder: RunFolder
    trained: TrainedModel
    table: PatientTable
    profiles: Mapping[str, NDArray[np.float32]]

    @property
    def output(self) -> Path:
        """Where explanations of this run lie."""
        return explain_folder(self.config, self.name)

    def role(self, patient: str) -> str:
        """What a patient is to this run: `train`, `test`, `unused` (in neither half), or `new` (not in the cohort)."""
        if patient in self.fold.train:
            return "train"
        if patient in self.fold.test:
            return "test"
        return "unused" if patient in self.cohort.patients.index else "new"

    @property
    def mean_tile(self) -> NDArray[np.float64]:
        """The mean over training patients of their mean tile (D,): what explanations compare a slide with."""
        rows = self.table.rows(sorted(self.fold.train))
        return np.nanmean(self.table.views["raw_slide"][rows], axis=0)

    @property
    def mean_expression(self) -> NDArray[np.float64] | None:
        """The mean over training patients of what the model makes of their expression (E,), None where nobody has
        any."""
        known = [name for name in sorted(self.fold.train) if name in self.profiles]
        return self.expression_of(known).double().mean(dim=0).numpy() if known else None

    def seen(self, tissue: Tissue | None = None) -> Seen:
        """The training patients as the method `pattern` compares a slide with them; `tissue` may be given."""
        patients = self._with_tiles()
        rows = self.table.rows(patients)
        views = {f"X_{name}": torch.from_numpy(view[rows]) for name, view in self.table.views.items()}
        means = self.table.views["raw_slide"][rows].astype(np.float64)
        return Seen(means, views, self.expression_of(patients), *(tissue or self.tissue()), tuple(patients))

    def tissue(self) -> Tissue:
        """Of the training patients. Reads some of their tiles."""
        there = set(self._with_tiles())
        slides = [name for name, patient in sorted(self.cohort.owners.items()) if patient in there]
        drawn = rng_for(self.name.seed, "slides of a tissue", self.name.fold).permutation(slides)
        store = FeatureStore(self.cohort.paths, keep_open=1)
        return within_slides((store.bag(slide) for slide in drawn.tolist()), seed=self.name.seed)

    def _with_tiles(self) -> list[str]:
        """The training patients who have slides, by name."""
        patients, raw = sorted(self.fold.train), self.table.views["raw_slide"]
        return [
            name for name, row in zip(patients, self.table.rows(patients), strict=True) if not np.isnan(raw[row]).any()
        ]

    @torch.no_grad()
    def expression_of(self, patients: Sequence[str]) -> Tensor:
        """What the model makes of each patient's expression (N, E), a row of NaN where there is none."""
        model = self.trained.model
        rows = torch.full((len(patients), model.expression_width), torch.nan)
        known = [row for row, name in enumerate(patients) if name in self.profiles]
        if known:
            values = torch.from_numpy(np.stack([self.profiles[patients[row]] for row in known]))
            rows[known] = model.embed_expression(values.to(next(model.parameters()))).float().cpu()
        return rows

    def targets(
        self, names: Sequence[str], representation: str, *, known: Mapping[str, Head] = NOTHING_KNOWN
    ) -> list[Target]:
        """The targets `names` as `fit_targets` gives them; heads that are `known` are not fitted."""
        seed, settings = self.name.seed, self.config.evaluation
        return fit_targets(names, representation, self.table, self.fold, settings, seed=seed, known=known)

    def usual(self, target: Target) -> tuple[float, float]:
        """Least and greatest number of the target among the training patients who have what it reads."""
        _, values = self.numbers(target, self.fold.train)
        return float(values.min()), float(values.max())

    def numbers(self, target: Target, patients: Iterable[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Those of `patients`, ascending, who have what the target reads, and the target's number of each."""
        named = np.array(sorted(patients))
        rows = self.table.rows(named)
        views = {f"X_{name}": torch.from_numpy(view[rows]) for name, view in self.table.views.items()}
        values = target.value(views).numpy()
        known = ~np.isnan(values)
        return tuple(named[known].tolist()), values[known]

    def judged(self, target: Target) -> HeadScore | Unjudged | None:
        """How well the target's head judges the run's test patients, as `head_score` has it."""
        return head_score(target, self.table, self.fold, seed=self.name.seed)


def explain_folder(config: Config, name: RunName) -> Path:
    """Where explanations of one run of a configuration lie."""
    return config.output / "explain" / str(name)


class Places(NamedTuple):
    """Where a stage writes: what is of all that it explains to `folder`, what is of each run to `of` it."""

    folder: Path
    one: bool

    def of(self, name: RunName) -> Path:
        """The folder of a run, `folder` itself where it is the only one that was asked for."""
        return self.folder if self.one else self.folder / str(name)


def places(config: Config, run: RunName | None, output: Path | None) -> Places:
    """Where explanations of `run` lie, of all runs where it is None: in the configuration's output, or in `output`."""
    own = config.output / "explain" if run is None else explain_folder(config, run)
    return Places(output or own, one=run is not None)


def run_judging(cohort: Cohort, config: Config, patient: str) -> RunName:
    """The run of the first seed in whose fold `patient` is a test patient.

    Raises `ConfigError` when there is none: then every model has seen the patient, and one has to be named.
    """
    for fold in cohort.folds:
        if patient in fold.test:
            return RunName(config.seeds[0], fold.number)
    raise ConfigError(
        f"patient {patient} is a test patient of no fold; name the run to explain, like --run seed0/fold0"
    )


def rows_of(folder: RunFolder, model: str) -> EmbeddedRows:
    """The embeddings of a run, by the model of that fingerprint. Raises `ArtefactError` when they are by another."""
    embeddings = read_embeddings(folder.embeddings)
    if embeddings.uns.get("run") != model:
        raise ArtefactError(f"{folder.embeddings} is of an earlier training of this run; run `mirror embed` again")
    return embeddings


def explained_run(config: Config, cohort: Cohort, name: RunName) -> ExplainedRun:
    """Load a run. Raises `ConfigError` when the configuration has none of that name, `ArtefactError` when it is not
    trained or not embedded, `LeakError` when it was trained on patients whom the folds of now test."""
    ((seed, fold),) = wanted_runs(config, cohort, fold=name.fold, seed=name.seed)
    folder = run_folder(config.output, seed=seed, fold=fold.number)
    trained = load_trained(folder)
    folder.require_blind(fold)
    embeddings = rows_of(folder, trained.fingerprint)
    read = trained.profiles(cohort.expression)
    profiles = {} if read is None else dict(zip(read.patients, read.values, strict=True))
    table = patient_table(cohort, embeddings)
    return ExplainedRun(config, cohort, name, fold, folder, trained, table, profiles)
