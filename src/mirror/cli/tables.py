"""Tables on the terminal."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from mirror.evaluation.comparison import Comparison

SHOWN = {"auroc": "AUROC", "c_index": "c-index"}
"""One metric a task; scores.parquet and the report have them all."""


def shown_columns(summary: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(protocol, metric) -> title of the columns that are shown, in the order of the scores."""
    pairs = dict.fromkeys(zip(summary["protocol"], summary["metric"], strict=True))
    return {pair: f"{_title(pair[0])} {SHOWN[pair[1]]}" for pair in pairs if pair[1] in SHOWN}


def score_table(summary: pd.DataFrame, *, title: str) -> Table:
    """A row a representation, in each cell mean and standard deviation over folds, as `summarise` gives them."""
    keys = zip(summary["representation"], summary["protocol"], summary["metric"], strict=True)
    cells = dict(zip(keys, map(_cell, summary["mean"], summary["sd"]), strict=True))
    table = Table(title=f"{title}: mean ± sd over folds", title_justify="left", padding=(0, 1), pad_edge=False)
    table.add_column("representation", no_wrap=True)
    columns = shown_columns(summary)
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=False, min_width=11)
    for representation in dict.fromkeys(summary["representation"]):
        table.add_row(representation, *(cells.get((representation, *key), "") for key in columns))
    return table


def comparison_table(found: Comparison, *, title: str) -> Table:
    """A row a comparison: both values, the difference with its 95 % interval, Holm's p, and who is ahead."""
    table = Table(title=title, title_justify="left", padding=(0, 1), pad_edge=False)
    for name in ("representation", "protocol"):
        table.add_column(name, no_wrap=True)
    for name in ("metric", "first", "second"):
        table.add_column(name)
    for name in ("difference [95 %]", "p (Holm)"):
        table.add_column(name, justify="right")
    table.add_column("ahead")
    for row in found.rows:
        sides = (f"{row.first} {_cell(row.first_value, math.nan)}", f"{row.second} {_cell(row.second_value, math.nan)}")
        ahead = {"sure": f"[bold]{escape(row.ahead)}[/]", "undecided": f"{escape(row.ahead)}, undecided"}
        table.add_row(
            escape(row.representation),
            escape(_title(row.protocol)),
            row.metric,
            *map(escape, sides),
            f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]".replace("[", r"\["),
            _p(row.p_holm),
            ahead.get(row.verdict, row.verdict),
        )
    return table


def _p(p: float) -> str:
    return "undefined" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _cell(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "undefined"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f}±{sd:.3f}"


def _title(protocol: str) -> str:
    shots = re.fullmatch(r"shot(\d+)", protocol)
    return f"{shots[1]}-shot" if shots else {"cox": "Cox"}.get(protocol, protocol)
