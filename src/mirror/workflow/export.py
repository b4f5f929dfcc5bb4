"""Hand a model on: a run's weights and genes, what they expect, how good they were, and a card that says all of it.

Two models can be handed on. That of one fold has scores of its own, on patients it never saw. That of all patients
(`--all-patients`) has seen everybody, so its scores are those of the cross-validation, of models trained the same
way on fewer patients; nothing better can be said of it, and the card says that.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mirror.artefacts import read_json, versions, write_text
from mirror.config import Config, load_config, shareable
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError, ConfigError
from mirror.evaluation.intervals import interval_table
from mirror.evaluation.model_card import render_card
from mirror.evaluation.scores import read_intervals, read_predictions, read_provenance, read_scores
from mirror.tasks.model_folder import (
    PACKAGE,
    Expects,
    ModelFacts,
    ModelFolder,
    ScoreRow,
    TrainedOn,
    file_hashes,
    without_names,
)
from mirror.tasks.trained import TrainedModel, load_trained
from mirror.training.checkpoint import load_weights, save_weights
from mirror.training.runs import RunFolder, run_folder
from mirror.types import WHOLE, Fold, Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.evaluation_files import intervals_file, predictions_file, scores_file
from mirror.workflow.pretrain import pretrain_fold


class Given(NamedTuple):
    """What the user says of the model besides: its licence, whether it names its patients, whether it has scores."""

    licence: str | None = None
    name_patients: bool = False
    scores: bool = True


def train_on_everybody(config: Config, *, seed: int, overwrite: bool = False, progress: Progress = silent) -> RunFolder:
    """The run of all patients of a configuration, trained where it is not there yet."""
    if seed not in config.seeds:
        raise ConfigError(f"seed {seed} is not among `seeds` ({', '.join(map(str, config.seeds))}); add it there")
    cohort = prepare_cohort(config, progress=progress)
    everybody = Fold.whole(map(str, cohort.patients.index))
    return pretrain_fold(config, cohort, everybody, seed, overwrite=overwrite, progress=progress)


def export_run(
    run: RunFolder,
    target: ModelFolder,
    *,
    given: Given | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ModelFacts:
    """Write the model of a finished run to the folder `target`.

    Raises `ConfigError` when something else lies there (or a model, unless `overwrite`), `ArtefactError` when the run
    is not finished or its scores are missing or of another training.
    """
    given = given or Given()
    _require_free(target, overwrite=overwrite)
    trained, record = load_trained(run), run.read_record()
    config, output = _settings_of(run)
    trained_on = _trained_on(trained, record, output, names=given.name_patients)
    rows: tuple[ScoreRow, ...] = ()
    scores_are = "There are none: the model was handed on without an evaluation."
    if output is not None and config is not None and given.scores:
        here = config.model_copy(update={"output": output})
        rows, scores_are = _scores(here, trained, trained_on, progress)
    target.config.unlink(missing_ok=True)
    weights = load_weights(run.weights)
    save_weights(target.weights, weights.tensors, sizes=weights.sizes)
    if trained.panel is not None:
        _panel(trained.panel, names=given.name_patients).save(target.panel)
    facts = ModelFacts(
        fingerprint=trained.fingerprint,
        package={"name": PACKAGE, "version": versions()[PACKAGE]},
        files=file_hashes(target),
        expects=_expects(trained, record),
        trained_on=trained_on,
        scores=rows,
        scores_are=scores_are,
        settings={} if config is None else shareable(config).model_dump(mode="json"),
    )
    write_text(target.card, render_card(facts, licence=given.licence, note=_selection_note(trained.panel)))
    target.write_facts(facts)
    return facts


def _require_free(target: ModelFolder, *, overwrite: bool) -> None:
    if target.path.exists() and not target.path.is_dir():
        raise ConfigError(f"{target.path} is a file; name a folder")
    there = {path.name for path in target.path.iterdir()} if target.path.exists() else set[str]()
    own = {target.config.name, target.weights.name, target.panel.name, target.card.name}
    strangers = sorted(there - own)
    if strangers:
        raise ConfigError(f"{target.path} holds other files ({', '.join(strangers[:3])}); choose another --output")
    if there and not overwrite:
        raise ConfigError(f"{target.path} holds a model already; choose another --output, or give --overwrite")
    if overwrite:
        target.panel.unlink(missing_ok=True)


def _settings_of(run: RunFolder) -> tuple[Config | None, Path | None]:
    """The run's own configuration and the output folder it lies in; None for a model that came from elsewhere."""
    if not run.config.exists():
        return None, None
    place = run.path.resolve()
    if len(place.parents) < 3 or place.parents[1].name != "runs":
        raise ArtefactError(
            f"{run.path} does not lie in `runs/` of an output; its evaluation cannot be found from there"
        )
    return load_config(run.config), place.parents[2]


def _panel(panel: GenePanel, *, names: bool) -> GenePanel:
    return panel if names else without_names(panel)


def _expects(trained: TrainedModel, record: dict[str, Any]) -> Expects:
    tiles = record.get("tiles") or {}
    return Expects(
        width=trained.features.width,
        encoder=trained.features.encoder,
        encoder_revisions=tuple(tiles.get("encoder_revisions", ())),
        encoder_licence=_licence_of(trained.features.encoder),
        **trained.features.scale._asdict(),
        genes=0 if trained.panel is None else len(trained.panel.genes),
        units=None if trained.panel is None else trained.panel.units,
    )


