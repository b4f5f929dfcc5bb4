"""The report's pictures of scores, survival, calibration and training. Nothing here knows what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullFormatter
from numpy.typing import NDArray

from mirror.evaluation.calibration import Calibrated
from mirror.evaluation.report.drawing import (
    BASELINE,
    CLASS_COLOURS,
    FAINT,
    INK,
    LEARNED,
    PAPER,
    REFERENCE,
    RULE,
    across,
    as_svg,
    new_figure,
    place_axes,
    text_width,
)


class Dots(NamedTuple):
    """One row of a dot picture: a value a fold, whether what gave them was learned here, and the 95 % interval."""

    label: str
    values: tuple[float, ...]
    learned: bool
    interval: tuple[float, float] | None = None


class Survivors(NamedTuple):
    """A group of patients: months of follow-up (N,) and whether the event ended it (N,)."""

    label: str
    months: NDArray[np.float64]
    events: NDArray[np.bool_]


def score_picture(rows: Sequence[Dots], *, reference: float | None, chance: float | None, description: str) -> str:
    """Every fold as a small dot, the mean as a large one with its interval; a row a representation, learned on top.

    `reference` draws a line through the picture (the best baseline's mean), `chance` a dotted one where it is in sight.
    """
    widest = max(text_width(row.label, size=10, weight="bold" if row.learned else "normal") for row in rows)
    left = max(124.0, np.ceil(widest) + 10)
    with new_figure(216 + left, 44 + 20 * len(rows)) as figure:
        axes = place_axes(figure, left=left, right=42, top=6, bottom=24)
        # Few artists and no tick labels: a page has dozens of these pictures, and matplotlib's time goes by the artist.
        for learned, colour, marker, size in ((True, LEARNED, "o", 7.5), (False, BASELINE, "D", 6.0)):
            side = [(place, row) for place, row in enumerate(rows) if row.learned == learned]
            dots = [(value, place) for place, row in side for value in row.values]
            axes.plot(*_columns(dots), "o", color=colour, alpha=0.4, markersize=3.6, mew=0)
            ends = [(*row.interval, place) for place, row in side if row.interval is not None]
            low, high, places = _columns(ends, 3)
            axes.hlines(places, low, high, color=colour, linewidth=1.6, alpha=0.75, zorder=2)
            means = [(float(np.mean(row.values)), place) for place, row in side]
            axes.plot(*_columns(means), marker, color=colour, markersize=size, mew=1.2, mec="white")
            around: dict[str, Any] = {
                "transform": across(axes),
                "va": "center",
                "weight": "bold" if learned else "normal",
            }
            for (mean, place), (_, row) in zip(means, side, strict=True):
                axes.text(1.03, place, f"{mean:.3f}", fontsize=9.5, **around)
                axes.text(-0.016, place, row.label, ha="right", **around)
        values = np.concatenate([[*row.values, *(row.interval or ())] for row in rows])
        margin = max(0.02, 0.05 * float(np.ptp(values)))
        most = 1.0 + margin / 2 if values.max() <= 1 else np.inf  # ranks go beyond
        axes.set_xlim(values.min() - margin, min(values.max() + margin, most))
        if reference is not None:
            axes.axvline(reference, color=REFERENCE, linewidth=1.1, dashes=(4, 3), zorder=0.9)
        if chance is not None and axes.get_xlim()[0] <= chance:
            axes.axvline(chance, color=FAINT, linewidth=1.1, linestyle=":", zorder=0.9)
            axes.text(chance, -0.75, " chance", fontsize=8.5, color=FAINT, va="center")
        above = sum(row.learned for row in rows)
        if 0 < above < len(rows):
            axes.axhline(above - 0.5, color=RULE, linewidth=0.8, clip_on=False, xmin=-0.6)
        axes.set_ylim(len(rows) - 0.4, -1.0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.grid(axis="x")
        return as_svg(figure, description)


def _columns(rows: Sequence[tuple[float, ...]], count: int = 2) -> NDArray[np.float64]:
    """Rows of `count` numbers, possibly none, as (count, rows)."""
    return np.array(rows, float).reshape(-1, count).T


def difference_picture(rows: Sequence[Dots], *, description: str) -> str:
    """A difference a fold as dots around zero, their mean, and its interval as a bar (one standard deviation to each
    side where there is none).

    A label of two lines stands above its row, the second line faint.
    """
    with new_figure(400, 62 + 56 * len(rows)) as figure:
        axes = place_axes(figure, left=8, right=8, top=22, bottom=26)
        axes.set_ylim(len(rows) - 0.5, -0.6)
        reach = 1.12 * max(0.01, *(abs(value) for row in rows for value in row.values))
        for place, row in enumerate(rows):
            mean, count = float(np.mean(row.values)), len(row.values)
            spread = float(np.std(row.values, ddof=1)) if count > 1 else 0.0
            low, high = row.interval or (mean - spread, mean + spread)
            reach = max(reach, 1.05 * abs(low), 1.05 * abs(high))
            axes.plot([low, high], [place + 0.2] * 2, color=LEARNED, linewidth=8, alpha=0.18, solid_capstyle="butt")
            axes.plot(row.values, [place + 0.2] * count, "o", color=LEARNED, alpha=0.5, markersize=5.5, mew=0)
            axes.plot(mean, place + 0.2, "D", color=LEARNED, markersize=8.5, mec="white", mew=1.3)
            title, _, pair = row.label.partition("\n")
            around: dict[str, Any] = {"transform": across(axes), "va": "center", "bbox": PAPER}
            axes.text(0.0, place - 0.36, title, weight="bold", **around)
            axes.text(0.0, place - 0.12, pair, fontsize=9.5, color=FAINT, **around)
            axes.text(1.0, place - 0.36, signed(mean), ha="right", weight="bold", fontsize=11, **around)
        axes.set_xlim(-reach, reach)
        axes.axvline(0, color=INK, linewidth=1, zorder=0.9)
        for x, side, words in ((0, "left", "\u2190 baseline better"), (1, "right", "learned better \u2192")):
            axes.text(x, 1.01, words, transform=axes.transAxes, ha=side, va="bottom", fontsize=9.5, color=FAINT)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: signed(value, digits=2))
        axes.grid(axis="x")
        return as_svg(figure, description)


def curve_picture(runs: Sequence[Sequence[tuple[float, float]]], *, description: str) -> str:
    """A thin line a run and a thick one for their mean; each run is a sequence of (epoch, value)."""
    with new_figure(250, 150) as figure:
        axes = place_axes(figure, left=44, right=10, top=8, bottom=36)
        table = pd.DataFrame([pair for run in runs for pair in run], columns=["epoch", "value"])
        for run in runs:
            axes.plot(*zip(*run, strict=True), color=LEARNED, linewidth=0.8, alpha=0.35)
        mean = table.groupby("epoch")["value"].mean()
        axes.plot(mean.index, mean, color=LEARNED, linewidth=2, marker="o" if len(mean) == 1 else None)
        low, high = float(table["value"].min()), float(table["value"].max())
        if low > 0 and high > 50 * low:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        elif low >= 0 and low < 0.5 * high:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch", fontsize=9.5, labelpad=1)
        beyond = 0.5 if len(mean) == 1 else 0.0
        axes.set_xlim(mean.index[0] - beyond, mean.index[-1] + beyond)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.tick_params(labelsize=9, which="both", length=3)
        axes.grid(axis="y")
        return as_svg(figure, description)


def survival_picture(groups: Sequence[Survivors], *, until: float, description: str) -> str:
    """Kaplan-Meier curves of the groups with 95 % bands, a tick a censored patient, and the numbers at risk below."""
    # Names stand 0.07 of the axes' width to the left of them.
    left = max(72.0, np.ceil(max((text_width(group.label, size=9.5) for group in groups), default=0.0)) + 24)
    with new_figure(278 + left, 270 + 15 * len(groups)) as figure:
        axes = place_axes(figure, left=left, right=14, top=10, bottom=62 + 15 * len(groups))
        for place, group in enumerate(groups):
            colour = (CLASS_COLOURS[0], CLASS_COLOURS[1], *CLASS_COLOURS[2:])[place % len(CLASS_COLOURS)]
            fitted = KaplanMeierFitter().fit(group.months, group.events)
            curve = cast(pd.DataFrame, fitted.survival_function_).iloc[:, 0]
            band = cast(pd.DataFrame, fitted.confidence_interval_)
            axes.fill_between(band.index, band.iloc[:, 0], band.iloc[:, 1], step="post", color=colour, alpha=0.13, lw=0)
            dashes = "-" if place == 0 else (0, (5, 1.6))
            axes.step(curve.index, curve, where="post", color=colour, linewidth=2, linestyle=dashes)
            censored = np.sort(group.months[~group.events])
            levels = curve.to_numpy()[np.searchsorted(curve.index.to_numpy(), censored, side="right") - 1]
            axes.plot(censored, levels, "|", color=colour, markersize=5, mew=0.9)
            _label_curve(axes, curve, group.label, colour, until=until, upper=place == 0)
        axes.set_xlim(0, until)
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MultipleLocator(_month_step(until)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("months of follow-up", labelpad=2)
        axes.grid(axis="y")
        _numbers_at_risk(axes, groups, until=until)
        return as_svg(figure, description)


def reliability_picture(groups: Sequence[Calibrated], *, learned: bool, low: float, description: str) -> str:
    """Predicted chance across, observed up, with its interval; on the line both agree. Both axes go from `low` to 1."""
    with new_figure(250, 230) as figure:
        axes = place_axes(figure, left=52, right=12, top=8, bottom=42)
        colour = LEARNED if learned else BASELINE
        axes.plot([low, 1], [low, 1], color=FAINT, linewidth=1.1, linestyle=":")
        most = max(group.patients for group in groups)
        for group in groups:
            ends = [group.low, group.high]
            axes.plot([group.predicted] * 2, ends, color=colour, linewidth=1.2, alpha=0.55, solid_capstyle="butt")
            size = 3 + 6 * float(np.sqrt(group.patients / most))
            marker = "o" if learned else "D"
            axes.plot(group.predicted, group.observed, marker, color=colour, markersize=size, mec="white")
        margin = 0.04 * (1 - low)
        axes.set_xlim(low - margin, 1 + margin)
        axes.set_ylim(low - margin, 1 + margin)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("predicted", labelpad=2)
        axes.set_ylabel("observed", labelpad=2)
        axes.grid()
        return as_svg(figure, description)


def signed(value: float, *, digits: int = 3) -> str:
    """`value` with its sign and a true minus; plain zero when nothing is left after rounding."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if text.strip("+-0.") else f"{0:.{digits}f}"


def _label_curve(axes: Axes, curve: pd.Series, label: str, colour: str, *, until: float, upper: bool) -> None:
    """Write the name above the upper curve, or below the lower one where there is room for it."""

    def level(share: float) -> float:
        return float(curve.to_numpy()[np.searchsorted(curve.index.to_numpy(), share * until, side="right") - 1])

    # Curves fall, so the left end of the words decides above the curve and the right end below it.
    at = 0.97 if upper else next((share for share in (0.97, 0.85, 0.7, 0.55) if level(share) > 0.14), 0.4)
    y = min(level(at - 0.24) + 0.03, 1.0) if upper else level(at) - 0.04
    axes.text(at * until, y, label, color=colour, ha="right", va="bottom" if upper else "top", weight="bold")


def _numbers_at_risk(axes: Axes, groups: Sequence[Survivors], *, until: float) -> None:
    along = across(axes, along="x")
    height = cast(Figure, axes.figure).get_size_inches()[1] * 72 * axes.get_position().height
    ticks = np.arange(0, until + 1e-9, _month_step(until))
    beside: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 9.5, "ha": "right", "va": "center"}
    axes.text(-0.07, -50 / height, "at risk", color=FAINT, **beside)
    for place, group in enumerate(groups):
        y = -(65 + 15 * place) / height
        axes.text(-0.07, y, group.label, **beside)
        for tick in ticks:
            count = int((group.months >= tick).sum())
            axes.text(float(tick), y, str(count), transform=along, fontsize=9.5, ha="center", va="center")


def _month_step(until: float) -> int:
    return next((step for step in (3, 6, 12, 24, 36, 60, 120) if until / step <= 6), 240)
