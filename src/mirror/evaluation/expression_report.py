"""Pictures of an expression table as it was read: principal components by group, library sizes, panels' curves."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mirror.artefacts import write_aside
from mirror.data.inspection import Inspection
from mirror.data.selection import Selection
from mirror.evaluation.report.drawing import CLASS_COLOURS, LEARNED, OTHER

_SHOWN_GROUPS = len(CLASS_COLOURS)


def write_components(path: Path, inspection: Inspection) -> None:
    """The first two principal components as SVG, a dot a patient, coloured by group; beyond seven groups in grey."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    scores, explained = inspection.components.scores, inspection.components.explained
    groups = np.array(inspection.groups or ["all patients"] * len(scores), dtype=object)
    names, counts = np.unique(groups.astype(str), return_counts=True)
    by_size = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    for place, name in enumerate(by_size):
        dots = scores[groups == name]
        colour = CLASS_COLOURS[place] if place < _SHOWN_GROUPS else OTHER
        label = f"{name} ({len(dots)})" if place < _SHOWN_GROUPS else None
        axes.plot(dots[:, 0], dots[:, 1], "o", color=colour, markersize=4, alpha=0.7, mew=0, label=label)
    axes.set_xlabel(f"component 1, {explained[0]:.1%} of the variance")
    axes.set_ylabel(f"component 2, {explained[1]:.1%} of the variance")
    axes.legend(frameon=False, fontsize=8)
    _write(path, figure)


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
