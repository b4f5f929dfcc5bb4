"""How the terms of the objective went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mirror.evaluation.report import pictures


def terms(histories: Mapping[tuple[int, int], Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    runs = [histories[key] for key in sorted(histories) if histories[key]]
    names = dict.fromkeys(name for run in runs for line in run for name in line if name != "epoch")
    terms: list[dict[str, Any]] = []
    for name in sorted(names, key=lambda name: name != "total"):
        curves = [[(line["epoch"] + 1, line[name]) for line in run if name in line] for run in runs]
        curves = [curve for curve in curves if curve]
        first, last = (float(np.mean([curve[end][1] for curve in curves])) for end in (0, -1))
        title = name.replace("_", " ")
        change = f"{first:.3g} \N{RIGHTWARDS ARROW} {last:.3g}"
        description = f"Training curve of {title}, mean of {len(curves)} runs: {change}."
        svg = pictures.curve_picture(curves, description=description)
        terms.append({"title": title, "change": change, "svg": svg})
    return terms
