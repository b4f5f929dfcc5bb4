"""The supervised stage: models trained on the outcomes of each fold's training patients; their logits, a file each.

What a model saw is in its file: on whom it was trained, who was watched to stop it, at which epoch it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mirror.artefacts import fingerprint, read_json, write_json
from mirror.config import Config, SupervisedConfig, SupervisedName
from mirror.data.cohort import Cohort
from mirror.data.endpoints import assign_intervals, interval_edges
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import AppliedPanel, apply, fit_panel
from mirror.data.patient_bags import PatientBags
from mirror.errors import ArtefactError
from mirror.evaluation import elastic_net
from mirror.evaluation.probes import why_not
from mirror.evaluation.supervised import Supervised, SupervisedFold
from mirror.nn.supervised import ExpressionMlp, GatedAttention, MeanPooling, Pretrained, SupervisedModel, TransMil
from mirror.seeding import generator_for, stream_seed
from mirror.tasks.supervised import Inputs, Outcome, encoded_columns, fit_and_stop, predict_logits
from mirror.tasks.trained import load_trained
from mirror.training.device import choose_device
from mirror.training.runs import run_folder
from mirror.types import Fold, Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import wanted_runs

READING_EXPRESSION = ("mlp", "elastic_net", "finetuned_expression", "finetuned_fused")
READING_SLIDES = ("mean_pool", "abmil", "transmil", "finetuned_slide", "finetuned_fused")
FEWEST = 2
"""Training patients a class, or with an event, below which nothing is trained."""


class _Job(NamedTuple):
    """One fold of one seed: everything its models read."""

    config: Config
    settings: SupervisedConfig
    cohort: Cohort
    fold: Fold
    seed: int
    bags: PatientBags
    profiles: AppliedPanel | None
    folder: Path


class _Wanted(NamedTuple):
    """A model to train: on which outcomes, with which edges of time, its file and the mark of all that decides it."""

    name: SupervisedName
    outcome: Outcome
    edges: NDArray[np.float64]
    path: Path
    mark: str


def supervised_folder(config: Config) -> Path:
    """Where the logits of all models of a configuration lie."""
    return config.output / "supervised"


def supervised_file(folder: Path, *, seed: int, fold: int, task: str, name: str) -> Path:
    """Where in a folder of supervised models the logits of one lie."""
    return folder / f"seed{seed}" / f"fold{fold}" / f"{task}-{name}.json"


def train_supervised(config: Config, *, progress: Progress = silent) -> int:
    """Train every model of `supervised` on every seed and fold for every task that the cohort has; how many there are.

    Files that are there already and were made from the same data with the same settings are left as they are. Raises
    `ArtefactError` when a model to be tuned has not been pretrained.
    """
    if config.supervised is None:
        return 0
    cohort = prepare_cohort(config, progress=progress)
    runs = wanted_runs(config, cohort, fold=None, seed=None)
    done = 0
    for number, (seed, fold) in enumerate(runs):
        found = train_fold(config, cohort, fold, seed, progress=partial(_nested, progress, number, len(runs)))
        done += len(found.models)
    return done


def train_fold(
    config: Config,
    cohort: Cohort,
    fold: Fold,
    seed: int,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> SupervisedFold:
    """Every model of one fold and seed, trained where `folder` (the configuration's if not given) lacks its file.

    `cohort` may have other outcomes than the configuration's. Raises as `train_supervised` does.
    """
    job = _job(config, cohort, fold, seed, folder or supervised_folder(config))
    wanted, notes = _wanted(job)
    for number, one in enumerate(wanted):
        progress(number, len(wanted), f"fold {fold.number}, {one.outcome.task}, {one.name}")
        if not _is_of(one.path, one.mark):
            write_json(one.path, {"fingerprint": one.mark, **_train(job, one)})
    progress(len(wanted), len(wanted))
    return SupervisedFold(tuple(read_supervised(one.path) for one in wanted), notes)


def load_fold(config: Config, cohort: Cohort, fold: Fold, seed: int) -> SupervisedFold:
    """What `train_supervised` left of one fold and seed; nothing where no supervised models are wanted.

    Raises `ArtefactError` when a file is missing or of other settings.
    """
    if config.supervised is None:
        return SupervisedFold()
    wanted, notes = _wanted(_job(config, cohort, fold, seed, supervised_folder(config)))
    for one in wanted:
        if not _is_of(one.path, one.mark):
            raise ArtefactError(f"{one.path} is missing or of other settings or data; run `mirror supervised` first")
    return SupervisedFold(tuple(read_supervised(one.path) for one in wanted), notes)


def read_supervised(path: Path) -> Supervised:
    """Read one model's logits. Raises `ArtefactError` when the file is missing, damaged or of another schema."""
    content = read_json(path)
    try:
        return Supervised(
            name=content["model"],
            task=content["task"],
            patients=tuple(content["patients"]),
            trained_on=tuple(content["trained_on"]),
            logits=np.array(content["logits"], dtype=np.float64),
            edges=np.array(content["edges"], dtype=np.float64),
            end=float(content["end"]),
            strength=math.nan if content["strength"] is None else float(content["strength"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error!r}); delete it and run `mirror supervised` again") from error


def _job(config: Config, cohort: Cohort, fold: Fold, seed: int, folder: Path) -> _Job:
    settings = config.supervised or SupervisedConfig()
    profiles, values = None, {}
    train = [] if cohort.expression is None else sorted(set(fold.train) & set(cohort.expression.patients))
    if cohort.expression is not None and train:
        panel = fit_panel(cohort.expression, train, transform="standardise")
        profiles = apply(panel, cohort.expression, cohort.expression.patients)
        values = dict(zip(profiles.patients, profiles.values, strict=True))
    slides: dict[str, list[str]] = {}
    for slide, patient in zip(cohort.slides["slide"], cohort.slides["patient"], strict=True):
        slides.setdefault(str(patient), []).append(str(slide))
    bags = PatientBags(FeatureStore(cohort.paths), slides, values, seed=seed)
    return _Job(config, settings, cohort, fold, seed, bags, profiles, folder)


def _wanted(job: _Job) -> tuple[list[_Wanted], tuple[str, ...]]:
    """The models to train on this fold, and why others cannot be."""
    patients = job.cohort.patients
    tasks = [*(["subtyping"] if patients["label"].dropna().nunique() > 1 else [])]
    tasks += ["survival"] if patients["time"].notna().any() else []
    wanted: list[_Wanted] = []
    notes: list[str] = []
    for task in tasks:
        for name in job.settings.models:
            outcome, edges, reason = _outcome(job, task, name)
            if outcome is None:
                notes.append(f"fold {job.fold.number}, {name}, {task}: {reason}")
                continue
            path = supervised_file(job.folder, seed=job.seed, fold=job.fold.number, task=task, name=name)
            wanted.append(_Wanted(name, outcome, edges, path, _mark(job, outcome, name)))
    return wanted, tuple(notes)


def _outcome(job: _Job, task: str, name: SupervisedName) -> tuple[Outcome | None, NDArray[np.float64], str]:
    """What is known of training patients whom the model can read, and the edges of time; or why it is too little."""
    nothing = np.empty(0)
    patients = job.cohort.patients.loc[sorted(job.fold.train)]
    if name in READING_EXPRESSION:
        if job.profiles is None:
            return None, nothing, "no training patient has expression"
        patients = patients[patients["has_expression"]]
    known = patients[patients["label" if task == "subtyping" else "time"].notna()]
    names = tuple(str(patient) for patient in known.index)
    if task == "subtyping":
        classes = sorted(set(job.cohort.patients["label"].dropna().astype(str)))
        target = np.array([classes.index(str(label)) for label in known["label"]], dtype=np.int64)
        reason = why_not(target, classes, needed=FEWEST)
        if reason is not None:
            return None, nothing, reason
        return Outcome("subtyping", names, target, np.zeros(len(target), dtype=bool), len(classes)), nothing, ""
    time, event = known["time"].to_numpy(np.float64), known["event"].to_numpy(dtype=bool)
    if event.sum() < FEWEST:
        return None, nothing, f"{event.sum()} training patients with an event; {FEWEST} are needed"
    edges = interval_edges(time, event, job.config.evaluation.intervals)
    return Outcome("survival", names, assign_intervals(time, edges), event, len(edges) + 1), edges, ""


def _mark(job: _Job, outcome: Outcome, name: SupervisedName) -> str:
    config, cohort = job.config, job.cohort
    run = run_folder(config.output, seed=job.seed, fold=job.fold.number)
    return fingerprint(
        (name, outcome.task, job.seed, config.evaluation.inner_folds, config.evaluation.intervals),
        job.settings.model_dump(mode="json", exclude={"models"}),
        (outcome.patients, outcome.target.tolist(), outcome.event.tolist()),
        list(job.fold),
        cohort.slides[["slide", "patient", "feature_hash"]].to_numpy().tolist() if name in READING_SLIDES else None,
        cohort.expression.content_hash() if cohort.expression is not None and name in READING_EXPRESSION else None,
        run.read_record()["fingerprint"] if name.startswith("finetuned") else None,
    )


def _is_of(path: Path, mark: str) -> bool:
    try:
        return read_json(path).get("fingerprint") == mark
    except ArtefactError:  # missing, damaged or of another version: it is made (again)
        return False


def _train(job: _Job, wanted: _Wanted) -> dict[str, Any]:
    name, outcome = wanted.name, wanted.outcome
    judged = [
        str(patient)
        for patient in sorted({*job.fold.train, *job.fold.test})
        if name not in READING_EXPRESSION or job.cohort.patients.loc[patient, "has_expression"]
    ]
    logits, facts = (_elastic_net if name == "elastic_net" else _network)(job, outcome, judged, name)
    time = job.cohort.patients.loc[list(outcome.patients), "time"]
    return {
        "model": name,
        "task": outcome.task,
        "trained_on": list(outcome.patients),
        "edges": wanted.edges.tolist(),
        "end": float(time.max()) if outcome.task == "survival" else 0.0,
        **facts,
        "patients": judged,
        "logits": np.round(logits, 6).tolist(),
    }


def _network(
    job: _Job, outcome: Outcome, judged: Sequence[str], name: SupervisedName
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    device, seed = choose_device(job.config.device), stream_seed(job.seed, "supervised", job.fold.number, name)
    # Modules draw first weights from torch's own stream when they are made; they get others, and the stream its state.
    with torch.random.fork_rng(devices=[]):
        make = _tuned if name.startswith("finetuned") else _from_scratch
        model, inputs = make(job, outcome, name)
    model = model.to(device)
    if name.startswith("finetuned"):
        model.standardise_columns(encoded_columns(model, inputs, outcome.patients, device=device))
    stopped = fit_and_stop(model, outcome, inputs, job.settings, seed=seed, device=device)
    logits = predict_logits(model, inputs, judged, device=device).double().cpu().numpy()
    watched = {"watched": list(stopped.watched), "epoch": stopped.epoch, "watched_loss": list(stopped.losses)}
    return logits, {**watched, "strength": None}


def _from_scratch(job: _Job, outcome: Outcome, name: SupervisedName) -> tuple[SupervisedModel, Inputs]:
    dim, settings = job.cohort.feature_dim, job.settings
    genes = 0 if job.profiles is None or name not in READING_EXPRESSION else job.profiles.values.shape[1]
    width, dropout = settings.width, settings.dropout
    encoders: Mapping[str, Callable[[], nn.Module]] = {
        "mean_pool": MeanPooling,
        "abmil": lambda: GatedAttention(dim, width, dropout=dropout),
        "transmil": lambda: TransMil(dim, width, dropout=dropout),
        "mlp": lambda: ExpressionMlp(genes, width, dropout=dropout),
    }
    encoder = encoders[name]()
    if isinstance(encoder, GatedAttention | TransMil | ExpressionMlp):
        encoder.initialise(generator_for(job.seed, "supervised weights", name, outcome.task))
    columns = dim if name == "mean_pool" else width
    model = SupervisedModel(encoder, tile_dim=dim, width=columns, outputs=outcome.outputs)
    if name in READING_SLIDES:
        model.standardise_tiles(*job.bags.moments(outcome.patients))
    return model, Inputs(job.bags, name in READING_SLIDES, name in READING_EXPRESSION, dim, genes)


def _tuned(job: _Job, outcome: Outcome, name: SupervisedName) -> tuple[SupervisedModel, Inputs]:
    """The fold's pretrained model with its own panel; its views as wide as they are."""
    trained = load_trained(run_folder(job.config.output, seed=job.seed, fold=job.fold.number))
    modality = name.removeprefix("finetuned_")
    assert modality in ("slide", "expression", "fused")
    profiles = trained.profiles(job.cohort.expression)
    values = {} if profiles is None else dict(zip(profiles.patients, profiles.values, strict=True))
    dim, reads_slides, reads_expression = job.cohort.feature_dim, modality != "expression", modality != "slide"
    bags = job.bags.with_profiles(values)
    inputs = Inputs(bags, reads_slides, reads_expression, dim, 0 if profiles is None else profiles.values.shape[1])
    encoder = Pretrained(trained.model, modality)
    encoder.eval()
    one = outcome.patients[:1]
    with torch.no_grad():
        tiles = bags.whole(one[0])[0] if reads_slides else torch.zeros(1, 1, dim)
        width = encoder(tiles, bags.profile(one) if reads_expression else torch.zeros(1, 0)).shape[1]
    return SupervisedModel(encoder, tile_dim=dim, width=width, outputs=outcome.outputs), inputs


def _elastic_net(
    job: _Job, outcome: Outcome, judged: Sequence[str], name: SupervisedName
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    del name
    settings = job.settings
    x = job.bags.profile(outcome.patients).double().numpy()
    seed = stream_seed(job.seed, "inner folds", job.fold.number) % 2**32
    asked = elastic_net.Asked(settings.strengths, settings.l1_ratio, job.config.evaluation.inner_folds, seed)
    if outcome.task == "subtyping":
        net = elastic_net.fit_classes(x, outcome.target, asked)
    else:
        time = job.cohort.patients.loc[list(outcome.patients), "time"].to_numpy(np.float64)
        net = elastic_net.fit_hazards(x, time, outcome.event, outcome.target, asked, intervals=outcome.outputs)
    genes = int(np.any(net.coefficients != 0, axis=1).sum())
    return net.logits(job.bags.profile(judged).double().numpy()), {"genes": genes, "strength": net.strength}


def _nested(progress: Progress, before: int, runs: int, done: float, total: int, note: str = "") -> None:
    progress(before * total + done, runs * total, note)
