"""The stages with the default preset: resumed, leak-free, pooled, and with patients who have one modality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_job import CANONICAL, same_weights, write_config

from mirror.artefacts import read_json
from mirror.config import CanonicalModelConfig, Config, load_config
from mirror.data.cohort import Cohort
from mirror.errors import ConfigError, LeakError
from mirror.evaluation.embed import NO_SLIDE, load_embeddings
from mirror.nn.canonical import CanonicalMirror
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.tasks.trained import load_trained
from mirror.training.checkpoint import load_weights, save_weights
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.evaluation_files import account_file
from mirror.workflow.pretrain import pretrain_fold, run_fingerprint, training_slides
from mirror.workflow.report import write_report

GENERAL_VIEWS = {"X_slide", "X_expression", "X_fused", "X_raw_slide"}


@pytest.fixture
def job(simulated: Path, tmp_path: Path) -> Config:
    return load_config(write_config(simulated, tmp_path / "out", form=CANONICAL))


def moved(config: Config, output: Path, **pretraining: object) -> Config:
    return config.model_copy(
        update={"output": output, "pretraining": config.pretraining.model_copy(update=pretraining)}
    )


def with_noise_for(cohort: Cohort, patients: tuple[str, ...]) -> Cohort:
    """The cohort with other labels, other slides and noise for profiles of `patients`."""
    slides, table = cohort.slides.copy(), cohort.expression
    assert table is not None
    theirs = slides["patient"].isin(patients)
    slides.loc[theirs, ["label", "time"]] = ["B", 1.0]
    slides.loc[theirs, "path"] = slides.loc[theirs, "path"].iloc[0]
    slides.loc[theirs, "feature_hash"] = "another"
    values = table.values.copy()
    values[np.isin(table.patients, patients)] = 1e3
    return replace(cohort, slides=slides, expression=replace(table, values=values))


def without_expression_of(cohort: Cohort, patients: tuple[str, ...]) -> Cohort:
    assert cohort.expression is not None
    kept = [patient for patient in cohort.expression.patients if patient not in patients]
    has = cohort.slides["has_expression"] & ~cohort.slides["patient"].isin(patients)
    return replace(cohort, slides=cohort.slides.assign(has_expression=has), expression=cohort.expression.of(kept))


def test_an_interrupted_run_ends_with_the_numbers_of_one_that_was_not(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    whole = pretrain_fold(job, cohort, cohort.folds[0], 0)
    other = moved(job, tmp_path / "other")

    def stop(done: int, total: int, note: str = "") -> None:
        del total
        if done == 2 and note.startswith("epoch"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_fold(other, cohort, cohort.folds[0], 0, progress=stop)
    resumed = pretrain_fold(other, cohort, cohort.folds[0], 0)
    assert same_weights(whole.weights, resumed.weights)


def test_a_run_does_not_move_when_its_test_patients_change(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    first = pretrain_fold(job, cohort, fold, 0)
    second = pretrain_fold(moved(job, tmp_path / "other"), with_noise_for(cohort, fold.test), fold, 0)
    assert same_weights(first.weights, second.weights)
    assert first.panel.read_text() == second.panel.read_text()
    third = pretrain_fold(moved(job, tmp_path / "third"), with_noise_for(cohort, fold.train[:5]), fold, 0)
    assert not same_weights(first.weights, third.weights)


def test_slides_without_expression_train_too_and_only_where_wanted(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    lone = fold.train[:4]
    fewer = without_expression_of(cohort, lone)
    without = moved(job, tmp_path / "without", one_modality="leave_out")
    assert set(lone) <= set(training_slides(job, fewer, fold)["patient"])
    assert not set(lone) & set(training_slides(without, fewer, fold)["patient"])
    one, other = pretrain_fold(job, fewer, fold, 0), pretrain_fold(without, fewer, fold, 0)
    assert not same_weights(one.weights, other.weights)
    assert set(lone) <= set(one.read_record()["patients"])
    assert not set(lone) & set(other.read_record()["patients"])


def test_a_finished_model_answers_for_a_patient_with_either_modality(job: Config) -> None:
    whole = prepare_cohort(job)
    fold = whole.folds[0]
    cohort = without_expression_of(whole, (*fold.train[:2], *fold.test[:2]))
    run = pretrain_fold(job, cohort, fold, 0)
    embed_run(run, cohort, fold=fold, path=run.embeddings)
    table = load_embeddings(run.embeddings)
    has = cohort.slides.set_index("slide").loc[table.obs_names, "has_expression"].to_numpy()
    assert (~has).any()
    extra = {"X_align_slide", "X_align_expression", "X_shared", "X_slide_private", "X_expression_private"}
    assert set(table.obsm) == GENERAL_VIEWS | extra
    for view in ("X_slide", "X_shared", "X_slide_private"):
        assert np.isfinite(table.obsm[view]).all()
    for view in ("X_expression", "X_fused", "X_expression_private"):
        assert np.isfinite(table.obsm[view][has]).all()
        assert np.isnan(table.obsm[view][~has]).all()


def test_columns_for_probes_vary_alike_on_training_patients(job: Config) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    run = pretrain_fold(job, cohort, fold, 0)
    embed_run(run, cohort, fold=fold, path=run.embeddings)
    table = load_embeddings(run.embeddings)
    frame = cohort.slides.set_index("slide").loc[table.obs_names]
    train = (frame["patient"].isin(fold.train) & frame["has_expression"]).to_numpy()
    owners = frame["patient"].to_numpy()[train]
    for view in ("X_slide", "X_fused"):
        rows = np.stack([table.obsm[view][train][owners == patient].mean(axis=0) for patient in sorted(set(owners))])
        np.testing.assert_allclose(rows.var(axis=0), rows.var(axis=0).mean(), rtol=1e-3)


def test_weights_from_before_a_switch_make_the_model_that_they_were(job: Config, tmp_path: Path) -> None:
    settings = job.model.model_copy(update={"slide_private": False})
    old = job.model_copy(update={"output": tmp_path / "old", "model": settings})
    cohort = prepare_cohort(old)
    run = pretrain_fold(old, cohort, cohort.folds[0], 0)
    weights, before = load_weights(run.weights), load_trained(run).model
    later = {"slide_private", "same_patient"}
    sizes = {name: value for name, value in weights.sizes.items() if name not in later}
    assert len(sizes) == len(weights.sizes) - len(later)
    save_weights(run.weights, weights.tensors, sizes=sizes)
    after = load_trained(run).model
    assert isinstance(before, CanonicalMirror) and isinstance(after, CanonicalMirror)
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.randn(3, width, generator=generator) for width in (before.slide_width, before.expression_width))
    parts = tuple(inputs)
    views, same = before.views(*parts), after.views(*parts)
    assert views.keys() == same.keys()
    for name, view in views.items():
        torch.testing.assert_close(view, same[name])


def test_runs_and_configurations_from_before_a_switch_at_its_first_setting_stay_what_they_are(job: Config) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    run = pretrain_fold(job, cohort, fold, 0)
    before = yaml.safe_load(run.config.read_text())
    del before["model"]["same_patient"]
    run.config.write_text(yaml.safe_dump(before))
    again = load_config(run.config)
    assert isinstance(again.model, CanonicalModelConfig) and again.model.same_patient == "left_out"
    assert run.is_complete(run_fingerprint(again, cohort, fold, 0))
    assert "same_patient" not in again.model.model_dump(exclude_defaults=True)  # no part of the mark


def test_slides_of_one_patient_as_negatives_change_a_run_where_a_patient_has_several_and_nowhere_else(
    job: Config, tmp_path: Path
) -> None:
    several = prepare_cohort(job)
    fold = several.folds[0]
    both = several.slides[several.slides["has_expression"] & several.slides["patient"].isin(fold.train)]
    assert both["patient"].duplicated().any()
    one_each = replace(several, slides=several.slides.drop_duplicates("patient"))

    def trained(name: str, cohort: Cohort, same_patient: str) -> Path:
        model = job.model.model_copy(update={"same_patient": same_patient})
        config = moved(job, tmp_path / name, batch=len(both)).model_copy(update={"model": model})
        return pretrain_fold(config, cohort, fold, 0).weights

    left_out, negatives = (trained(name, several, name) for name in ("left_out", "negatives"))
    assert not same_weights(left_out, negatives)
    left_out, negatives = (trained(f"one, {name}", one_each, name) for name in ("left_out", "negatives"))
    assert same_weights(left_out, negatives)


def test_no_epoch_leaves_the_closed_form(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    run = pretrain_fold(moved(job, tmp_path / "start", epochs=0), cohort, cohort.folds[0], 0)
    assert run.is_complete(run.read_record()["fingerprint"])
    model = load_trained(run).model
    assert not model.state_dict()["slide_network.out.weight"].any()


def test_a_pooled_cohort_helps_with_its_training_patients_alone(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    alone = pretrain_fold(job, cohort, fold, 0)
    pooled_job = moved(job, tmp_path / "pooled").model_copy(update={"pool": (job.cohort,)})
    pooled = pretrain_fold(pooled_job, cohort, fold, 0)
    assert pooled.read_record()["pool"][0]["patients"] == len(set(fold.train))
    assert not same_weights(alone.weights, pooled.weights)
    assert set(pooled.read_record()["patients"]) == set(alone.read_record()["patients"])


def test_a_pooled_cohort_that_would_train_on_test_patients_is_refused(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    first, second = cohort.folds[:2]
    pooled = moved(job, tmp_path / "leaking").model_copy(update={"pool": (job.cohort,)})
    # The pooled cohort's fold of this number trains on whom this fold tests.
    with pytest.raises(LeakError, match=second.test[0]):
        pretrain_fold(pooled, cohort, Fold(first.number, second.train, second.test), 0)


def test_pooling_with_the_published_model_is_refused(simulated: Path, tmp_path: Path) -> None:
    job = load_config(write_config(simulated, tmp_path / "out"))
    cohort = prepare_cohort(job)
    with pytest.raises(ConfigError, match="kind: canonical"):
        pretrain_fold(job.model_copy(update={"pool": (job.cohort,)}), cohort, cohort.folds[0], 0)


def test_a_pooled_cohort_without_the_fold_is_named(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    two_folds = cohort.folds[1]
    three = job.model_copy(update={"output": tmp_path / "three", "pool": (job.cohort,)})
    with pytest.raises(ConfigError, match="no fold 7"):
        pretrain_fold(three, cohort, Fold(7, two_folds.train, two_folds.test), 0)


def test_a_pooled_cohort_may_be_named_by_its_configuration(simulated: Path, tmp_path: Path) -> None:
    other = write_config(simulated, tmp_path / "other", form=CANONICAL)
    path = write_config(simulated, tmp_path / "out", form=CANONICAL, pool=[f"../other/{other.name}"])
    assert load_config(path).pool == (load_config(other).cohort,)


@pytest.fixture(scope="module")
def some_without_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated cohort in which a quarter of the patients have no slide."""
    folder = tmp_path_factory.mktemp("without_slide")
    sizes = SimulationSizes(patients=60, genes=30, tile_features=12, tiles=(8, 12), without_slide=0.25)
    simulate_cohort(folder, seed=3, sizes=sizes)
    return folder


