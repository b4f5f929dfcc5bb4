"""`mirror audit`: looks for leaks in a cohort and in what its runs left, and writes audit.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mirror.artefacts import read_json, write_json
from mirror.config import Config, load_config
from mirror.data.clinical import read_clinical
from mirror.data.cohort import Cohort, build_cohort
from mirror.data.splits import read_halves
from mirror.errors import ArtefactError, ConfigError, MirrorError
from mirror.evaluation.audit.cohort import Groups, check_cohort
from mirror.evaluation.audit.finding import Audit, settle
from mirror.evaluation.audit.halves import Judged, check_halves, check_pooled
from mirror.evaluation.audit.memories import check_memories
from mirror.evaluation.scores import read_predictions
from mirror.types import Fold, Progress, silent
from mirror.workflow.cohort import cohort_folder, kept_cohort
from mirror.workflow.evaluation_files import account_file, predictions_file
from mirror.workflow.fitted_things import FittedThings, fitted_things


def audit_file(config: Config) -> Path:
    """What the audit of a configuration found."""
    return config.output / "audit.json"


def configuration_of(path: Path) -> Config:
    """The configuration at `path`, or of the runs in the output folder `path`.

    Raises `ConfigError` when it is neither.
    """
    if path.is_dir():
        written = sorted(path.glob("runs/seed*/fold*/config.yaml"))
        if not written:
            raise ConfigError(f"{path} holds no run; name its configuration, or the folder in which runs/ lies")
        # A folder that was moved is audited where it is.
        return load_config(written[0]).model_copy(update={"output": path.resolve()})
    if not path.exists():
        raise ConfigError(f"there is no {path}; name a configuration or its output folder")
    return load_config(path)


def audit(config: Config, *, progress: Progress = silent) -> Audit:
    """Look at the cohort, and at every run and score that is there already; write audit.json.

    Folds that the cohort stage refuses are audited too: that is where leaks are. Raises `DataError` when the tables
    cannot be read, `ArtefactError` when the cohort that was left is of another configuration.
    """
    cohort, folds, source = audited_cohort(config, progress)
    groups, unread = read_groups(config, cohort)
    progress(0, 3, "fitted things")
    things = fitted_things(config, cohort, folds)
    halves = check_halves(folds, _judged(config, things), source=source)
    lent = tuple(check_pooled(things.pooled, {run: fold.test for run, fold in things.folds.items()}))
    memories = check_memories(things.memories, things.refits, skipped=things.skipped)
    progress(1, 3, "slides, columns, sites")
    clinical = config.cohort.clinical
    checks = check_cohort(cohort, folds, groups, label=clinical.label if clinical else None)
    # What could not be read narrows what the last three looked at.
    checks[-3:] = [check._replace(looked="; ".join([check.looked, *unread])) for check in checks[-3:]]
    found = settle([halves._replace(findings=halves.findings + lent), memories, *checks])
    write_json(audit_file(config), found.as_json())
    progress(3, 3, "done")
    return found


def audited_cohort(config: Config, progress: Progress) -> tuple[Cohort, tuple[Fold, ...], str]:
    """The cohort as it was left, or as its tables have it; its folds as they are written, and where.

    Raises `ArtefactError` when it was joined by other settings.
    """
    folder = cohort_folder(config)
    if (folder / "cohort.json").exists():
        cohort = kept_cohort(config)
        return cohort, cohort.folds, f"{folder.name}/folds.json"
    path = config.cohort.folds.path
    if path is None:
        cohort = build_cohort(config.cohort, progress=progress)
        return cohort, cohort.folds, "the folds that are made"
    cohort = build_cohort(config.cohort, with_folds=False, progress=progress)
    there = {str(name) for name in cohort.patients.index}
    halves = read_halves(path)
    folds = (
        Fold(number, tuple(sorted(train & there)), tuple(sorted(test & there)))
        for number, (train, test) in halves.items()
    )
    return cohort, tuple(folds), path.name


def read_groups(config: Config, cohort: Cohort) -> tuple[Groups, list[str]]:
    """The columns by which patients are grouped, of the cohort's patients, and what could not be read of them.

    Where the clinical table is out of reach, the labels at least are in the cohort.
    """
    clinical = config.cohort.clinical
    if clinical is None:
        return {}, []
    there = {str(name) for name in cohort.patients.index}
    try:
        read = read_clinical(clinical).groups
    except MirrorError as error:
        labels = cohort.patients["label"].dropna().astype(str)
        known = {clinical.label: dict(labels)} if clinical.label else {}
        return known, [f"groups other than the label could not be read ({str(error).splitlines()[0]})"]
    return {by: {name: one for name, one in told.items() if name in there} for by, told in read.items()}, []


def _judged(config: Config, things: FittedThings) -> Iterable[Judged]:
    """Each finished run, with whom it was trained on and, where it was evaluated, judged on."""
    judged: dict[str, frozenset[str]] = {}
    if account_file(config).exists() and predictions_file(config).exists():
        predictions = read_predictions(predictions_file(config))
        for (seed, number), part in predictions.groupby(["seed", "fold"]):
            judged[f"seed {seed}, fold {number}"] = frozenset(part["patient"].astype(str))
    for run, trained in things.trained.items():
        yield Judged(run, trained, judged.get(run, frozenset()))


def read_audit(config: Config) -> dict[str, Any]:
    """What `audit` wrote. Raises `ArtefactError` when it is missing, damaged or of another schema."""
    content = read_json(audit_file(config))
    if content.get("kind") != "audit":
        raise ArtefactError(f"{audit_file(config)} is not an audit; run `mirror audit` again")
    return content
