"""Processes that share every batch compute what one process computes with all of it."""

from __future__ import annotations

import joint_steps
import pytest
import torch
from torch.multiprocessing.spawn import spawn

WORLD = 2


@pytest.fixture(scope="module", params=[None, 2], ids=["all rows at once", "two rows at once"])
def rows_at_once(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.fixture(scope="module")
def of_each_rank(tmp_path_factory: pytest.TempPathFactory, rows_at_once: int | None) -> list[joint_steps.Steps]:
    folder = tmp_path_factory.mktemp("ranks")
    spawn(joint_steps.work, args=(WORLD, folder, rows_at_once), nprocs=WORLD)
    saved = [torch.load(folder / f"rank{rank}.pt") for rank in range(WORLD)]
    return [{key: joint_steps.Step(**step) for key, step in steps.items()} for steps in saved]


@pytest.fixture(scope="module")
def alone(rows_at_once: int | None) -> joint_steps.Steps:
    """In one go; a part as large as any batch only makes slides independent of each other, as the ranks' are."""
    return joint_steps.steps(rows_at_once=rows_at_once and max(joint_steps.BATCHES))


@pytest.mark.parametrize("size", joint_steps.BATCHES)
@pytest.mark.parametrize("preset", joint_steps.PRESETS)
def test_two_ranks_have_the_terms_and_gradients_of_the_joint_batch(
    of_each_rank: list[joint_steps.Steps], alone: joint_steps.Steps, preset: str, size: int
) -> None:
    wanted = alone[preset, size]
    assert size == 1 or any(float(gradient.abs().max()) > 1e-3 for gradient in wanted.gradients.values())
    for steps in of_each_rank:
        found = steps[preset, size]
        for one, other in ((found.terms, wanted.terms), (found.gradients, wanted.gradients)):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
