"""Tables as people have them (csv, tsv, either gzipped, parquet), read strictly: nothing is guessed, padded or cut."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mirror.data.parquet import parquet_columns, read_parquet
from mirror.errors import DataError, nearest, raise_together

MISSING = (
    *("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"),
    *("[Not Available]", "[Not Applicable]", "[Not Evaluated]", "[Unknown]", "[Discrepancy]"),  # TCGA's biotabs
    *("'--", "--", "Not Reported", "not reported"),  # the tables of the GDC's portal
)
"""What an empty cell may look like."""

_ENDINGS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t", ".txt": "\t", ".txt.gz": "\t"}
# One row of a whole transcriptome is megabytes of text, and pyarrow wants a row inside a block; more than a few rows of
# a wide table would only cost memory.
_BLOCK_BYTES = 16 << 20


class Matrix(NamedTuple):
    """Numbers with a name for each row and column; a missing name is "", a missing number NaN."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]


def row_name(position: int) -> str:
    """How messages call the row at `position` (from 0): counted from 1, without the header."""
    return f"row {position + 1}"


def read_text_table(path: Path, columns: Iterable[str], *, optional: Iterable[str] = ()) -> pd.DataFrame:
    """The named columns as stripped strings, None where the cell is missing.

    A column of `optional` that the table has not got is missing in every row. Raises `DataError` for a missing,
    unreadable or truncated file, a column that is absent or stands there twice.
    """
    required = list(dict.fromkeys(columns))
    if path.suffix == ".parquet":
        present = parquet_columns(path)
        wanted = required + [name for name in optional if name in present]
        _require_columns(path, present, wanted)
        table = read_parquet(path, wanted)
        texts = pd.DataFrame({name: list(map(cell_text, table[name].to_pylist())) for name in wanted}, dtype=object)
    else:
        header = _read_header(path, least=1)  # a list of names is a table of one column
        wanted = required + [name for name in optional if name in header.names]
        _require_columns(path, header.names, wanted)
        places = {name: header.names.index(name) for name in wanted}
        cells: dict[str, list[str | None]] = {name: [] for name in wanted}
        for batch in _batches(path, header, dict.fromkeys(places.values(), pa.string())):
            for name, place in places.items():
                cells[name] += batch.column(str(place)).to_pylist()
        texts = pd.DataFrame(
            {name: [None if cell is None else _text(cell) for cell in column] for name, column in cells.items()},
            dtype=object,
        )
    return texts.assign(**{name: None for name in optional if name not in wanted})


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
    header = _Header(parquet_columns(path), 0, "") if is_parquet else _read_header(path)
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
        for batch in _batches(path, header, kinds):
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


class Glance(NamedTuple):
    """The first rows of a table as text; `whole` says that there are no others."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    whole: bool


def glance(path: Path, *, rows: int = 50) -> Glance:
    """The names of all columns and the first `rows` rows. Raises `DataError` for what is no readable table."""
    if path.suffix == ".parquet":
        names = parquet_columns(path)
        table = read_parquet(path, names)
        cells = zip(*(map(cell_text, table[name].slice(0, rows).to_pylist()) for name in names), strict=True)
        return Glance(tuple(names), tuple(cells), table.num_rows <= rows)
    header = _read_header(path, least=1)
    ending = _ending(path)
    assert ending is not None  # the header has been read by it
    opener = gzip.open if ending.endswith(".gz") else open
    found: list[tuple[str | None, ...]] = []
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            for _ in range(header.comments):
                file.readline()
            reader = csv.reader(file, delimiter=header.delimiter)
            next(reader)
            for row in reader:
                if len(found) == rows:
                    return Glance(tuple(header.names), tuple(found), whole=False)
                if len(row) != len(header.names):
                    where = row_name(len(found))
                    raise DataError(f"{path}, {where} has {len(row)} cells under {len(header.names)} names")
                found.append(tuple(map(_text, row)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated: fetch or export it again") from error
    return Glance(tuple(header.names), tuple(found), whole=True)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its ending."""
    return path.suffix == ".parquet" or any(path.name.lower().endswith(ending) for ending in _ENDINGS)


