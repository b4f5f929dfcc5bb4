"""The text files that tables come in: their ending, header, cells, and rows block by block."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Generator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from mirror.errors import DataError, nearest, raise_together

MISSING = (
    *("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"),
    *("[Not Available]", "[Not Applicable]", "[Not Evaluated]", "[Unknown]", "[Discrepancy]"),  # TCGA's biotabs
    *("'--", "--", "Not Reported", "not reported"),  # the tables of the GDC's portal
)
"""What an empty cell may look like."""

COUNTED = "rows are counted from 1 below the header"
"""What the heading of messages that name rows says of their numbers, which a spreadsheet counts otherwise."""

ENDINGS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t", ".txt": "\t", ".txt.gz": "\t"}
# One row of a whole transcriptome is megabytes of text, and pyarrow wants a row inside a block; more than a few rows of
# a wide table would only cost memory.
_BLOCK_BYTES = 16 << 20


class Header(NamedTuple):
    """`lines` stand before the first row, `comments` of them before the names."""

    names: list[str]
    lines: int
    delimiter: str
    comments: int = 0


def row_name(position: int) -> str:
    """How messages call the row at `position` (from 0): counted from 1, without the header."""
    return f"row {position + 1}"


def stripped(cell: str) -> str | None:
    """A cell without the spaces around it, None where that says that it is missing."""
    text = cell.strip()
    return None if text in MISSING else text


def cell_text(cell: Any) -> str | None:
    """A cell of a typed table as text, None where it is missing.

    A whole number is written as one: a gap beside it made it a float.
    """
    if pd.isna(cell):
        return None
    return stripped(str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell))


def read_header(path: Path, *, least: int = 2) -> Header:
    """The names of the columns of a text table. Raises `DataError` for what is none, or has fewer than `least`."""
    ending = ending_of(path)
    if ending is None:
        raise DataError(
            f"{path} is none of {', '.join(ENDINGS)}, .parquet, nor without ending (tabs); name it by what it is"
        )
    opener = gzip.open if ending.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            marked, first = list[str](), file.readline()
            while first.startswith("#"):
                marked, first = [*marked, first], file.readline()
            if sum(ENDINGS[ending] in line for line in marked) == 1 and ENDINGS[ending] in marked[-1]:
                first, rest = marked.pop(), [first]  # the names themselves, the first of which begins with the sign
            else:
                rest = []
            comments = len(marked)
            reader = csv.reader(filter(None, chain([first], rest, file)), delimiter=ENDINGS[ending])
            names = [name.strip() for name in next(reader, [])]
            lines = comments + reader.line_num
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; correct its path in the configuration") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated: fetch or export it again") from error
    if len(names) < least:
        raise DataError(f"{path} has {len(names)} columns; is it empty, or delimited by something else?")
    return Header(names, lines, ENDINGS[ending], comments)


def ending_of(path: Path) -> str | None:
    """The ending that says how a text table is delimited; Xena's own files, `HiSeqV2` or `HiSeqV2.gz`, have tabs."""
    name = path.name.lower()
    if "." not in name.removesuffix(".gz"):
        return ".tsv.gz" if name.endswith(".gz") else ".tsv"
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def batches(path: Path, header: Header, kinds: Mapping[int, Any]) -> Generator[Any]:
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


def require_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `DataError` when one of `wanted` is not among the columns `present`, or stands there twice."""
    shown = ", ".join(present[:20]) + (f" ... ({len(present)} in all)" if len(present) > 20 else "")
    absent = [
        f"there is no column '{name}'{nearest(name, tuple(present[:200]))}" for name in wanted if name not in present
    ]
    twice = [f"column '{name}' stands there {present.count(name)} times" for name in wanted if present.count(name) > 1]
    raise_together(DataError, f"{path} has the columns {shown}; name the right ones in the configuration:", absent)
    raise_together(DataError, f"{path}: leave one column of each name:", twice)
