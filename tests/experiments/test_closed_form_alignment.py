"""The alignment in closed form does what its docstring says, on a small simulated cohort."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from mirror.config import load_config
from mirror.data.cohort import build_cohort
from mirror.evaluation.representations import PatientTable
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from project_scripts import load_script

TRAIN, K, PRIVATE = np.arange(110), 10, 0.3
SIZES = SimulationSizes(
    patients=160, genes=60, tile_features=48, tiles=(10, 20), tile_noise=0.5, gene_noise=0.5, two_slides=0.05
)


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    """The script as a module."""
    return load_script("experiments/closed_form_alignment")


@pytest.fixture(scope="module")
def table(experiment: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> PatientTable:
    """160 simulated patients with raw views, some without expression."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(folder, seed=3, sizes=SIZES)
    return experiment.raw_table(build_cohort(load_config(folder / "demo.yaml").cohort))


@pytest.fixture(scope="module")
def complete(table: PatientTable) -> PatientTable:
    """The same with everybody's expression, the missing ones made up."""
    x = table.views["raw_expression"].copy()
    absent = np.isnan(x).all(axis=1)
    assert absent.any()
    x[absent] = x[~absent].mean(axis=0) + rng_for(0, "made up").standard_normal((absent.sum(), x.shape[1]))
    return replace(table, views={**table.views, "raw_expression": x})


def test_the_table_holds_the_mean_tile_of_every_patient(table: PatientTable) -> None:
    assert table.views["raw_slide"].shape == (SIZES.patients, SIZES.tile_features)
    assert np.isfinite(table.views["raw_slide"]).all()


def test_the_fit_does_not_move_when_test_patients_change(experiment: ModuleType, table: PatientTable) -> None:
    rng = rng_for(0, "noise")
    test = np.setdiff1d(np.arange(len(table.patients)), TRAIN)
    views = {name: x.copy() for name, x in table.views.items()}
    for name in ("raw_slide", "raw_expression"):
        views[name][test] = 100.0 * rng.standard_normal(views[name][test].shape)
    changed = replace(table, views=views)
    forms = [experiment.fit_closed_form(one, TRAIN, private=PRIVATE, components=K) for one in (table, changed)]
    before, after = (form.embed(table) for form in forms)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_fit_moves_when_a_training_patient_changes(experiment: ModuleType, table: PatientTable) -> None:
    slides = table.views["raw_slide"].copy()
    slides[0] += 5.0
    changed = replace(table, views={**table.views, "raw_slide": slides})
    forms = [experiment.fit_closed_form(one, TRAIN, private=PRIVATE, components=K) for one in (table, changed)]
    before, after = (form.embed(table)[1] for form in forms)
    assert np.nanmax(np.abs(before[1:] - after[1:])) > 1e-3


@pytest.mark.parametrize("private", [0.0, PRIVATE])
def test_the_training_covariance_has_the_claimed_eigenvalues(
    experiment: ModuleType, complete: PatientTable, private: float
) -> None:
    form = experiment.fit_closed_form(complete, TRAIN, private=private, components=K)
    claimed = np.concatenate([form.rho**2 / (form.rho**2).sum() + private**2 / K, np.zeros(K)])
    for x in form.embed(complete):
        covariance = np.cov(x[TRAIN].T, bias=True)
        np.testing.assert_allclose(np.linalg.eigvalsh(covariance)[::-1], claimed, atol=1e-9)


def test_shared_columns_of_the_two_modalities_correlate_by_rho_and_only_pairwise(
    experiment: ModuleType, complete: PatientTable
) -> None:
    form = experiment.fit_closed_form(complete, TRAIN, private=0.0, components=K)
    slide, expression = (x[TRAIN, :K] for x in form.embed(complete))
    correlations = np.corrcoef(slide.T, expression.T)[:K, K:]
    np.testing.assert_allclose(correlations, np.diag(form.rho), atol=1e-9)


def test_rotation_preserves_inner_products_within_and_between_modalities(
    experiment: ModuleType, complete: PatientTable
) -> None:
    plain = experiment.fit_closed_form(complete, TRAIN, private=PRIVATE, components=K).embed(complete)
    rotated = [experiment.rotate(x, seed=0) for x in plain]
    assert not np.allclose(rotated[0], plain[0])
    for i, j in ((0, 0), (1, 1), (0, 1)):
        np.testing.assert_allclose(rotated[i] @ rotated[j].T, plain[i] @ plain[j].T, atol=1e-9)


def test_a_patient_without_expression_has_a_slide_embedding_alone(experiment: ModuleType, table: PatientTable) -> None:
    form = experiment.fit_closed_form(table, TRAIN, private=PRIVATE, components=K)
    slide, expression = form.embed(table)
    absent = np.flatnonzero(np.isnan(table.views["raw_expression"]).all(axis=1))
    assert form.pairs == len(np.setdiff1d(TRAIN, absent)) < len(TRAIN)
    assert np.isfinite(slide).all()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(expression).all(axis=1)), absent)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(expression).any(axis=1)), absent)


def test_held_out_pairs_find_each_other_more_often_than_by_chance(
    experiment: ModuleType, complete: PatientTable
) -> None:
    form = experiment.fit_closed_form(complete, TRAIN, private=PRIVATE, components=K)
    slide, expression = (x[len(TRAIN) :, : len(form.rho)] for x in form.embed(complete))
    strangers = rng_for(0, "strangers").permutation(len(expression))
    assert experiment.recall(slide, expression) > 2 * 10 / len(slide)
    assert experiment.recall(slide, expression[strangers]) < 1.5 * 10 / len(slide)


def test_recall_counts_those_whose_own_partner_is_among_the_nearest(experiment: ModuleType) -> None:
    angles = np.array([0.0, 1.0, 2.0, 3.0])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    moved = np.stack([np.cos(angles[[1, 0, 2, 3]]), np.sin(angles[[1, 0, 2, 3]])], axis=1)
    assert experiment.recall(circle, 7.0 * circle, at=1) == 1.0
    assert experiment.recall(circle, moved, at=1) == 0.5
    assert experiment.recall(circle, moved, at=4) == 1.0
