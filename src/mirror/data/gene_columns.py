"""The columns of a table become genes: names are cleaned, mapped and counted once, and whatever leaves is listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.config import ExpressionConfig
from mirror.data.conversion import from_linear, to_linear
from mirror.data.identifiers import is_anonymous, is_nameless, is_tally, read_gene_map, without_version
from mirror.data.ledger import Excluded
from mirror.data.matrix import Matrix
from mirror.errors import ConfigError, DataError
from mirror.units import parse_units


class Columns(NamedTuple):
    """A matrix with one column a gene, and the columns of the file that are not in it."""

    matrix: Matrix
    excluded: tuple[Excluded, ...]


def without_tallies(matrix: Matrix, *, source: str) -> Columns:
    """The matrix without the columns that count reads of no gene, which would else be part of every sum."""
    tallies = [is_tally(name.strip()) for name in matrix.columns]
    if not any(tallies):
        return Columns(matrix, ())
    kept = [column for column, tally in enumerate(tallies) if not tally]
    excluded = [
        Excluded("gene", name.strip(), "counts reads of no gene", source)
        for name, tally in zip(matrix.columns, tallies, strict=True)
        if tally
    ]
    names = tuple(matrix.columns[column] for column in kept)
    return Columns(Matrix(matrix.rows, names, matrix.values[:, kept]), tuple(excluded))


def one_column_a_gene(matrix: Matrix, config: ExpressionConfig) -> Columns:
    """Rename, drop and join columns as the configuration says; genes keep the order in which they first stand.

    Raises `DataError` when the gene map knows none of the identifiers, `ConfigError` when columns are to be summed
    whose units are no amounts.
    """
    source = str(config.path)
    symbols = None if config.gene_map is None else read_gene_map(config.gene_map)
    excluded: list[Excluded] = []
    places: dict[str, list[int]] = defaultdict(list)
    for column, given in enumerate(matrix.columns):
        name, reason = _named(given.strip(), config, symbols)
        if reason:
            item = f"(column {column + 1})" if is_anonymous(given) else given.strip()
            excluded.append(Excluded("gene", item, reason, source))
        else:
            places[name].append(column)
    if not places and (config.gene_map is None or not matrix.columns):
        shown = f"its identifiers are {', '.join(matrix.columns[:3])}" if matrix.columns else "it has only a header"
        raise DataError(f"{source} has no gene: {shown}; check `orientation` and `id`, the column that names them")
    if not places:
        assert config.gene_map is not None
        raise DataError(
            f"{source} has no gene that {config.gene_map.path} knows: its identifiers are "
            f"{', '.join(matrix.columns[:3])}; name the column of the map with the same kind of identifier"
        )
    repeated = {gene: columns for gene, columns in places.items() if len(columns) > 1}
    at = {gene: place for place, gene in enumerate(places)}
    values = matrix.values
    if excluded or repeated:
        values = values[:, [columns[0] for columns in places.values()]]
    for gene, columns in repeated.items():
        copies = matrix.values[:, columns]
        joined, reason = _join(copies, config)
        values[:, at[gene]] = joined
        excluded += [Excluded("gene", f"{gene} (column {column + 1})", reason, source) for column in columns[1:]]
    return Columns(Matrix(matrix.rows, tuple(places), values), tuple(excluded))


def _named(given: str, config: ExpressionConfig, symbols: Mapping[str, str] | None) -> tuple[str, str]:
    """What the column is called afterwards, or why it leaves."""
    if is_anonymous(given):
        return "", "no name"
    if config.nameless_genes == "exclude" and is_nameless(given):
        return "", "no symbol (`?|id`)"
    if symbols is not None:
        symbol = symbols.get(without_version(given))
        return (symbol, "") if symbol else ("", "not in the gene map")
    return (without_version(given) if config.gene_ids == "without_version" else given), ""


def _join(copies: NDArray[np.float32], config: ExpressionConfig) -> tuple[NDArray[np.float32], str]:
    """Columns (N, copies) of one gene as one (N,), and what is said of the others."""
    if config.duplicates == "sum":
        units = parse_units(config.units)
        if not units.measured:
            raise ConfigError(
                f"`duplicates: sum` needs amounts or their logarithms, not '{config.units}'; take the mean, or write "
                "what the values are, such as log2(TPM + 0.001)"
            )
        linear = np.sort(to_linear(copies, units), axis=1)
        total = np.nansum(linear, axis=1, dtype=np.float64).astype(np.float32)
        total = np.where(np.isnan(linear).all(axis=1), np.float32(np.nan), total)
        return from_linear(total, units), "one of several columns of this gene: their sum on the linear scale"
    if np.array_equal(copies, np.repeat(copies[:, :1], copies.shape[1], axis=1), equal_nan=True):
        return copies[:, 0], "a copy of another column of this gene"
    return _mean_of_present(copies).astype(np.float32), "one of several columns of this gene: their mean"


def _mean_of_present(copies: NDArray[np.float32]) -> NDArray[np.float64]:
    # Sorted (NaN last), so that the sum does not depend on the order of the columns.
    ordered = np.sort(copies.astype(np.float64), axis=1)
    present = (~np.isnan(ordered)).sum(axis=1)
    return np.where(present > 0, np.nansum(ordered, axis=1) / np.maximum(present, 1), np.nan)
