"""How often `refuse_mixed` errs: random draws of samples and genes out of real tables, as they are and mixed.

    python experiments/mixed_units.py ../shared drawn
    python experiments/mixed_units.py ../shared chosen

Of every table, `DRAWS` draws of each number of genes and samples. `alarms`: draws in one unit that were refused as read
in log2(x + 1), or as amounts. The other columns: draws that were caught, of those in which one sample, or half of them,
came in other units: in ln or log10 where log2 was said, as logarithms where amounts were said.

`chosen`: genes that somebody chose, for all samples of each table and for a third of them: the first genes of a level
(by their median over samples), and families by the beginning of their symbols.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirror.config import ExpressionConfig
from mirror.data.conversion import to_linear
from mirror.data.expression import read_expression
from mirror.data.mixed_units import refuse_mixed
from mirror.errors import DataError
from mirror.seeding import rng_for
from mirror.units import parse_units

DRAWS = 100
LOGGED, AMOUNTS = "log2(RSEM + 1)", "RSEM"
TABLES = ("rtcga", "coadread", "blca", "stad")
LEVELS = ((0.05, 0.5), (0.2, 2), (0.5, 3), (1, 5), (2, 8), (5, 15), (10, 30), (30, 100))
FAMILIES = """
    ADH CYP UGT, COL, CXC CC, DNAH, FGF, FZD WNT, GPR ADR HTR, HLA CD, HOX, IFN CSF TNF, IL, KCN, KRT, MAGE SSX XAGE,
    OR, PCDH, RPL RPS, SCN CACN GRI, SLC, SOX FOX PAX GATA, ZNF
"""

Values = NDArray[np.float32]


def log2(values: Values) -> Values:
    return np.log2(values + 1)


def scaled(factor: float) -> Callable[[Values], Values]:
    return lambda values: values * np.float32(factor)


MIXTURES: dict[str, tuple[str, Callable[[Values], Values]]] = {
    "ln": (LOGGED, scaled(np.log(2))),
    "log10": (LOGGED, scaled(np.log10(2))),
    "logged": (AMOUNTS, log2),
}


NAMES = ("alarms", *(f"{kind}, {many}" for kind in MIXTURES for many in ("one", "half")))
Tables = dict[str, tuple[tuple[str, ...], Values]]


def drawn(tables: Tables) -> None:
    """Genes and samples by chance."""
    print("genes", "samples", *NAMES, sep="\t")
    for genes in (20, 50, 100, 200, 1000):
        for samples in (4, 6, 10, 30, 100, 250):
            found = Counter[str]()
            for name, (_, table) in tables.items():
                rng = rng_for(0, "mixed", name, genes, samples)
                for _ in range(DRAWS):
                    rows = rng.choice(len(table), samples, replace=False)
                    columns = rng.choice(table.shape[1], genes, replace=False)
                    found.update(judged(table[rows][:, columns]))
            print(genes, samples, *(f"{found[name]}/{DRAWS * len(tables)}" for name in NAMES), sep="\t", flush=True)


def chosen(tables: Tables) -> None:
    """Genes by level and by family."""
    print("genes", *NAMES, sep="\t")
    for kind, sets in (("by level", of_levels), ("by family", of_families)):
        found, count = Counter[str](), 0
        for name, (genes, table) in tables.items():
            rng = rng_for(0, "chosen", name, kind)
            for columns in sets(genes, table):
                for rows in (np.arange(len(table)), rng.choice(len(table), len(table) // 3, replace=False)):
                    found.update(judged(table[rows][:, columns]))
                    count += 1
        print(kind, *(f"{found[name]}/{count}" for name in NAMES), sep="\t", flush=True)


def of_levels(_: tuple[str, ...], table: Values) -> Iterator[NDArray[np.intp]]:
    """The first genes whose median over samples is of a level."""
    medians = np.median(table, axis=0)
    for low, high in LEVELS:
        genes = np.flatnonzero((medians > low) & (medians < high))
        yield from (genes[:count] for count in (20, 50, 100, 200, 400, 1000) if len(genes) >= count)


def of_families(genes: tuple[str, ...], _: Values) -> Iterator[NDArray[np.intp]]:
    """Families of 20 genes or more."""
    for family in FAMILIES.split(","):
        known = re.compile(rf"({'|'.join(family.split())})[A-Z]?\d")
        columns = np.flatnonzero([known.match(gene) is not None for gene in genes])
        if len(columns) >= 20:
            yield columns


def amounts(shared: Path, name: str) -> tuple[tuple[str, ...], Values]:
    """Genes and values of a real table, on the linear scale."""
    where = {"rtcga": "expression/rtcga_rsem_log2.tsv.gz", "stad": "cohorts/unlabelled/stad/expression.csv.gz"}
    units = LOGGED if name == "rtcga" else "log2(TPM + 0.001)"
    config = ExpressionConfig(
        path=shared / where.get(name, f"cohorts/{name}/expression.csv.gz"),
        orientation="genes_in_rows" if name == "rtcga" else "patients_in_rows",
        identifiers="tcga" if name == "rtcga" else "patient",
        units=units,
    )
    table = read_expression(config).table
    return tuple(table.genes), to_linear(table.values, parse_units(units))


def judged(values: Values) -> list[str]:
    """Which of the columns count this draw."""
    found = ["alarms"] if refused(log2(values), LOGGED) or refused(values, AMOUNTS) else []
    for kind, (units, change) in MIXTURES.items():
        for many, changed in {"one": 1, "half": len(values) // 2}.items():
            mixed = log2(values) if units == LOGGED else values.copy()
            mixed[:changed] = change(mixed[:changed])
            found += [f"{kind}, {many}"] if refused(mixed, units) else []
    return found


def refused(values: Values, units: str) -> bool:
    try:
        refuse_mixed(values, parse_units(units), units, rows=[""] * len(values), source="")
    except DataError:
        return True
    return False


if __name__ == "__main__":
    read = {name: amounts(Path(sys.argv[1]), name) for name in TABLES}
    {"drawn": drawn, "chosen": chosen}[sys.argv[2]](read)
