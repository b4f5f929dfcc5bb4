"""Gene sets as the `.gmt` files of the field have them.

A line a set: name, description and genes, separated by tabs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mirror.errors import DataError, raise_together

LEAST, MOST = 5, 1000
"""Genes of a set that a panel must have at least, and may have at most, for the set to be tested."""


class GeneSet(NamedTuple):
    """A named set; `genes` in the order of the file, each once."""

    name: str
    description: str
    genes: tuple[str, ...]


class SetInPanel(NamedTuple):
    """A set as a panel sees it: `columns` of its genes in the panel, and its genes that the panel lacks."""

    name: str
    columns: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def tested(self) -> bool:
        """Whether as many of its genes are in the panel as a test needs."""
        return LEAST <= len(self.columns) <= MOST


def read_gene_sets(path: Path) -> tuple[GeneSet, ...]:
    """Read a `.gmt` file. Raises `DataError` that names every line which is none, and what to do about it.

    Empty lines and tabs at the end of a line, which some exporters write, are no mistakes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); correct --gene-sets") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason}); save it as plain text") from error
    sets: list[GeneSet] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.rstrip("\t \r").split("\t"))
        genes = tuple(rest[1:])
        wrong = list(_problems(name, genes, fields=1 + len(rest)))
        if name in seen:
            wrong.append(f"the set '{name}' stands in line {seen[name]} already; rename or remove one of them")
        seen.setdefault(name, number)
        problems += [f"line {number}: {one}" for one in wrong]
        if not wrong:
            sets.append(GeneSet(name, rest[0], genes))
    raise_together(DataError, f"{path} is not a file of gene sets (gmt):", problems)
    if not sets:
        raise DataError(f"{path} holds no gene set; a line is a name, a description and genes, separated by tabs")
    return tuple(sets)


def in_panel(sets: Iterable[GeneSet], genes: Sequence[str]) -> tuple[SetInPanel, ...]:
    """Each of `sets` in a panel of `genes`. Raises `DataError` when they have no gene in common at all."""
    place = {gene: column for column, gene in enumerate(genes)}
    found = tuple(
        SetInPanel(
            one.name,
            tuple(place[gene] for gene in one.genes if gene in place),
            tuple(gene for gene in one.genes if gene not in place),
        )
        for one in sets
    )
    if not any(one.columns for one in found):
        theirs = next((gene for one in found for gene in one.missing), "nothing")
        raise DataError(
            f"no gene of the sets is in the panel: they name genes like {theirs}, the panel like {genes[0]}; take sets "
            "with the panel's identifiers, or give `cohort.expression.gene_map`"
        )
    return found


def _problems(name: str, genes: Sequence[str], *, fields: int) -> Iterator[str]:
    if fields < 3:
        yield (
            f"{fields} field{'s' if fields > 1 else ''}, but a set is a name, a description (it may be empty) and at "
            "least one gene, separated by tabs, not spaces"
        )
    if not name:
        yield "the set has no name; write one before the first tab"
    if "" in genes:
        yield f"gene {genes.index('') + 1} of '{name}' is empty; remove the second of two tabs"
    weighted = next((gene for gene in genes if "," in gene), None)
    if weighted is not None:
        yield f"'{weighted}' carries a weight; leave the gene's name alone"
    twice = sorted({gene for gene in genes if gene and genes.count(gene) > 1})
    if twice:
        yield f"'{name}' has {', '.join(twice[:5])} more than once; keep one"