def lone_job(simulated: Path, output: Path, **pretraining: object) -> Config:
    config = load_config(write_config(simulated, output, form=CANONICAL))
    assert config.cohort.expression is not None
    kept = config.cohort.expression.model_copy(update={"without_slide": "keep"})
    cohort = config.cohort.model_copy(update={"expression": kept})
    return moved(config.model_copy(update={"cohort": cohort}), output, **pretraining)


def test_expression_without_a_slide_trains_too_and_only_where_wanted(some_without_slide: Path, tmp_path: Path) -> None:
    job = lone_job(some_without_slide, tmp_path / "with")
    without = lone_job(some_without_slide, tmp_path / "without", one_modality="leave_out")
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    lone = set(fold.train) & set(cohort.without_slide.index)
    assert len(lone) > 5
    one, other = pretrain_fold(job, cohort, fold, 0), pretrain_fold(without, cohort, fold, 0)
    assert not same_weights(one.weights, other.weights)
    assert lone <= set(one.read_record()["patients"])
    assert not set(cohort.without_slide.index) & set(other.read_record()["patients"])
    assert one.read_record()["patients_without_slide"] == len(lone)
    assert one.read_record()["pairs"] == other.read_record()["pairs"]
    for term in ("alignment", "slide_retention", "expression_retention", "cluster"):
        assert np.isfinite(one.read_record()["last_epoch"][term])
    trained = load_trained(one)
    profiles, panel = trained.profiles(cohort.expression), trained.panel
    assert profiles is not None and panel is not None and lone <= set(panel.fitted_on)
    known = np.isin(profiles.patients, [*fold.train])
    np.testing.assert_allclose(trained.model.gene_mean, profiles.values[known].mean(axis=0), atol=1e-5)


