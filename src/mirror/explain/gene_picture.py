"""The leading genes of a target, with their intervals, as one picture."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd

from mirror.evaluation.report.drawing import CLASS_COLOURS, FAINT, PAPER, RULE, new_figure, place_axes
from mirror.explain.caption import Caption, fitted, write_rows
from mirror.explain.targets import AGREEMENT, CLASS, RISK
from mirror.explain.wording import effect_of

WIDTH = 470
SHOWN = 20
RAISES, LOWERS = CLASS_COLOURS[1], CLASS_COLOURS[0]
"""Vermilion and blue, told apart by every kind of colour vision; the side of the line says the same."""


def gene_picture(genes: pd.DataFrame, caption: Caption, *, target: str, unit: str, folds: int) -> bytes:
    """A PNG of the first `SHOWN` rows of `genes` (columns of `gene_table`): a stick to the mean effect, its interval
    behind it; of one fold there is no interval. `caption` says of whom, what follows below it how to read it."""
    shown = genes.head(SHOWN)
    if target == AGREEMENT:
        ways = "right, dots: adds to the agreement; left, squares: takes from it"
    elif target == RISK:
        ways = "right, dots: a higher risk with more of the gene; left, squares: a lower one"
    else:
        name = target.removeprefix(CLASS)
        ways = f"right, dots: class {name} likelier with more of the gene; left, squares: less likely"
    said = f"band: 95 % interval over {folds} folds" if folds > 1 else "one fold: no interval"
    first = f"the {len(shown)} largest effects of {len(genes):,} genes; {said}"
    rows, head = caption._replace(lines=(*caption.lines, first, ways)).laid(WIDTH - 28)
    with new_figure(WIDTH, head + 50 + 17 * len(shown)) as figure:
        axes = place_axes(figure, left=104, right=20, top=head, bottom=50)
        numbers = shown[["effect", "low", "high"]].to_numpy(dtype=np.float64).tolist()
        for place, (effect, low, high) in enumerate(numbers):
            colour = RAISES if effect > 0 else LOWERS
            if not math.isnan(low):
                axes.plot([low, high], [place, place], color=colour, linewidth=6, alpha=0.28)
            axes.plot([0, effect], [place, place], color=colour, linewidth=1.4)
            axes.plot(effect, place, "o" if effect > 0 else "s", color=colour, markersize=5.5, mec="white")
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(range(len(shown)), [fitted(str(gene), 96, size=9, most=1)[0] for gene in shown["gene"]])
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("\n".join(fitted(f"effect: {effect_of(target, unit)}", WIDTH - 124, size=10)), labelpad=3)
        axes.grid(axis="x", color=RULE)
        write_rows(figure, rows)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, facecolor=PAPER["facecolor"])
    return buffer.getvalue()
