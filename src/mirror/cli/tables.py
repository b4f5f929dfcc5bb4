"""Tables on the terminal."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from mirror.evaluation.sweep_table import Block

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


def block_table(block: Block) -> Table:
    """One block of a sweep's table."""
    table = Table(title=block.title, title_justify="left", padding=(0, 1), pad_edge=False, show_lines=True)
    table.add_column("row", no_wrap=True)
    for name in block.columns:
        table.add_column(name, justify="right")
    for row in block.rows:
        table.add_row(*row)
    return table


def _cell(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "undefined"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f}±{sd:.3f}"


def _title(protocol: str) -> str:
    shots = re.fullmatch(r"shot(\d+)", protocol)
    return f"{shots[1]}-shot" if shots else {"cox": "Cox"}.get(protocol, protocol)
