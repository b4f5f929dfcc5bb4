"""Truths about what a user sees of long work."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from mirror.cli.progress import progress_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `time.monotonic` says to the bar: one number, to be changed."""
    now = [1000.0]
    monkeypatch.setattr("mirror.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_a_tenth_of_the_way_of_each_piece_of_work_with_the_time_that_is_left(
    clock: list[float],
) -> None:
    text = io.StringIO()
    with progress_bar(Console(file=text, width=200), "slides") as progress:
        for header in range(20):
            progress(header, 20, "reading headers")  # quick, and over at once
        for slide in range(20):
            progress(slide, 20, "a")
            clock[0] += 300
            progress(slide + 0.5, 20, "12.0 tiles/s, a: 5/10")
            clock[0] += 300
        progress(20, 20)
    said = text.getvalue().splitlines()
    assert len(said) == 10
    assert said[0] == "slides: 2/20 a, about 3:00:00 left"
    assert said[-1] == "slides: 20/20"


def test_work_that_goes_on_half_way_does_not_count_what_was_done_before(clock: list[float]) -> None:
    text = io.StringIO()
    with progress_bar(Console(file=text, width=200), "pretrain") as progress:
        progress(50, 100)
        clock[0] += 100
        progress(60, 100)
    assert text.getvalue() == "pretrain: 60/100 about 0:06:40 left\n"


def test_a_bar_knows_the_time_that_is_left_within_the_first_slide(clock: list[float]) -> None:
    text = io.StringIO()
    with progress_bar(Console(file=text, width=200, force_terminal=True), "slides") as progress:
        progress(0, 2, "a")
        clock[0] += 60
        progress(0.25, 2, "40.0 tiles/s, a: 600/2400")
        time.sleep(0.3)  # the bar is drawn ten times a second
    assert "about 0:07:00 left" in text.getvalue()
    assert "40.0 tiles/s" in text.getvalue()