def present_columns(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are columns of the table, in that order. Raises `DataError` when none is."""
    header = parquet_columns(path) if path.suffix == ".parquet" else _read_header(path).names
    found = tuple(name for name in names if name in header)
    if not found:
        raise DataError(f"{path} has none of the columns {', '.join(names)}; its first is '{header[0]}'")
    return found


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


class _Header(NamedTuple):
    """`lines` stand before the first row, `comments` of them before the names."""

    names: list[str]
    lines: int
    delimiter: str
    comments: int = 0


def _text(cell: str) -> str | None:
    stripped = cell.strip()
    return None if stripped in MISSING else stripped


def cell_text(cell: Any) -> str | None:
    """A cell of a typed table as text, None where it is missing.

    A whole number is written as one: a gap beside it made it a float.
    """
    if pd.isna(cell):
        return None
    return _text(str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell))


def _row_names(columns: Sequence[Sequence[str | None]]) -> list[str]:
    return [
        next((text for cell in cells if cell and (text := _text(cell))), "") for cells in zip(*columns, strict=True)
    ]


def _kept(names: Sequence[str], wanted: Callable[[str], bool] | None) -> NDArray[np.intp]:
    """Places of the rows that are wanted."""
    return np.flatnonzero([wanted is None or wanted(name) for name in names])


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


def _read_header(path: Path, *, least: int = 2) -> _Header:
    ending = _ending(path)
    if ending is None:
        raise DataError(
            f"{path} is none of {', '.join(_ENDINGS)}, .parquet, nor without ending (tabs); name it by what it is"
        )
    opener = gzip.open if ending.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            marked, first = list[str](), file.readline()
            while first.startswith("#"):
                marked, first = [*marked, first], file.readline()
            if sum(_ENDINGS[ending] in line for line in marked) == 1 and _ENDINGS[ending] in marked[-1]:
                first, rest = marked.pop(), [first]  # the names themselves, the first of which begins with the sign
            else:
                rest = []
            comments = len(marked)
            reader = csv.reader(filter(None, chain([first], rest, file)), delimiter=_ENDINGS[ending])
            names = [name.strip() for name in next(reader, [])]
            lines = comments + reader.line_num
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; correct its path in the configuration") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated: fetch or export it again") from error
    if len(names) < least:
        raise DataError(f"{path} has {len(names)} columns; is it empty, or delimited by something else?")
    return _Header(names, lines, _ENDINGS[ending], comments)


def _ending(path: Path) -> str | None:
    """The ending that says how a text table is delimited; Xena's own files, `HiSeqV2` or `HiSeqV2.gz`, have tabs."""
    name = path.name.lower()
    if "." not in name.removesuffix(".gz"):
        return ".tsv.gz" if name.endswith(".gz") else ".tsv"
    return next((ending for ending in _ENDINGS if name.endswith(ending)), None)


def _batches(path: Path, header: _Header, kinds: Mapping[int, Any]) -> Generator[Any]:
    """The columns at the positions `kinds`, block by block; their names are the positions.

    Generated names, because a header may hold the same name twice.
    """
    generated = [str(position) for position in range(len(header.names))]
    try:
        yield from pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(
                column_names=generated, skip_rows=header.lines, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(delimiter=header.delimiter),
            convert_options=pa_csv.ConvertOptions(
                column_types={str(position): kind for position, kind in kinds.items()},
                include_columns=[str(position) for position in kinds],
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); a row may have more or fewer cells than the header (R writes it without "
            "a name for the first column: give it one), or the file is truncated: fetch or export it again"
        ) from error


def _name_the_culprit(path: Path, header: _Header, positions: Sequence[int]) -> None:
    """Raise an error that names row and column of each cell that is not a number; return when there is none."""
    problems: dict[int, str] = {}
    done = 0
    for batch in _batches(path, header, dict.fromkeys(positions, pa.string())):
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
