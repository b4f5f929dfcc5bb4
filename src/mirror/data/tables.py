"""Tables as people have them (csv, tsv, either gzipped, parquet), read strictly: nothing is guessed, padded or cut."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mirror.config import nearest
from mirror.errors import DataError, raise_together

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "[Not Available]", "[Not Applicable]")
"""What an empty cell may look like."""

_ENDINGS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t", ".txt": "\t", ".txt.gz": "\t"}
# One row of a whole transcriptome is megabytes of text, and pyarrow wants a row inside a block.
_BLOCK_BYTES = 64 << 20


class Matrix(NamedTuple):
    """Numbers with a name for each row and column; a missing name is "", a missing number NaN."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]


def row_name(position: int) -> str:
    """How messages call the row at `position` (from 0): counted from 1, without the header."""
    return f"row {position + 1}"


def read_text_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """The named columns as stripped strings, None where the cell is missing.

    Raises `DataError` for a missing, unreadable or truncated file, a column that is absent or stands there twice.
    """
    wanted = list(dict.fromkeys(columns))
    if path.suffix == ".parquet":
        frame = _read_parquet(path)
        _require_columns(path, [str(name) for name in frame.columns], wanted)
        return frame[wanted].map(lambda cell: None if pd.isna(cell) else _text(str(cell))).astype(object)
    header = _read_header(path)
    _require_columns(path, header.names, wanted)
    table = _read_delimited(path, header, [pa.string()] * len(header.names))
    texts = {name: table.column(header.names.index(name)).to_pylist() for name in wanted}
    return pd.DataFrame(
        {name: [None if cell is None else _text(cell) for cell in cells] for name, cells in texts.items()}, dtype=object
    )


def read_matrix(path: Path, names: str | None) -> Matrix:
    """A table of numbers whose column `names` (the first when None) names the rows.

    Raises `DataError` for whatever `read_text_table` refuses, and for a cell that is not a number (row and column).
    """
    if path.suffix == ".parquet":
        return _parquet_matrix(path, names)
    header = _read_header(path)
    at = 0 if names is None else _position(path, header.names, names)
    number, text = pa.float32(), pa.string()
    kinds = [text if position == at else number for position in range(len(header.names))]
    try:
        table = _read_delimited(path, header, kinds)
    except DataError:
        _name_the_culprit(path, header, at)
        raise
    values = np.empty((table.num_rows, table.num_columns - 1), dtype=np.float32)
    others = [position for position in range(table.num_columns) if position != at]
    for column, position in enumerate(others):
        values[:, column] = table.column(position).to_numpy()
    rows = tuple(_text(cell or "") or "" for cell in table.column(at).to_pylist())
    return Matrix(rows, tuple(header.names[position] for position in others), values)


class _Header(NamedTuple):
    names: list[str]
    lines: int
    delimiter: str


def _text(cell: str) -> str | None:
    stripped = cell.strip()
    return None if stripped in MISSING else stripped


def _position(path: Path, present: Sequence[str], wanted: str) -> int:
    _require_columns(path, present, [wanted])
    return list(present).index(wanted)


def _require_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    shown = ", ".join(present[:20]) + (f" ... ({len(present)} in all)" if len(present) > 20 else "")
    absent = [
        f"there is no column '{name}'{nearest(name, tuple(present[:200]))}" for name in wanted if name not in present
    ]
    twice = [f"column '{name}' stands there {present.count(name)} times" for name in wanted if present.count(name) > 1]
    raise_together(DataError, f"{path} has the columns {shown}; name the right ones in the configuration:", absent)
    raise_together(DataError, f"{path}: leave one column of each name:", twice)


def _read_header(path: Path) -> _Header:
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise DataError(f"{path} is none of {', '.join(_ENDINGS)}, .parquet; convert it to one of these")
    opener = gzip.open if ending.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_ENDINGS[ending])
            names = [name.strip() for name in next(reader, [])]
            lines = reader.line_num
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; correct its path in the configuration") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated: fetch or export it again") from error
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} columns; is it empty, or delimited by something else?")
    return _Header(names, lines, _ENDINGS[ending])


def _read_delimited(path: Path, header: _Header, kinds: Sequence[Any]) -> Any:
    # Generated names, because a header may hold the same name twice.
    generated = [str(position) for position in range(len(header.names))]
    try:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(
                column_names=generated, skip_rows=header.lines, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(delimiter=header.delimiter),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict(zip(generated, kinds, strict=True)), null_values=MISSING, strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); a row may have more or fewer cells than the header, "
            "or the file is truncated: fetch or export it again"
        ) from error


def _name_the_culprit(path: Path, header: _Header, names_at: int) -> None:
    """Raise an error that names row and column of each cell that is not a number; return when there is none."""
    table = _read_delimited(path, header, [pa.string()] * len(header.names))
    problems: list[str] = []
    for position, name in enumerate(header.names):
        if position == names_at:
            continue
        cells = pd.Series(table.column(position).to_pylist(), dtype=object)
        wrong = cells.notna() & pd.to_numeric(cells, errors="coerce").isna()
        problems += [f"{row_name(int(row))}, column '{name}': '{cells[row]}'" for row in np.flatnonzero(wrong)[:1]]
    raise_together(DataError, f"{path} has cells that are not numbers; correct or empty them:", problems)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; correct its path in the configuration") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}); fetch or export it again") from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _parquet_matrix(path: Path, names: str | None) -> Matrix:
    frame = _read_parquet(path)
    columns = [str(name) for name in frame.columns]
    at = 0 if names is None else _position(path, columns, names)
    numbers = frame.drop(columns=frame.columns[at])
    texts = [str(name) for name in numbers.columns if not pd.api.types.is_numeric_dtype(numbers[name].dtype)]
    raise_together(DataError, f"{path} has columns that are not numbers; leave them out:", texts)
    rows = tuple("" if pd.isna(cell) else _text(str(cell)) or "" for cell in frame.iloc[:, at])
    return Matrix(rows, tuple(map(str, numbers.columns)), numbers.to_numpy(dtype=np.float32, na_value=np.nan))
