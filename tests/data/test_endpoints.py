"""Truths about event conventions, times and the intervals of discrete time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirror.data.endpoints import assign_intervals, interval_edges, parse_event, parse_months
from mirror.errors import DataError


@pytest.mark.parametrize(
    ("convention", "happened", "censored"),
    [
        ("one_is_event", ["1", "1.0"], ["0", "0.0"]),
        ("one_is_censored", ["0", "0.0"], ["1", "1.0"]),
        ("deceased_or_living", ["1:DECEASED", "DECEASED", "Dead", "dead"], ["0:LIVING", "LIVING", "Alive", "alive"]),
    ],
)
def test_each_convention_reads_its_own_values(convention, happened, censored):
    assert all(parse_event(cell, convention) for cell in happened)
    assert not any(parse_event(cell, convention) for cell in censored)


@pytest.mark.parametrize(
    ("cell", "convention", "remedy"),
    [
        ("2", "one_is_event", "correct or empty it"),
        ("1:DECEASED", "one_is_event", "name the right `event_convention` (deceased_or_living)"),
        ("1", "deceased_or_living", "name the right `event_convention` (one_is_event or one_is_censored)"),
        ("yes", "one_is_censored", "correct or empty it"),
    ],
)
def test_a_value_of_another_convention_is_refused_with_the_remedy(cell, convention, remedy):
    with pytest.raises(DataError) as caught:
        parse_event(cell, convention)
    assert f"'{cell}' is no value of {convention}" in str(caught.value)
    assert remedy in str(caught.value)


def test_times_become_months():
    assert parse_months("365.25", "days") == pytest.approx(12)
    assert parse_months("2", "years") == 24
    assert parse_months("0", "months") == 0


@pytest.mark.parametrize("cell", ["-1", "inf", "nan", "5,3", "soon"])
def test_what_is_no_time_is_refused(cell):
    with pytest.raises(DataError, match=cell):
        parse_months(cell, "months")


@given(
    times=st.lists(st.floats(0, 200), min_size=8, max_size=60, unique=True),
    censored=st.lists(st.floats(0, 1e6), max_size=30),
)
def test_edges_cut_the_training_events_into_equal_parts_whatever_the_censored_times(times, censored):
    time = np.array([*times, *censored])
    event = np.arange(len(time)) < len(times)
    edges = interval_edges(time, event, 4)
    # Times that differ by less than an interpolated quantile can tell are tied for it.
    assume(len(edges) == 3)
    counts = np.bincount(assign_intervals(np.array(times), edges), minlength=4)
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(edges, interval_edges(np.array(times), np.ones(len(times), bool), 4))


def test_intervals_are_closed_below_and_open_at_both_ends():
    edges = np.array([10.0, 20.0, 30.0])
    time = np.array([0.0, 9.99, 10.0, 19.0, 20.0, 30.0, 1e6])
    np.testing.assert_array_equal(assign_intervals(time, edges), [0, 0, 1, 1, 2, 3, 3])


def test_without_an_event_there_are_no_intervals():
    with pytest.raises(DataError, match="no training patient had the event"):
        interval_edges(np.arange(9.0), np.zeros(9, bool), 4)


def test_tied_events_give_fewer_intervals_instead_of_empty_ones():
    np.testing.assert_array_equal(interval_edges(np.full(20, 5.0), np.ones(20, bool), 4), [5.0])
