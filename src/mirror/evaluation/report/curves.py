"""Pictures of ROC curves, few-shot curves, performance by site and retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import NullLocator

from mirror.evaluation.report.by_site import SiteScore
from mirror.evaluation.report.drawing import (
    BASELINE,
    CLASS_COLOURS,
    FAINT,
    LEARNED,
    RULE,
    across,
    as_svg,
    new_figure,
    place_axes,
)
from mirror.evaluation.report.names import representation_label
from mirror.evaluation.report.roc import ACROSS, RocCurve
from mirror.evaluation.report.shots import ShotCurve

LEARNED_LOOKS = {"fused": (LEARNED, "o"), "slide": ("#56B4E9", "s"), "expression": ("#009E73", "^")}
BASELINE_LOOKS = ((BASELINE, (0, (4, 2))), ("#9AA0A6", (0, (1.5, 1.5))), ("#B8860B", (0, (6, 2, 1, 2))))


class Roc(NamedTuple):
    """A curve with the name of its side."""

    label: str
    learned: bool
    curve: RocCurve


def roc_picture(sides: Sequence[Roc], *, description: str) -> str:
    """Mean ROC curves with their bands; the dotted diagonal is chance."""
    with new_figure(340, 320) as figure:
        axes = place_axes(figure, left=52, right=20, top=10, bottom=46)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.1, linestyle=":")
        axes.text(0.63, 0.58, "chance", color=FAINT, fontsize=9, rotation=42, ha="center", va="top")
        for place, side in enumerate(sides):
            colour, dashes = (LEARNED, "-") if side.learned else (BASELINE, (0, (5, 2)))
            curve = side.curve
            axes.fill_between(ACROSS, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
            x, y = np.concatenate([[0.0], ACROSS]), np.concatenate([[0.0], curve.sensitivity])
            axes.plot(x, y, color=colour, linewidth=2.2 if side.learned else 1.7, linestyle=dashes)
            said = f"{side.label}: {curve.area:.3f}"
            weight = "bold" if side.learned else "normal"
            axes.text(0.98, 0.14 - 0.075 * place, said, color=colour, ha="right", weight=weight, fontsize=10)
        axes.text(0.98, 0.215, "area under the curve", color=FAINT, ha="right", fontsize=9)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("false alarms", labelpad=2)
        axes.set_ylabel("found", labelpad=1)
        axes.grid(color=RULE)
        return as_svg(figure, description)


def shot_picture(curves: Sequence[ShotCurve], *, description: str) -> str:
    """AUROC against labelled patients a class, on a scale of doublings; on the right the probe on all labels."""
    with new_figure(400, 320) as figure:
        axes = place_axes(figure, left=48, right=126, top=12, bottom=46)
        counts = sorted({count for curve in curves for count in curve.shots})
        end = counts[-1] * 2.2
        names: list[tuple[float, str, str, bool]] = []
        baselines = iter(BASELINE_LOOKS)
        for curve in curves:
            colour, style = (
                LEARNED_LOOKS.get(curve.representation, (LEARNED, "o")) if curve.learned else next(baselines)
            )
            line, marker = ("-", style) if curve.learned else (style, "D")
            width = 2.4 if curve.representation == "fused" else 1.6
            looks: dict[str, Any] = {
                "color": colour,
                "linestyle": line,
                "marker": marker,
                "markersize": 5,
                "mec": "white",
                "mew": 0.8,
            }
            axes.plot(curve.shots, curve.means, linewidth=width, **looks)
            known = [(count, *ends) for count, ends in zip(curve.shots, curve.ends, strict=True) if ends]
            if known and curve.representation in (curves[0].representation, "fused"):
                x, low_end, high_end = zip(*known, strict=True)
                axes.fill_between(x, low_end, high_end, color=colour, alpha=0.14, linewidth=0)
            last = curve.means[-1]
            if curve.all_labels is not None:
                looks |= {"linestyle": (0, (1, 2))}
                axes.plot([curve.shots[-1], end], [last, curve.all_labels], linewidth=1, **looks)
                last = curve.all_labels
            names.append((last, representation_label(curve.representation), colour, curve.learned))
        axes.set_xscale("log", base=2)
        ticks, labels = [*counts], [str(count) for count in counts]
        if any(curve.all_labels is not None for curve in curves):
            ticks, labels = [*ticks, end], [*labels, "all"]
        axes.set_xticks(ticks, labels)
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = axes.get_ylim()
        heights = _apart(names, (high - low) / 17)
        over = max(0.0, heights[-1] - high)  # a name above the frame would be cut off
        for y, (_, name, colour, learned) in zip((y - over for y in heights), sorted(names), strict=True):
            weight = "bold" if learned else "normal"
            axes.text(1.03, y, name, transform=across(axes), color=colour, va="center", weight=weight, fontsize=9.5)
        axes.set_ylim(low, high)
        axes.set_xlabel("labelled patients a class", labelpad=2)
        axes.set_ylabel("AUROC", labelpad=2)
        axes.grid(axis="y", color=RULE)
        return as_svg(figure, description)


def site_picture(scores: Sequence[SiteScore], *, overall: float, metric: str, description: str) -> str:
    """A row a site, the largest on top: value and 95 % interval; dashed the value over all folds, dotted chance."""
    with new_figure(400, 62 + 21 * len(scores)) as figure:
        axes = place_axes(figure, left=66, right=118, top=24, bottom=38)
        most = max(score.patients for score in scores)
        for place, score in enumerate(scores):
            axes.plot([score.low, score.high], [place] * 2, color=LEARNED, linewidth=1.8, alpha=0.6)
            size = 4 + 6 * float(np.sqrt(score.patients / most))
            axes.plot(score.value, place, "o", color=LEARNED, markersize=size, mec="white")
            beside: dict[str, Any] = {"transform": across(axes), "va": "center", "fontsize": 9}
            axes.text(1.04, place, f"{score.value:.2f}", weight="bold", **beside)
            axes.text(1.2, place, f"{score.patients}, {score.counts}", **beside)
        axes.axvline(overall, color=CLASS_COLOURS[1], linewidth=1.1, dashes=(4, 3), zorder=0.9)
        axes.axvline(0.5, color=FAINT, linewidth=1.1, linestyle=":", zorder=0.9)
        low = min(0.45, *(score.low for score in scores))
        axes.set_xlim(max(0.0, low - 0.03), 1.03)
        axes.set_ylim(len(scores) - 0.4, -0.7)
        axes.set_yticks(range(len(scores)), [score.site for score in scores])
        axes.text(1.2, -0.9, "patients", transform=across(axes), fontsize=9, color=FAINT, va="bottom")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(metric, labelpad=2)
        axes.grid(axis="x", color=RULE)
        return as_svg(figure, description)


def recall_picture(sides: Sequence[tuple[str, Sequence[int]]], *, description: str) -> str:
    """How many queries find their counterpart among the k closest, for every k; each side (title, ranks)."""
    with new_figure(340, 300) as figure:
        axes = place_axes(figure, left=52, right=20, top=10, bottom=46)
        gallery = max(len(ranks) for _, ranks in sides)
        ks = np.arange(1, gallery + 1)
        axes.plot(ks, ks / gallery, color=FAINT, linestyle=":", linewidth=1.3)
        axes.text(gallery * 0.93, 0.62, "chance", color=FAINT, ha="right", va="top", fontsize=9)
        for place, (title, ranks) in enumerate(sides):
            colour, dashes = ((LEARNED, "-"), (CLASS_COLOURS[2], (0, (5, 2))))[place % 2]
            found = np.searchsorted(np.sort(ranks), ks, side="right") / len(ranks)
            axes.step(ks, found, where="post", color=colour, linewidth=2, linestyle=dashes)
            axes.text(
                0.04, 0.93 - 0.075 * place, title, color=colour, ha="left", transform=axes.transAxes, fontsize=9.5
            )
        axes.set_xscale("log")
        axes.set_xlim(1, gallery)
        axes.set_ylim(0, 1.02)
        ticks = [k for k in (1, 5, 10, 50, 100, 500, 1000) if k <= gallery]
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel("among the k closest", labelpad=2)
        axes.set_ylabel("found", labelpad=1)
        axes.grid(axis="y", color=RULE)
        return as_svg(figure, description)


def _apart(names: Sequence[tuple[float, str, str, bool]], least: float) -> list[float]:
    """Heights for the names, in ascending order, each at least `least` above the one below, as near as that goes."""
    heights: list[float] = []
    for value, *_ in sorted(names):
        heights.append(value if not heights else max(value, heights[-1] + least))
    # What was pushed up is let down again by half the push of the top one, so that names stay around their lines.
    push = heights[-1] - max(value for value, *_ in names) if heights else 0.0
    return [height - push / 2 for height in heights]
