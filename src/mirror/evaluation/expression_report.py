"""Pictures of an expression table as it was read: principal components by group, library sizes, panels' curves."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mirror.artefacts import write_aside
from mirror.data.inspection import Inspection
from mirror.data.selection import Selection
from mirror.evaluation.report.drawing import CLASS_COLOURS, LEARNED, OTHER

_SHOWN_GROUPS = len(CLASS_COLOURS)


def write_components(path: Path, inspection: Inspection) -> None:
    """The first two principal components as SVG, a dot a patient: one picture a column of batches or cohorts, side by
    side, coloured by group; beyond the seven largest groups in grey."""
    scores, explained = inspection.components
    groupings = {by: found.groups for by, found in inspection.groupings.items()} or {
        "": ("all patients",) * len(scores)
    }
    figure = Figure(figsize=(6.4 * len(groupings), 4.4), layout="constrained")
    for axes, (by, groups) in zip(figure.subplots(1, len(groupings), squeeze=False)[0], groupings.items(), strict=True):
        _draw_groups(axes, scores, np.array(groups, dtype=object))
        axes.set_title(by, fontsize=10)
        axes.set_xlabel(f"component 1, {explained[0]:.1%} of the variance")
        axes.set_ylabel(f"component 2, {explained[1]:.1%} of the variance")
    _write(path, figure)


def _draw_groups(axes: Axes, scores: NDArray[np.float64], groups: NDArray[np.object_]) -> None:
    names, counts = np.unique(groups.astype(str), return_counts=True)
    by_size = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    for place, name in enumerate(by_size):
        dots = scores[groups == name]
        colour = CLASS_COLOURS[place] if place < _SHOWN_GROUPS else OTHER
        label = f"{name} ({len(dots)})" if place < _SHOWN_GROUPS else None
        if place == _SHOWN_GROUPS:
            label = f"{len(names) - place} others ({len(scores) - int(np.sort(counts)[::-1][:place].sum())})"
        axes.plot(dots[:, 0], dots[:, 1], "o", color=colour, markersize=4, alpha=0.7, mew=0, label=label)
    axes.legend(frameon=False, fontsize=8)


def write_library_sizes(path: Path, inspection: Inspection) -> None:
    """The patients' sums on the linear scale as SVG. There must be such sums: z-scores have none."""
    assert inspection.sizes is not None
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(inspection.sizes, bins=40, color=LEARNED)
    axes.set_xlabel(f"sum over the table's genes, linear scale (given as {inspection.units})")
    axes.set_ylabel("patients")
    _write(path, figure)


def write_score_curve(path: Path, selection: Selection, *, genes: int) -> None:
    """Cross-validated accuracy against the number of genes as SVG; `genes` is the size of the whole panel."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    mean, spread = np.array(selection.mean_score), np.array(selection.std_score)
    axes.fill_between(selection.sizes, mean - spread, mean + spread, color=LEARNED, alpha=0.2, linewidth=0)
    axes.plot(selection.sizes, mean, "o-", color=LEARNED, markersize=4)
    axes.set_xscale("log")
    axes.set_xlabel(f"genes that the elimination keeps (panel with curated genes: {genes})")
    axes.set_ylabel("accuracy")
    _write(path, figure)


def _write(path: Path, figure: Figure) -> None:
    # Without a date and with a fixed salt, equal numbers give equal files.
    with mpl.rc_context({"svg.hashsalt": "mirror", "svg.fonttype": "none"}), write_aside(path) as aside:
        figure.savefig(aside, format="svg", metadata={"Date": None})
