"""A sweep: rows of settings on several cohorts, each taken through the stages, and the table of what is finished.

Everything a row needs is found when it is there, so the same command goes on where it was stopped. A row that is
finished leaves `finished.json`, which says what it was made from: the table never shows numbers of other settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from mirror.artefacts import fingerprint, read_json, write_json, write_text
from mirror.config import Config
from mirror.errors import ArtefactError
from mirror.evaluation.bootstrap import RESAMPLES
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.judgements import Judgement, compare
from mirror.evaluation.metrics import TOP
from mirror.evaluation.representations import LEARNED
from mirror.evaluation.retrieval import held_out_retrieval
from mirror.evaluation.scores import read_predictions, read_provenance, read_scores
from mirror.evaluation.sweep_table import Block, blocks, markdown
from mirror.sweep import BASELINES, SweepCohort, SweepConfig
from mirror.types import Progress
from mirror.workflow.baselines import evaluate_baselines
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.evaluation_files import predictions_file, scores_file
from mirror.workflow.inputs import inputs_stamp
from mirror.workflow.pretrain import pretrain_fold, wanted_runs

Stage: TypeAlias = Callable[[str], AbstractContextManager[Progress]]
"""Opens the progress of a stage by its title."""

_INDIFFERENT = {"output", "device"}


class SweepTable(NamedTuple):
    """What is finished of a sweep: the numbers, the table made of them, and the names of what is not finished."""

    lines: pd.DataFrame
    retrieval: pd.DataFrame
    blocks: list[Block]
    unfinished: list[str]


def run_baselines(config: Config, *, stage: Stage) -> None:
    """Judge a cohort's free baselines, once for all rows."""
    with stage("baselines") as progress:
        evaluate_baselines(config, progress=progress)
    _finish(config, retrieval=[])


def run_row(config: Config, *, stage: Stage, overwrite: bool = False) -> None:
    """Take one row on one cohort through cohort, pretrain, embed and evaluate; finished work is not done again.

    Raises what the stages raise; `ArtefactError` where runs of other settings stand, unless `overwrite`.
    """
    with stage("cohort") as progress:
        cohort = prepare_cohort(config, progress=progress)
    found: list[dict[str, Any]] = []
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        title = f"seed {seed} fold {fold.number}"
        with stage(f"pretrain {title}") as progress:
            run = pretrain_fold(config, cohort, fold, seed, overwrite=overwrite, progress=progress)
        with stage(f"embed {title}") as progress:
            embed_run(run, cohort, fold=fold, path=run.embeddings, device=config.device, progress=progress)
        found.append({"seed": seed, "fold": fold.number, "numbers": _retrieval(run.embeddings)})
    with stage("evaluate") as progress:
        evaluate_runs(config, representations=LEARNED, progress=progress)
    _finish(config, retrieval=found)


def sweep_table(
    sweep: SweepConfig, cohorts: Sequence[SweepCohort], *, stage: Stage, resamples: int = RESAMPLES
) -> SweepTable:
    """The table of every row that is finished, with its baselines; cohorts without finished baselines are not in it."""
    parts: list[pd.DataFrame] = []
    retrieval: list[dict[str, Any]] = []
    unfinished: list[str] = []
    with stage("table") as progress:
        for number, cohort in enumerate(cohorts):
            progress(number, len(cohorts), cohort.name)
            baselines = _judgement(BASELINES, cohort.baselines)
            rows = {name: _judgement(name, config) for name, config in cohort.rows.items()}
            unfinished += [f"{cohort.name} {name}" for name, row in rows.items() if baselines is None or row is None]
            if baselines is None:
                continue
            finished = [row for row in rows.values() if row is not None]
            evaluation = cohort.baselines.evaluation
            measures = (("linear", "auroc"), (f"shot{evaluation.foremost_shots}", "auroc"), ("cox", "c_index"))
            parts.append(
                compare(
                    cohort.name, baselines, finished, measures=measures, compared=sweep.compared, resamples=resamples
                )
            )
            retrieval += [_mean_retrieval(cohort.name, row.row, cohort.rows[row.row]) for row in finished]
        progress(len(cohorts), len(cohorts))
    lines = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"cohort": []})
    numbers = pd.DataFrame(retrieval)
    return SweepTable(lines, numbers, blocks(lines, numbers), unfinished)


def write_table(sweep: SweepConfig, table: SweepTable) -> tuple[Path, Path]:
    """Write `table.md`, to be read, and `table.json`, every number of it, to the sweep's output."""
    page, numbers = sweep.output / "table.md", sweep.output / "table.json"
    write_text(page, markdown(table.blocks, unfinished=table.unfinished))
    content = {"scores": _records(table.lines), "retrieval": _records(table.retrieval), "unfinished": table.unfinished}
    write_json(numbers, {"sweep": sweep.name, **content})
    return page, numbers


def _finish(config: Config, *, retrieval: list[dict[str, Any]]) -> None:
    scores = read_provenance(scores_file(config))["fingerprint"]
    write_json(_finished_file(config), {"made_from": _made_from(config), "scores": scores, "retrieval": retrieval})


def _finished_file(config: Config) -> Path:
    return config.output / "finished.json"


def _made_from(config: Config) -> str:
    """A hash of everything that decides a row's numbers: its settings, and size and time of its input files."""
    settings = config.model_dump(mode="json", exclude=_INDIFFERENT)
    return fingerprint(settings, [inputs_stamp(section) for section in (config.cohort, *config.pool)])


def _judgement(row: str, config: Config) -> Judgement | None:
    """The numbers of a row, or None where it is not finished as it is configured now."""
    try:
        record = read_json(_finished_file(config))
        if record["made_from"] != _made_from(config):
            return None
        if record["scores"] != read_provenance(scores_file(config)).get("fingerprint"):
            return None
        return Judgement(row, read_scores(scores_file(config)), read_predictions(predictions_file(config)))
    except ArtefactError:  # missing, damaged or of another version: running it again mends that
        return None


def _retrieval(embeddings: Path) -> dict[str, float] | None:
    found = held_out_retrieval(load_embeddings(embeddings))
    if found is None:
        return None
    recall = {f"recall@{k}": found.recall[k] for k in TOP} | {f"chance@{k}": found.chance[k] for k in TOP}
    return {**recall, "median rank": found.median_rank, "gallery": float(found.gallery)}


def _mean_retrieval(cohort: str, row: str, config: Config) -> dict[str, Any]:
    """Mean over folds and seeds; NaN where the model has no aligned views."""
    known = [run["numbers"] for run in read_json(_finished_file(config))["retrieval"] if run["numbers"] is not None]
    names = known[0] if known else ("gallery",)
    means = {name: float(np.mean([one[name] for one in known])) if known else math.nan for name in names}
    return {"cohort": cohort, "row": row, **means}


def _records(frame: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Rows as JSON has them: null for NaN."""
    records = frame.to_dict(orient="records")
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in one.items()}
        for one in records
    ]
