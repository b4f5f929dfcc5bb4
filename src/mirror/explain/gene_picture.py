"""The leading genes of a target, with their intervals, as one picture."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd

from mirror.evaluation.report.drawing import CLASS_COLOURS, FAINT, INK, PAPER, RULE, new_figure, place_axes

SHOWN = 20
RAISES, LOWERS = CLASS_COLOURS[1], CLASS_COLOURS[0]
"""Vermilion and blue, told apart by every kind of colour vision; the side of the line says the same."""


def gene_picture(genes: pd.DataFrame, *, target: str, unit: str, folds: int) -> bytes:
    """A PNG of the first `SHOWN` rows of `genes` (columns of `gene_table`): a stick to the mean effect, its interval
    behind it; of one fold there is no interval."""
    shown = genes.head(SHOWN)
    of_head = "standard deviations of the output that go along with one of the gene"
    per = f"mean contribution, {unit}" if target == "agreement" else of_head
    with new_figure(470, 84 + 17 * len(shown)) as figure:
        axes = place_axes(figure, left=104, right=20, top=40, bottom=40)
        numbers = shown[["effect", "low", "high"]].to_numpy(dtype=np.float64).tolist()
        for place, (effect, low, high) in enumerate(numbers):
            colour = RAISES if effect > 0 else LOWERS
            if not math.isnan(low):
                axes.plot([low, high], [place, place], color=colour, linewidth=6, alpha=0.28)
            axes.plot([0, effect], [place, place], color=colour, linewidth=1.4)
            axes.plot(effect, place, "o" if effect > 0 else "s", color=colour, markersize=5.5, mec="white")
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(range(len(shown)), list(shown["gene"]))
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(per, labelpad=3)
        axes.grid(axis="x", color=RULE)
        said = f"band: 95 % interval over {folds} folds" if folds > 1 else "one fold: no interval"
        axes.text(-0.2, 1.0 + 22 / (17 * len(shown)), target, transform=axes.transAxes, weight="bold", color=INK)
        axes.text(
            -0.2,
            1.0 + 8 / (17 * len(shown)),
            f"right (dots) with more of it, left (squares) with less; {said}",
            transform=axes.transAxes,
            fontsize=8.5,
            color=FAINT,
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, facecolor=PAPER["facecolor"])
    return buffer.getvalue()