def test_a_test_patient_without_a_slide_moves_nothing(some_without_slide: Path, tmp_path: Path) -> None:
    job = lone_job(some_without_slide, tmp_path / "first")
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    first = pretrain_fold(job, cohort, fold, 0)
    for name, half, same in (("test", fold.test, True), ("train", fold.train, False)):
        lone = [patient for patient in half if patient in cohort.without_slide.index]
        assert lone
        assert cohort.expression is not None
        values = cohort.expression.values.copy()
        values[np.isin(cohort.expression.patients, lone)] = 1e3
        changed = replace(cohort, expression=replace(cohort.expression, values=values))
        second = pretrain_fold(lone_job(some_without_slide, tmp_path / name), changed, fold, 0)
        assert same_weights(first.weights, second.weights) == same


def test_a_patient_without_a_slide_is_embedded_and_judged_by_its_expression(
    some_without_slide: Path, tmp_path: Path
) -> None:
    job = lone_job(some_without_slide, tmp_path / "out", epochs=1)
    cohort = prepare_cohort(job)
    for fold in cohort.folds:
        run = pretrain_fold(job, cohort, fold, 0)
        report = embed_run(run, cohort, fold=fold, path=run.embeddings)
        assert (report.slides, report.without_slide) == (len(cohort.slides), len(cohort.without_slide))
        table = load_embeddings(run.embeddings)
        lone = table[[name.startswith(NO_SLIDE) for name in table.obs_names]]
        assert set(lone.obs["patient"]) == set(cohort.without_slide.index)
        assert list(lone.obs_names) == [f"{NO_SLIDE}{patient}" for patient in lone.obs["patient"]]
        for view in ("X_expression", "X_shared", "X_expression_private", "X_align_expression"):
            assert np.isfinite(lone.obsm[view]).all()
        for view in ("X_slide", "X_fused", "X_raw_slide", "X_slide_private", "X_align_slide"):
            assert np.isnan(lone.obsm[view]).all()
    scores = evaluate_runs(job, representations=("slide", "expression", "fused", "raw_expression"))
    counts = {
        (run["fold"], one["representation"], one["task"]): one["test"] + one["test_without_endpoint"]
        for run in read_json(account_file(job))["runs"]
        for one in run["counts"]
    }
    for fold in cohort.folds:
        table = cohort.patients.loc[list(fold.test)]
        assert counts[fold.number, "expression", "subtyping"] >= int(table["has_expression"].sum())
        seen = [patient for patient in fold.test if patient not in cohort.without_slide.index]
        assert counts[fold.number, "slide", "subtyping"] == len(seen)
    assert scores.loc[scores["representation"].isin(["expression", "raw_expression"]), "value"].notna().any()
    assert write_report(job).exists()
