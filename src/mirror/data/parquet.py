"""Parquet files: which columns they have, and those that are wanted of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.errors import DataError, raise_together


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; correct its path in the configuration") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}); fetch or export it again") from error


def _places(file: pq.ParquetFile) -> dict[str, str]:
    """What the file calls each column, by the name it has here."""
    names = [str(name) for name in file.schema_arrow.names]
    noted = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in names if name in noted]
    renamed = ["index" if name.startswith("__index_level_") else name for name in index]
    others = [name for name in names if name not in index]
    return dict(zip([*renamed, *others], [*index, *others], strict=True))


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns; a pandas index that is not 0, 1, 2, ... comes first, as `index` where nameless.

    Raises `DataError` for a missing or damaged file, none, and several of one name.
    """
    with _opened(path) as file:
        columns = list(_places(file))
        twice = sorted(name for name, count in Counter(map(str, file.schema_arrow.names)).items() if count > 1)
    if not columns:
        raise DataError(f"{path} has no columns; export it again")
    raise_together(DataError, f"{path} has columns of one name; leave one of each:", twice)
    return columns


def read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    """Those columns, named as `parquet_columns` names them; the others are not read."""
    with _opened(path) as file:
        places = _places(file)
        try:
            table = file.read([places[name] for name in columns], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); fetch or export it again") from error
    return table.select([places[name] for name in columns]).rename_columns(list(columns))
