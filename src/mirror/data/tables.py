"""Tables as people have them (csv, tsv, either gzipped, parquet), read strictly: nothing is guessed, padded or cut."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from mirror.data.parquet import parquet_columns, read_parquet
from mirror.data.text_files import (
    ENDINGS,
    batches,
    cell_text,
    ending_of,
    read_header,
    require_columns,
    row_name,
    stripped,
)
from mirror.errors import DataError


def read_text_table(path: Path, columns: Iterable[str], *, optional: Iterable[str] = ()) -> pd.DataFrame:
    """The named columns as stripped strings, None where the cell is missing.

    A column of `optional` that the table has not got is missing in every row. Raises `DataError` for a missing,
    unreadable or truncated file, a column that is absent or stands there twice.
    """
    required = list(dict.fromkeys(columns))
    if path.suffix == ".parquet":
        present = parquet_columns(path)
        wanted = required + [name for name in optional if name in present]
        require_columns(path, present, wanted)
        table = read_parquet(path, wanted)
        texts = pd.DataFrame({name: list(map(cell_text, table[name].to_pylist())) for name in wanted}, dtype=object)
    else:
        header = read_header(path, least=1)  # a list of names is a table of one column
        wanted = required + [name for name in optional if name in header.names]
        require_columns(path, header.names, wanted)
        places = {name: header.names.index(name) for name in wanted}
        cells: dict[str, list[str | None]] = {name: [] for name in wanted}
        for batch in batches(path, header, dict.fromkeys(places.values(), pa.string())):
            for name, place in places.items():
                cells[name] += batch.column(str(place)).to_pylist()
        texts = pd.DataFrame(
            {name: [None if cell is None else stripped(cell) for cell in column] for name, column in cells.items()},
            dtype=object,
        )
    return texts.assign(**{name: None for name in optional if name not in wanted})


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
    header = read_header(path, least=1)
    ending = ending_of(path)
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
                found.append(tuple(map(stripped, row)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated: fetch or export it again") from error
    return Glance(tuple(header.names), tuple(found), whole=True)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its ending."""
    return path.suffix == ".parquet" or any(path.name.lower().endswith(ending) for ending in ENDINGS)


def present_columns(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are columns of the table, in that order. Raises `DataError` when none is."""
    header = parquet_columns(path) if path.suffix == ".parquet" else read_header(path).names
    found = tuple(name for name in names if name in header)
    if not found:
        raise DataError(f"{path} has none of the columns {', '.join(names)}; its first is '{header[0]}'")
    return found
