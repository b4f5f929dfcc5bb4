"""Tables of numbers, read strictly: a cell that is no number is named, and what is not asked for is not held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mirror.data.parquet import parquet_columns, read_parquet
from mirror.data.text_files import Header, batches, cell_text, read_header, require_columns, row_name, stripped
from mirror.errors import DataError, raise_together


class Matrix(NamedTuple):
    """Numbers with a name for each row and column; a missing name is "", a missing number NaN."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]


def read_matrix(
    path: Path,
    names: Sequence[str],
    *,
    ignored: Sequence[str] = (),
    wanted: Callable[[str], bool] | None = None,
    transposed: bool = False,
) -> Matrix:
    """A table of numbers; the first of the columns `names` that is not empty names a row (none: the first column).

    `transposed` gives the columns of the file as rows, without a second copy of the numbers of a text file. Columns in
    `ignored` (texts that describe a row) are not read, nor are rows of the result whose name is not `wanted`: a text
    file is cut as it streams by, and never held whole; of a parquet file that is transposed only the columns that are
    asked for are opened. Raises `DataError` for whatever `read_text_table` refuses, and for a cell (of parquet: a
    column) that is not a number (row and column).
    """
    is_parquet = path.suffix == ".parquet"
    header = Header(parquet_columns(path), 0, "") if is_parquet else read_header(path)
    at = [_position(path, header.names, name) for name in names] or [0]
    others = [
        position
        for position, name in enumerate(header.names)
        if position not in at and name not in ignored and (wanted is None or not transposed or wanted(name))
    ]
    wanted_row = None if transposed else wanted
    if is_parquet:
        matrix = _parquet_matrix(path, header.names, at, others, wanted=wanted_row)
        return Matrix(matrix.columns, matrix.rows, np.ascontiguousarray(matrix.values.T)) if transposed else matrix
    kinds = {**dict.fromkeys(at, pa.string()), **dict.fromkeys(others, pa.float32())}
    rows: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    try:
        for batch in batches(path, header, kinds):
            named = _row_names([batch.column(str(position)).to_pylist() for position in at])
            kept = _kept(named, wanted_row)
            block = np.empty((len(others), len(kept)), dtype=np.float32)
            for place, position in enumerate(others):
                block[place] = batch.column(str(position)).to_numpy(zero_copy_only=False)[kept]
            blocks.append(block)
            rows += [named[row] for row in kept]
    except DataError:
        _name_the_culprit(path, header, others)
        raise
    columns = tuple(header.names[position] for position in others)
    values = _joined(
        blocks, (len(others), len(rows)) if transposed else (len(rows), len(others)), transposed=transposed
    )
    return Matrix(columns, tuple(rows), values) if transposed else Matrix(tuple(rows), columns, values)


def _joined(blocks: list[NDArray[np.float32]], shape: tuple[int, int], *, transposed: bool) -> NDArray[np.float32]:
    values = np.empty(shape, dtype=np.float32)
    done = 0
    blocks.reverse()
    while blocks:  # each is let go as soon as it is copied, so that both are never held whole
        block = blocks.pop()
        some = slice(done, done + block.shape[1])
        if transposed:
            values[:, some] = block
        else:
            values[some] = block.T
        done += block.shape[1]
    return values


def _row_names(columns: Sequence[Sequence[str | None]]) -> list[str]:
    return [
        next((text for cell in cells if cell and (text := stripped(cell))), "") for cells in zip(*columns, strict=True)
    ]


def _kept(names: Sequence[str], wanted: Callable[[str], bool] | None) -> NDArray[np.intp]:
    """Places of the rows that are wanted."""
    return np.flatnonzero([wanted is None or wanted(name) for name in names])


def _position(path: Path, present: Sequence[str], wanted: str) -> int:
    require_columns(path, present, [wanted])
    return list(present).index(wanted)


def _name_the_culprit(path: Path, header: Header, positions: Sequence[int]) -> None:
    """Raise an error that names row and column of each cell that is not a number; return when there is none."""
    problems: dict[int, str] = {}
    done = 0
    for batch in batches(path, header, dict.fromkeys(positions, pa.string())):
        for position in positions:
            cells = pd.Series(batch.column(str(position)).to_pylist(), dtype=object)
            wrong = cells.notna() & pd.to_numeric(cells, errors="coerce").isna()
            if position not in problems and wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                problems[position] = f"{row_name(done + row)}, column '{header.names[position]}': '{cells[row]}'"
        done += batch.num_rows
    listed = [problems[position] for position in sorted(problems)]
    raise_together(
        DataError,
        f"{path} has cells that are not numbers; correct or empty them, or list a column of text in `ignore_columns`:",
        listed,
    )


def _parquet_matrix(
    path: Path,
    columns: Sequence[str],
    at: Sequence[int],
    others: Sequence[int],
    *,
    wanted: Callable[[str], bool] | None,
) -> Matrix:
    named, kept = ([columns[position] for position in some] for some in (at, others))
    table = read_parquet(path, [*named, *kept])
    texts = [f"'{field.name}' ({field.type})" for field in table.select(kept).schema if not _is_number(field.type)]
    raise_together(
        DataError, f"{path} has columns that are not numbers; list them in `ignore_columns`, or convert them:", texts
    )
    rows = _row_names([list(map(cell_text, table[name].to_pylist())) for name in named])
    some = _kept(rows, wanted)
    values = np.empty((len(some), len(kept)), dtype=np.float32)
    for place, column in enumerate(table.select(kept).columns):
        values[:, place] = column.cast(pa.float32(), safe=False).to_numpy()[some]
    return Matrix(tuple(rows[row] for row in some), tuple(kept), values)


def _is_number(kind: pa.DataType) -> bool:
    """A column without any value counts as one: of no kind, it contradicts none."""
    return any(is_one(kind) for is_one in (pa.types.is_integer, pa.types.is_floating, pa.types.is_null))
