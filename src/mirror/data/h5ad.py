"""AnnData files of plain arrays and texts, as the stages write them, read without anndata: it brings dask, zarr and
xarray along where they are installed, a second of start-up for a table of a few hundred rows.

What a file holds is said by `encoding-type` (anndata's documentation, "On-disk format").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pandas as pd
from numpy.typing import NDArray


class PlainTable(NamedTuple):
    """The parts of an AnnData that stages write, X where there is any."""

    X: NDArray[Any] | None
    obs: pd.DataFrame
    var: pd.DataFrame
    obsm: dict[str, NDArray[Any]]
    uns: dict[str, Any]

    @property
    def obs_names(self) -> pd.Index:
        return self.obs.index

    @property
    def var_names(self) -> pd.Index:
        return self.var.index


def read_plain(path: Path) -> PlainTable | None:
    """The file as anndata reads it, or None where that has to: of other kinds of columns, or to say what is wrong."""
    try:
        with h5py.File(path, "r") as file:
            parts: dict[str, Any] = {
                name: _element(file[name]) if name in file else None for name in PlainTable._fields
            }
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return None
    return PlainTable(**parts)


def _element(stored: Any) -> Any:
    """Raises `ValueError` for an encoding that is not plain."""
    match stored.attrs["encoding-type"]:
        case "array" | "numeric-scalar":
            return stored[()]
        case "string-array" | "string":
            return stored.asstr()[()]
        case "dict":
            return {name: _element(part) for name, part in stored.items()}
        case "dataframe":
            columns = {str(name): _element(stored[name]) for name in stored.attrs["column-order"]}
            return pd.DataFrame(columns, index=pd.Index(_element(stored[stored.attrs["_index"]])))
        case "null":
            return None
        case other:
            raise ValueError(f"{stored.name} is a '{other}'")
