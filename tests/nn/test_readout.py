"""The rotation before the probes: equal columns, kept inner products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.nn.readout import Readout, fit_readout, readout_width


def spectrum(rows: int, columns: int, *, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(rows, columns)) * np.logspace(1, -3, columns) + 5.0)


@given(columns=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_column_varies_alike_whatever_the_spectrum(columns: int, seed: int) -> None:
    x = spectrum(60, columns, seed=seed)
    readout = Readout(columns).double()
    fit_readout(readout, x)
    variance = readout(x).var(dim=0)
    assert variance.shape == (readout_width(columns),)
    torch.testing.assert_close(variance, variance.mean().expand_as(variance), rtol=1e-6, atol=1e-12)


@given(columns=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_inner_products_of_centred_rows_stay(columns: int, seed: int) -> None:
    x = spectrum(30, columns, seed=seed)
    readout = Readout(columns).double()
    fit_readout(readout, x)
    y, centred = readout(x), x - x.mean(dim=0)
    torch.testing.assert_close(y @ y.mT, centred @ centred.mT, rtol=1e-6, atol=1e-6)


def test_rows_without_a_modality_have_no_part_in_the_fit_and_stay_nan() -> None:
    x = spectrum(40, 6, seed=0)
    with_gaps = torch.cat([x, torch.full((3, 6), float("nan"), dtype=x.dtype)])
    one, other = Readout(6).double(), Readout(6).double()
    fit_readout(one, x)
    fit_readout(other, with_gaps)
    torch.testing.assert_close(one.rotation, other.rotation)
    assert other(with_gaps)[40:].isnan().all()


@pytest.mark.parametrize(("columns", "width"), [(1, 1), (2, 2), (3, 4), (96, 128), (128, 128)])
def test_the_width_is_the_next_power_of_two(columns: int, width: int) -> None:
    assert readout_width(columns) == width
