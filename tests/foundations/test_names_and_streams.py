"""Barcodes are taken apart in one place; random streams depend on their names alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import DataError
from mirror.ids import TcgaBarcode
from mirror.seeding import generator_for, rng_for, stream_seed


@pytest.mark.parametrize(
    ("text", "patient", "sample_type", "tumour"),
    [
        ("TCGA-A1-A0SB-01A-11R-A144-07", "TCGA-A1-A0SB", "01", True),
        ("TCGA-A1-A0SB-11A", "TCGA-A1-A0SB", "11", False),
        ("TCGA-A1-A0SB-06", "TCGA-A1-A0SB", "06", True),
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB", None, True),
        ("tcga.a1.a0sb.01a", "TCGA-A1-A0SB", "01", True),
    ],
)
def test_a_barcode_is_taken_apart(text: str, patient: str, sample_type: str | None, tumour: bool) -> None:
    barcode = TcgaBarcode.parse(text)
    assert barcode == TcgaBarcode.of(text)
    assert (barcode.patient, barcode.sample_type, barcode.is_tumour) == (patient, sample_type, tumour)


def test_what_is_no_barcode_is_refused_with_the_setting_that_helps() -> None:
    with pytest.raises(DataError, match="identifiers: patient"):
        TcgaBarcode.parse("Patient 17")
    assert TcgaBarcode.of("Patient 17") is None


names = st.lists(st.one_of(st.text(max_size=8), st.integers(0, 99)), min_size=1, max_size=4)


@given(st.integers(0, 2**31), names)
def test_the_same_seed_and_names_give_the_same_numbers(seed: int, parts: list[str | int]) -> None:
    first = torch.rand(3, generator=generator_for(seed, *parts))
    assert torch.equal(first, torch.rand(3, generator=generator_for(seed, *parts)))
    assert rng_for(seed, *parts).random() == rng_for(seed, *parts).random()


@given(st.integers(0, 1000), st.text(min_size=1, max_size=8), st.integers(0, 1000))
def test_another_name_or_seed_is_another_stream(seed: int, name: str, epoch: int) -> None:
    streams = {stream_seed(seed, name, epoch), stream_seed(seed, name, epoch + 1), stream_seed(seed + 1, name, epoch)}
    assert len(streams) == 3
