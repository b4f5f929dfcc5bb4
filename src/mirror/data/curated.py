"""Lists of curated genes, from any table with a column of symbols, found in an expression table by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mirror.config import CuratedGenesConfig
from mirror.data.identifiers import read_gene_map, symbol_of, without_version
from mirror.data.tables import read_text_table
from mirror.errors import DataError


class CuratedGenes(NamedTuple):
    """`genes` of the table that the list names, in order of name, and `missing` symbols that match none."""

    genes: tuple[str, ...]
    missing: tuple[str, ...]


def read_symbols(config: CuratedGenesConfig) -> tuple[str, ...]:
    """The symbols of the list, each once, in order of name.

    Raises `DataError` when the file or a column is absent, when `cancer_types` names one that the file does not have,
    or when no symbol is left.
    """
    columns = [config.symbol, *([config.cancer_type] if config.cancer_type else [])]
    table = read_text_table(config.path, columns)
    if config.cancer_type is not None and config.cancer_types is not None:
        present = set(table[config.cancer_type].dropna())
        unknown = sorted(set(config.cancer_types) - present)
        if unknown:
            raise DataError(
                f"{config.path} has no gene of {', '.join(unknown)} in column '{config.cancer_type}'; it has "
                f"{', '.join(sorted(present)[:30])}{' ...' if len(present) > 30 else ''}"
            )
        table = table[table[config.cancer_type].isin(config.cancer_types)]
    symbols = tuple(sorted(set(table[config.symbol].dropna().astype(str))))
    if not symbols:
        raise DataError(f"{config.path} has no symbol in column '{config.symbol}'; name the right column")
    return symbols


def find_curated(config: CuratedGenesConfig, genes: Iterable[str]) -> CuratedGenes:
    """The curated ones among `genes`: by the symbol they are, or that the gene map says they belong to.

    Identifiers `SYMBOL|1234` count by their symbol; Ensembl identifiers meet the map with or without version. Raises
    `DataError` when none is found, for then the list and the table name genes in different ways.
    """
    wanted = read_symbols(config)
    symbols = {} if config.gene_map is None else read_gene_map(config.gene_map)
    places: dict[str, list[str]] = defaultdict(list)
    shown: list[str] = []
    for gene in genes:
        symbol = symbols.get(without_version(gene)) or symbol_of(gene)
        shown += [gene] if len(shown) < 3 else []
        if symbol is not None:
            places[symbol].append(gene)
    found = sorted(gene for symbol in wanted for gene in places.get(symbol, ()))
    if not found:
        raise DataError(
            f"none of the {len(wanted)} genes of {config.path} is in the expression table: the list has "
            f"{', '.join(wanted[:3])}, the table {', '.join(shown)}; name the column of the same kind, "
            "or give `gene_map`, a table from identifiers to symbols"
        )
    return CuratedGenes(tuple(found), tuple(symbol for symbol in wanted if symbol not in places))
