"""Tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {
    ("linear", "auroc"): "linear AUROC",
    ("linear", "balanced_accuracy"): "linear bal. accuracy",
    ("shot10", "auroc"): "10-shot AUROC",
    ("cox", "c_index"): "Cox c-index",
    ("discrete", "c_index"): "discrete c-index",
}
"""Protocol and metric of the columns, where the scores have them; scores.parquet has all metrics."""


def score_table(summary: pd.DataFrame, *, title: str) -> Table:
    """A row a representation, in each cell mean and standard deviation over folds, as `summarise` gives them."""
    cells = {
        (row.representation, row.protocol, row.metric): f"{row.mean:.3f}±{row.sd:.3f}"
        for row in summary.itertuples(index=False)
    }
    columns = {key: name for key, name in SHOWN.items() if any(cell[1:] == key for cell in cells)}
    table = Table(title=f"{title}: mean ± standard deviation over folds", title_justify="left")
    table.add_column("representation", no_wrap=True)
    for name in columns.values():
        table.add_column(name, justify="right")
    for representation in dict.fromkeys(summary["representation"]):
        table.add_row(representation, *(cells.get((representation, *key), "") for key in columns))
    return table
