"""The table of a sweep as people read it: blocks of cells, and their Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from mirror.evaluation.judgements import BEST, FUSED, MODALITIES, ROWS, Line
from mirror.evaluation.metrics import TOP

NONE = "-"
RETRIEVAL_COLUMNS = (*(f"recall@{k}" for k in TOP), "median rank")
LEGEND = (
    "mean ± standard deviation over folds, seeds of a fold averaged first; below it the difference to what the block's "
    "title names, with its 95 % interval over patients and the p of no difference (one comparison, not corrected)"
)


class Block(NamedTuple):
    """One table; lines of a cell are parted by a line feed. The first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def blocks(lines: pd.DataFrame, retrieval: pd.DataFrame) -> list[Block]:
    """The blocks of every cohort in `lines` (as `mirror.evaluation.comparison.compare` gives them, of all cohorts).

    `retrieval`: a row a cohort and row of the sweep, columns cohort, row, `RETRIEVAL_COLUMNS`, chance@k and gallery;
    NaN where the model has no aligned views.
    """
    found: list[Block] = []
    for cohort, part in lines.groupby("cohort", sort=False):
        found += _cohort_blocks(str(cohort), [Line(*line) for line in part.itertuples(index=False)])
    return [*found, _retrieval_block(retrieval)] if len(retrieval) else found


def markdown(found: Iterable[Block], *, unfinished: Sequence[str] = ()) -> str:
    """The blocks as Markdown with their legend; rows that are not finished are named below."""
    parts = [f"Cells: {LEGEND}."]
    for block in found:
        head = ["| " + " | ".join((block.title, *block.columns)) + " |", "|---" * (len(block.columns) + 1) + "|"]
        parts.append("\n".join(head + ["| " + " | ".join(row).replace("\n", "<br>") + " |" for row in block.rows]))
    if unfinished:
        parts.append(f"Not finished, so not in the table: {', '.join(unfinished)}.")
    return "\n\n".join(parts) + "\n"


def _cohort_blocks(cohort: str, lines: list[Line]) -> Iterator[Block]:
    yield from _block(f"{cohort}: fused, against the {BEST}", [line for line in lines if line.block == FUSED])
    for modality in MODALITIES:
        own = [line for line in lines if line.block == modality]
        yield from _block(f"{cohort}: {modality} alone, against raw_{modality}", own)
    among = [line._replace(row=f"against {line.against}") for line in lines if line.block == ROWS]
    name = next((line.row for line in lines if line.block == ROWS), "")
    yield from _block(f"{cohort}: {name}, fused, against the other rows", among)


def _block(title: str, lines: list[Line]) -> Iterator[Block]:
    measures = list(dict.fromkeys((line.protocol, line.metric) for line in lines))
    cells = {(line.row, line.protocol, line.metric): _cell(line) for line in lines}
    rows = [
        (row, *(cells.get((row, *measure), NONE) for measure in measures))
        for row in dict.fromkeys(line.row for line in lines)
    ]
    if rows:
        yield Block(title, tuple(_title(*measure) for measure in measures), tuple(rows))


def _cell(line: Line) -> str:
    if math.isnan(line.mean):
        return "undefined"
    text = f"{line.mean:.3f}" if math.isnan(line.sd_folds) else f"{line.mean:.3f} ± {line.sd_folds:.3f}"
    if line.row == BEST:
        text += f"\n{line.representation}"
    if not math.isnan(line.difference):
        text += f"\n{line.difference:+.3f} [{line.low:+.3f}, {line.high:+.3f}] p {line.p:.3f}"
    return text


def _title(protocol: str, metric: str) -> str:
    shots = protocol.removeprefix("shot")
    name = f"{shots}-shot" if shots.isdecimal() else {"cox": "Cox"}.get(protocol, protocol)
    return f"{name} {({'auroc': 'AUROC', 'c_index': 'c-index'}).get(metric, metric)}"


def _retrieval_block(retrieval: pd.DataFrame) -> Block:
    rows: list[tuple[str, ...]] = []
    for (cohort, row), part in retrieval.groupby(["cohort", "row"], sort=False):
        mean = part.iloc[0]
        title = f"{cohort}: {row}"
        if math.isnan(mean["gallery"]):
            rows.append((title, *(NONE for _ in (*RETRIEVAL_COLUMNS, "gallery"))))
            continue
        recall = [f"{mean[f'recall@{k}']:.3f}\nchance {mean[f'chance@{k}']:.3f}" for k in TOP]
        rows.append((title, *recall, f"{mean['median rank']:.1f}", f"{mean['gallery']:.0f}"))
    title = "slide to expression, held-out patients, mean over folds and seeds"
    return Block(title, (*RETRIEVAL_COLUMNS, "gallery"), tuple(rows))
