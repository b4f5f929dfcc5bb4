"""Tables on the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from mirror.evaluation.audit.finding import Audit
    from mirror.evaluation.comparison import Compared, Comparison
    from mirror.evaluation.sweep_table import Block
    from mirror.workflow.import_features import FileAccount

LONGEST_TABLE = 200
"""Rows of a table of files; import.jsonl has them all."""

SHOWN = {"auroc": "AUROC", "c_index": "c-index", "recall@10": "recall@10"}
"""One metric a task; scores.parquet and the report have them all."""


def shown_columns(summary: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(protocol, metric) -> title of the columns that are shown, in the order of the scores.

    Of several numbers of shots 10, or else the largest, and no nearest prototype: more columns than a terminal has room
    for would be cut to nothing.
    """
    pairs = dict.fromkeys(zip(summary["protocol"], summary["metric"], strict=True))
    shots = {int(found[1]) for protocol, _ in pairs if (found := re.fullmatch(r"shot(\d+)", protocol))}
    foremost = 10 if 10 in shots else max(shots, default=0)
    left = {"prototype", *(f"shot{number}" for number in shots if number != foremost)}
    return {pair: f"{_title(pair[0])} {SHOWN[pair[1]]}" for pair in pairs if pair[1] in SHOWN and pair[0] not in left}


def score_tables(summary: pd.DataFrame, *, title: str) -> list[Table]:
    """A table a task, in it a row a representation, in each cell mean and sd over folds as `summarise` gives them."""
    return [_score_table(part, title=f"{title}, {task}") for task, part in summary.groupby("task", sort=False)]


def _score_table(summary: pd.DataFrame, *, title: str) -> Table:
    keys = zip(summary["representation"], summary["protocol"], summary["metric"], strict=True)
    cells = dict(zip(keys, map(_cell, summary["mean"], summary["sd"]), strict=True))
    table = Table(title=f"{title}: mean ± sd over folds", title_justify="left", padding=(0, 1), pad_edge=False)
    table.add_column("representation", no_wrap=True)
    columns = shown_columns(summary)
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=False, min_width=5)
    for representation in dict.fromkeys(summary["representation"]):
        table.add_row(representation, *(cells.get((representation, *key), "") for key in columns))
    return table


def comparison_tables(found: Comparison) -> list[Table]:
    """A table a pair of runs (or one for all representations of a run): a row a comparison, and who is surely ahead."""
    pairs: dict[tuple[str, str], list[Compared]] = {}
    for row in found.rows:
        pairs.setdefault(("" if row.first == row.representation else row.first, row.second), []).append(row)
    return [_comparison_table(first or "value", second, rows) for (first, second), rows in pairs.items()]


def _comparison_table(first: str, second: str, rows: Sequence[Compared]) -> Table:
    title = f"{first if first != 'value' else 'each representation'} - {second}"
    table = Table(title=escape(title), title_justify="left", padding=(0, 1), pad_edge=False)
    # Two lines a row: a terminal of 80 columns has to hold who is surely ahead, too.
    table.add_column("representation", no_wrap=True)
    table.add_column("measured", min_width=8)
    for name in (first, second):
        table.add_column(escape(name), justify="right", overflow="fold", min_width=5)
    table.add_column("difference,\n95 % interval", justify="right", no_wrap=True)
    table.add_column("surely ahead,\nHolm p", overflow="fold", min_width=9)
    for row in rows:
        p = "" if math.isnan(row.p_holm) else "<0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}"
        table.add_row(
            escape(row.representation),
            f"{_title(row.protocol)} {SHOWN.get(row.metric, row.metric)}",
            _cell(row.first_value, math.nan),
            _cell(row.second_value, math.nan),
            f"{row.difference:+.3f}\n{row.low:+.3f}, {row.high:+.3f}",
            f"{f'[bold]{escape(row.ahead)}[/]' if row.verdict == 'sure' else row.verdict}\n{p}".rstrip(),
        )
    return table


def audit_table(found: Audit) -> Table:
    """A row a check, and below it one a finding, numbered as they are explained."""
    table = Table(title="audit", title_justify="left", padding=(0, 1), pad_edge=False)
    table.add_column("check")
    table.add_column("found", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("size", justify="right")
    number = {finding: place for place, finding in enumerate(found.findings, start=1)}
    for check in found.checks:
        table.add_row(escape(check.name), "" if check.findings else "nothing", escape(check.looked), "")
        for finding in check.findings:
            tone = "bold red" if finding.severity == "leak" else "yellow"
            table.add_row(
                f"  {number[finding]}.", f"[{tone}]{finding.severity}[/]", escape(finding.where), finding.amount
            )
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


def import_table(files: Sequence[FileAccount]) -> Table:
    """A row a file: what it is and what became of it. Where they are too many, those that went well are left out."""
    shown = files
    if len(files) > LONGEST_TABLE:
        shown = [file for file in files if file.state not in ("imported", "already") or file.remarks][:LONGEST_TABLE]
    left_out = len(files) - len(shown)
    table = Table(
        title="files" if not left_out else f"files ({left_out} more are in import.jsonl)",
        title_justify="left",
        padding=(0, 1),
        pad_edge=False,
    )
    for name in ("file", "state", "layout", "tiles", "width", "encoder", "positions"):
        table.add_column(name, justify="right" if name in ("tiles", "width") else "left", overflow="fold")
    for file in shown:
        numbers = ("" if value is None else str(value) for value in (file.tiles, file.width))
        cells = (file.path, file.state, file.layout, *numbers, file.encoder or "", file.coords_unit or "")
        table.add_row(*map(escape, cells))
    return table


def import_remarks(files: Sequence[FileAccount]) -> list[str]:
    """What is to be said of the files, the same remark once: `failed, a.h5: it is truncated`."""
    said: dict[tuple[str, str], list[str]] = {}
    for file in files:
        for remark in file.remarks:
            said.setdefault((file.state, remark), []).append(file.path)
    return [
        f"{state}, {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {remark}"
        for (state, remark), paths in said.items()
    ][:LONGEST_TABLE]


def _cell(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "undefined"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f}±{sd:.3f}"


def _title(protocol: str) -> str:
    shots = re.fullmatch(r"shot(\d+)", protocol)
    return f"{shots[1]}-shot" if shots else {"cox": "Cox"}.get(protocol, protocol.replace("_", " "))
