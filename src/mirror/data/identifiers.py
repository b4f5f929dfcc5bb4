"""Identifiers of genes and transcripts: Ensembl with and without version, symbols, and rows that name no gene."""

from __future__ import annotations

import re

from mirror.config import GeneMapConfig
from mirror.data.tables import read_text_table
from mirror.data.text_files import row_name
from mirror.errors import DataError, raise_together

# The pseudo-autosomal copies on Y are genes of their own: `ENSG00000182378.15_PAR_Y` keeps its ending, and
# `ENSGR0000182378.10`, as GENCODE wrote it up to release 24, its R.
_ENSEMBL = re.compile(r"^(ENS[A-Z]*[GT](?:\d{11}|R\d{10}))(?:\.\d+)?(_PAR_Y)?$")
# What HTSeq, STAR and featureCounts write beside the genes: reads that belong to none.
_TALLY = re.compile(r"^(__\w+|N_(?:unmapped|multimapping|noFeature|ambiguous)|Unassigned_\w+)$")
_NAMELESS = re.compile(r"^\?(\|\d+)?$")


def without_version(identifier: str) -> str:
    """An Ensembl identifier without its version (`ENSG00000141510.18` is `ENSG00000141510`); any other as it is."""
    match = _ENSEMBL.match(identifier)
    return identifier if match is None else match[1] + (match[2] or "")


def is_nameless(identifier: str) -> bool:
    """True for what the TCGA pipeline calls a gene that had no symbol: `?`, `?|100130426`."""
    return _NAMELESS.match(identifier) is not None


def is_tally(identifier: str) -> bool:
    """True for a row that counts reads of no gene: `__no_feature` (HTSeq), `N_unmapped` (STAR), `Unassigned_...`."""
    return _TALLY.match(identifier) is not None


def is_anonymous(identifier: str) -> bool:
    """True for a name that tells its row apart from no other: empty, or a bare `?` without a number."""
    return identifier.strip() in ("", "?")


def symbol_of(identifier: str) -> str | None:
    """The symbol in `SYMBOL` or `SYMBOL|1234` (symbol and Entrez number); None where there is none."""
    return None if is_nameless(identifier) else identifier.split("|", 1)[0] or None


def read_gene_map(config: GeneMapConfig) -> dict[str, str]:
    """Identifier, without version, to symbol; rows that lack either are passed over.

    Raises `DataError` when a column is absent, nothing is left, or one identifier is given two symbols (rows named).
    """
    table = read_text_table(config.path, [config.identifier, config.symbol])
    symbols: dict[str, str] = {}
    problems: list[str] = []
    pairs = zip(table[config.identifier], table[config.symbol], strict=True)
    for row, (identifier, symbol) in enumerate(pairs):
        if identifier is None or symbol is None:
            continue
        known = symbols.setdefault(without_version(identifier), symbol)
        if known != symbol:
            problems.append(f"{row_name(row)}: '{identifier}' is {symbol}, an earlier row says {known}; keep one")
    raise_together(DataError, f"{config.path} contradicts itself:", problems)
    if not symbols:
        raise DataError(f"{config.path} maps nothing: no row has both '{config.identifier}' and '{config.symbol}'")
    return symbols