def _licence_of(encoder: str | None) -> str | None:
    """What LazySlide's zoo says of the encoder's licence, where the extra is installed and the zoo knows it."""
    if encoder is None or importlib.util.find_spec("lazyslide_models") is None:
        return None
    from mirror.slides.licences import encoder_terms

    terms = encoder_terms().get(encoder)
    return None if terms is None else terms.sentence


def _trained_on(trained: TrainedModel, record: dict[str, Any], output: Path | None, *, names: bool) -> TrainedOn:
    facts: dict[str, Any] = {} if output is None else read_json(output / "cohort" / "cohort.json")["facts"]
    patients = trained.patients or ()
    folds = facts.get("folds", {}).get("sizes", [])
    return TrainedOn(
        cohort=str(record["name"]),
        preset=str(record["preset"]),
        changed_from_preset=record.get("changed_from_preset") or {},
        seed=record.get("seed"),
        fold=record.get("fold"),
        folds=len(folds) or None,
        patients=len(patients),
        pairs=record.get("pairs"),
        classes=(facts.get("labels") or {}).get("classes", {}),
        events=(facts.get("survival") or {}).get("events"),
        inputs=record.get("inputs") or {},
        pooled=tuple(record.get("pool") or ()),
        imported_from=record.get("imported_from"),
        finished=record.get("finished"),
        versions=record.get("versions") or {},
        names=tuple(patients) if names else None,
    )


def _scores(
    config: Config, trained: TrainedModel, of: TrainedOn, progress: Progress
) -> tuple[tuple[ScoreRow, ...], str]:
    """The numbers to hand on with a model, and of what they are."""
    if not scores_file(config).exists():
        raise ArtefactError(
            f"{config.output} has no scores; run `mirror evaluate` first, or hand the model on --without-scores"
        )
    scores, predictions = read_scores(scores_file(config)), read_predictions(predictions_file(config))
    if of.fold is None:
        intervals = read_intervals(intervals_file(config))
        sentence = (
            f"This model was trained on all patients, so no patient of this cohort is left to judge it on. These "
            f"are the "
            f"scores of {of.folds} models trained the same way in cross-validation, each judged on the patients it did "
            "not see."
        )
        return tuple(_rows(intervals)), sentence
    _require_own_scores(config, trained)
    mine = {"fold": of.fold, "seed": of.seed}
    tables = [
        table[(table["fold"] == mine["fold"]) & (table["seed"] == mine["seed"])] for table in (scores, predictions)
    ]
    intervals = interval_table(tables[0], tables[1], seed=config.seeds[0], progress=progress)
    judged = tables[1]["patient"].nunique()
    sentence = (
        f"These are the scores of this very model, on the {judged} test patients of fold {of.fold} (of {of.folds}), "
        "whom it did not see in training."
    )
    return tuple(_rows(intervals)), sentence


def _require_own_scores(config: Config, trained: TrainedModel) -> None:
    """Raise `ArtefactError` where the scores beside a run are those of what stood there before it."""
    judged = read_provenance(scores_file(config)).get("runs") or ()
    if trained.fingerprint not in judged:
        raise ArtefactError(
            f"{scores_file(config)} does not say that it judged this run ({trained.fingerprint}): it was trained again "
            "since, or judged by an earlier version; delete the file and run `mirror embed` and `mirror evaluate` again"
        )


def _rows(intervals: pd.DataFrame) -> Iterable[ScoreRow]:
    for row in intervals.to_dict("records"):
        value, low, high = (None if math.isnan(row[name]) else float(row[name]) for name in ("estimate", "low", "high"))
        keys = {name: str(row[name]) for name in ("representation", "protocol", "task", "metric")}
        yield ScoreRow(**keys, value=value, low=low, high=high, patients=int(row["patients"]))


def _selection_note(panel: GenePanel | None) -> str | None:
    return None if panel is None or panel.selection is None else panel.selection.note


def wanted_run(
    source: Path, *, fold: int | None, seed: int | None, all_patients: bool
) -> tuple[RunFolder, Config | None]:
    """The run that `source` names: a run folder itself, or one of a configuration by fold and seed, or of everybody.

    The configuration is given back where the run of all patients is wanted. Raises `ConfigError` where it is not clear
    which model is meant.
    """
    if source.is_dir():
        if all_patients or fold is not None or seed is not None:
            raise ConfigError(
                "--fold, --seed and --all-patients choose a run of a CONFIG.yaml; a folder is a run already"
            )
        return RunFolder(source), None
    config = load_config(source)
    number = config.seeds[0] if seed is None else seed
    if all_patients and fold is not None:
        raise ConfigError("--fold and --all-patients exclude each other")
    if all_patients:
        return run_folder(config.output, seed=number, fold=WHOLE), config
    if fold is None:
        raise ConfigError(
            f"{source} has one model a fold; say which to hand on: --all-patients (one more is trained, on "
            f"everybody; its "
            "scores are those of the cross-validation), or --fold N (a model with scores of its own)"
        )
    return run_folder(config.output, seed=number, fold=fold), None
