"""Supervised models: stopped by watched training patients, the same in any company, and able to find what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mirror.config import SupervisedConfig
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import FeatureStore
from mirror.data.patient_bags import PatientBags
from mirror.evaluation.supervised import Supervised
from mirror.losses.survival import risk
from mirror.nn.supervised import ExpressionMlp, GatedAttention, MeanPooling, SupervisedModel, TransMil
from mirror.seeding import generator_for
from mirror.tasks.supervised import Inputs, Outcome, SupervisedTask, fit_and_stop, predict_logits

DIM, GENES, WIDTH, PATIENTS = 6, 5, 8, 48
SETTINGS = SupervisedConfig(width=WIDTH, tiles=8, batch=8, epochs=20, patience=5, parts=4, learning_rate=1e-2)
CPU = torch.device("cpu")
NAMES = tuple(f"P{number:02d}" for number in range(PATIENTS))
CODES = np.arange(PATIENTS) % 2
ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "mean_pool": MeanPooling,
    "abmil": lambda: GatedAttention(DIM, WIDTH, dropout=0.1),
    "transmil": lambda: TransMil(DIM, WIDTH, dropout=0.1),
    "mlp": lambda: ExpressionMlp(GENES, WIDTH, dropout=0.1),
}


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> PatientBags:
    """Patients of class 1 have a third of their tiles, and their genes, moved; patient 0 has two slides."""
    folder: Path = tmp_path_factory.mktemp("bags")
    rng = np.random.default_rng(0)
    slides = {name: [f"{name}a", *(["P00b"] if name == "P00" else [])] for name in NAMES}
    for name, code in zip(NAMES, CODES, strict=True):
        for slide in slides[name]:
            tiles = rng.normal(size=(int(rng.integers(9, 20)), DIM))
            tiles[: len(tiles) // 3, 0] += 4.0 * code
            write_bag(folder / f"{slide}.h5", tiles.astype(np.float32))
    genes = (rng.normal(size=(PATIENTS, GENES)) + 2.0 * CODES[:, None]).astype(np.float32)
    profiles = dict(zip(NAMES, genes, strict=True))
    store = FeatureStore({slide: folder / f"{slide}.h5" for own in slides.values() for slide in own})
    return PatientBags(store, slides, profiles, seed=0)


def inputs_of(bags: PatientBags, name: str) -> Inputs:
    return Inputs(bags, name != "mlp", name == "mlp", DIM, GENES)


def built(name: str, *, outputs: int = 2) -> SupervisedModel:
    encoder = ENCODERS[name]()
    if name != "mean_pool":
        encoder.initialise(generator_for(0, "weights"))  # pyright: ignore[reportCallIssue]
    return SupervisedModel(encoder, tile_dim=DIM, width=DIM if name == "mean_pool" else WIDTH, outputs=outputs)


def classes_of(patients: tuple[str, ...]) -> Outcome:
    codes = CODES[: len(patients)]
    return Outcome("subtyping", patients, codes, np.zeros(len(codes), dtype=bool), 2)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_tells_classes_apart_is_found_on_new_patients(bags: PatientBags, name: str) -> None:
    model, inputs, trained = built(name), inputs_of(bags, name), classes_of(NAMES[:36])
    fit_and_stop(model, trained, inputs, SETTINGS, seed=0, device=CPU)
    found = predict_logits(model, inputs, NAMES[36:], device=CPU).argmax(dim=1).numpy()
    assert (found == CODES[36:]).mean() > 0.8


def test_the_weights_that_are_kept_are_those_of_the_least_watched_loss(bags: PatientBags) -> None:
    model, inputs, outcome = built("abmil"), inputs_of(bags, "abmil"), classes_of(NAMES)
    stopped = fit_and_stop(model, outcome, inputs, SETTINGS, seed=0, device=CPU)
    watched, trained = (
        outcome.of(stopped.watched),
        outcome.of([name for name in NAMES if name not in set(stopped.watched)]),
    )
    logits = predict_logits(model, inputs, watched.patients, device=CPU)
    loss = SupervisedTask(model, trained, device=CPU).loss(logits, torch.from_numpy(watched.target), torch.zeros(12))
    assert len(watched.patients) == 12
    assert float(loss) == pytest.approx(min(stopped.losses)) == pytest.approx(stopped.losses[stopped.epoch - 1])


def test_training_ends_when_the_watched_patients_gain_nothing(bags: PatientBags) -> None:
    noise = np.random.default_rng(3).permutation(CODES)
    outcome = Outcome("subtyping", NAMES, noise, np.zeros(PATIENTS, dtype=bool), 2)
    settings = SETTINGS.model_copy(update={"patience": 2, "epochs": 40})
    stopped = fit_and_stop(built("abmil"), outcome, inputs_of(bags, "abmil"), settings, seed=0, device=CPU)
    assert len(stopped.losses) == stopped.epoch + 2 < 40


def test_the_same_seed_gives_the_same_model_and_the_global_stream_stands_still(bags: PatientBags) -> None:
    models = [built("transmil") for _ in range(2)]
    before = torch.random.get_rng_state()
    for model in models:
        short = SETTINGS.model_copy(update={"epochs": 2})
        fit_and_stop(model, classes_of(NAMES), inputs_of(bags, "transmil"), short, seed=4, device=CPU)
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_patient_is_judged_the_same_alone_and_in_company(bags: PatientBags, name: str) -> None:
    model, inputs = built(name), inputs_of(bags, name)
    nn.init.normal_(model.head.weight, generator=generator_for(1, "head"))
    everybody = predict_logits(model, inputs, NAMES, device=CPU)
    alone = torch.cat([predict_logits(model, inputs, [patient], device=CPU) for patient in NAMES[:3]])
    torch.testing.assert_close(everybody[:3], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mean_pool", "abmil"])
def test_the_order_of_tiles_says_nothing(name: str) -> None:
    model, tiles = built(name).eval(), torch.randn(2, 9, DIM, generator=generator_for(0, "tiles"))
    nothing = torch.zeros(2, 0)
    torch.testing.assert_close(model.columns(tiles, nothing), model.columns(tiles.flip(1), nothing))


def test_several_slides_of_a_patient_count_by_the_mean_of_their_logits(bags: PatientBags) -> None:
    model = built("abmil")
    nn.init.normal_(model.head.weight, generator=generator_for(1, "head"))
    model.eval()
    slides = torch.cat([model(bag, torch.zeros(1, 0)) for bag in bags.whole("P00")])
    assert len(slides) == 2
    found = predict_logits(model, inputs_of(bags, "abmil"), ["P00"], device=CPU)
    torch.testing.assert_close(found[0], slides.mean(dim=0))


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    codes = (np.arange(PATIENTS) == 7).astype(np.int64)
    outcome = Outcome("subtyping", NAMES, codes, np.zeros(PATIENTS, dtype=bool), 2)
    task = SupervisedTask(built("abmil"), outcome, device=CPU)
    logits = torch.zeros(PATIENTS, 2, requires_grad=True)
    task.loss(logits, torch.from_numpy(codes), torch.from_numpy(outcome.event)).backward()
    assert logits.grad is not None
    # Were the rare one not weighed up, the slope of everybody's logits would point at the common class.
    torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(2), atol=1e-6, rtol=0.0)


def test_survival_is_found_and_judged_by_the_risk_of_the_loss(bags: PatientBags) -> None:
    rng = np.random.default_rng(0)
    event = rng.random(PATIENTS) < 0.8
    interval = np.where(CODES == 1, rng.integers(0, 2, PATIENTS), rng.integers(1, 3, PATIENTS))
    outcome, inputs, model = (
        Outcome("survival", NAMES, interval, event, 3),
        inputs_of(bags, "mlp"),
        built("mlp", outputs=3),
    )
    fit_and_stop(model, outcome, inputs, SETTINGS, seed=0, device=CPU)
    logits = predict_logits(model, inputs, NAMES, device=CPU)
    found = Supervised("mlp", "survival", NAMES, logits.double().numpy(), np.array([5.0, 9.0]), 20.0, float("nan"))
    told = found.survival_fit().model.risk(found.logits)
    np.testing.assert_allclose(told, risk(logits).numpy(), atol=1e-6)
    assert told[CODES == 1].mean() > told[CODES == 0].mean() + 0.2
