"""The stage that opens the prototypes of a study's runs, and tells shared from private in what heads say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mirror.artefacts import write_json
from mirror.config import Config
from mirror.errors import ConfigError
from mirror.explain.parts import PartShares, has_parts, head_shares, variance_shares
from mirror.explain.prototypes import Association, associations, corrected
from mirror.explain.targets import AGREEMENT, CLASS, Head, target_names
from mirror.nn.canonical import CanonicalMirror
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explained import ExplainedRun, RunName, explained_run, places
from mirror.workflow.opened_prototypes import Divided, ExplainedPrototypes, RunPrototypes, divided, opened_run
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.prototype_pictures import draw_prototypes
from mirror.workflow.prototypes import why_none
from mirror.workflow.prototypes_json import run_json, study_json
from mirror.workflow.slide_files import slide_entries


def explain_prototypes(
    config: Config,
    *,
    run: RunName | None = None,
    slides: Path | None = None,
    output: Path | None = None,
    progress: Progress = silent,
) -> ExplainedPrototypes:
    """Open the prototypes of every run of the configuration, or of `run` alone, and write prototypes.json: to `output`,
    where it is given, as it would be to the folder of the explanations.

    Where slide files are (`slides`, else as `slide_entries` knows them), prototypes.png shows the nearest tiles of the
    largest prototypes. Stability is over all runs of the configuration in either case. Raises `ConfigError` where the
    preset learns no prototypes, `ArtefactError` where runs are not trained or not embedded.
    """
    reason = why_none(config)
    if reason is not None:
        raise ConfigError(f"the models of '{config.name}' (preset {config.preset}) have no prototypes: {reason}")
    cohort = prepare_cohort(config, keep=False, progress=progress)
    every = [RunName(seed, fold.number) for seed, fold in wanted_runs(config, cohort, fold=None, seed=None)]
    if run is not None and run not in every:
        wanted_runs(config, cohort, fold=run.fold, seed=run.seed)  # says what there is
    names = every if run is None else [run]
    loaded: dict[RunName, Divided] = {}
    explained: dict[RunName, ExplainedRun] = {}
    for number, name in enumerate(every):
        progress(number, 2 * len(every), f"{name}, reading")
        explained[name] = explained_run(config, cohort, name)
        loaded[name] = divided(config, explained[name])
    entries = slide_entries(config, slides, None)
    tests: list[Association] = []
    parts: dict[str, tuple[PartShares, ...]] = {}
    opened: list[RunPrototypes] = []
    classes = explained[names[0]].table.classes
    for number, name in enumerate(names):
        progress(len(every) + number * len(every) / len(names), 2 * len(every), f"{name}, opening")
        tests += associations(str(name), loaded[name].found, cohort.patients, classes)
        opened.append(opened_run(explained[name], loaded))
        if has_parts(explained[name].trained.model):
            parts[str(name)] = tuple(_parts(explained[name]))
    progress(1, 1)
    corrected_tests = tuple(corrected(tests))
    notes: dict[str, tuple[str, ...]] = {}
    written = places(config, run, output)
    for one in opened:
        place = written.of(one.run)
        notes |= draw_prototypes(place / "prototypes.png", one, entries, cohort, config.name)
        own = [test for test in corrected_tests if test.run == str(one.run)]
        write_json(place / "prototypes.json", run_json(one, own, parts.get(str(one.run), ())))
    no_parts = None if parts else f"the preset {config.preset} does not tell shared and private parts apart"
    found = ExplainedPrototypes(written.folder, tuple(opened), corrected_tests, parts, no_parts, notes)
    if run is None:
        write_json(written.folder / "prototypes.json", study_json(found))
    return found


def _parts(one: ExplainedRun) -> list[PartShares]:
    """Of the representation, of the last class where there are two (of both it is the same), and of the risk."""
    model = one.trained.model
    assert isinstance(model, CanonicalMirror)
    rows = one.table.rows(sorted(one.fold.test))
    fused = one.table.views["fused"][rows] if "fused" in one.table.views else np.empty((0, 1))
    fused = fused[~np.isnan(fused).any(axis=1)]
    if len(fused) < 2:
        return []
    names = [name for name in target_names(one.table) if name != AGREEMENT]
    classes = [name for name in names if name.startswith(CLASS)]
    names = [name for name in names if len(classes) != 2 or name != classes[0]]
    heads = [target for target in one.targets(names, "fused") if isinstance(target, Head)]
    return [variance_shares(model, fused), *(head_shares(one.name, model, one.weights, fused) for one in heads)]
