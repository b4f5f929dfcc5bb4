"""How often `refuse_mixed` errs: random draws of samples and genes out of real tables, as they are and mixed.

    python experiments/mixed_units.py ../shared

Of every table, `DRAWS` draws of each number of genes and samples. `alarms`: draws in one unit that were refused as read
in log2(x + 1), or as amounts. The other columns: draws that were caught, of those in which one sample, or half of them,
came in other units: in ln or log10 where log2 was said, as logarithms where amounts were said.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
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


def main(shared: Path) -> None:
    tables = {name: amounts(shared, name) for name in ("rtcga", "coadread", "blca", "stad")}
    names = ["alarms", *(f"{kind}, {many}" for kind in MIXTURES for many in ("one", "half"))]
    print("genes", "samples", *names, sep="\t")
    for genes in (20, 50, 100, 200, 1000):
        for samples in (4, 6, 10, 30, 100, 250):
            found = Counter[str]()
            for name, table in tables.items():
                rng = rng_for(0, "mixed", name, genes, samples)
                for _ in range(DRAWS):
                    rows = rng.choice(len(table), samples, replace=False)
                    columns = rng.choice(table.shape[1], genes, replace=False)
                    found.update(judged(table[rows][:, columns]))
            print(genes, samples, *(f"{found[name]}/{DRAWS * len(tables)}" for name in names), sep="\t")


def amounts(shared: Path, name: str) -> Values:
    """A real table, on the linear scale."""
    where = {"rtcga": "expression/rtcga_rsem_log2.tsv.gz", "stad": "cohorts/unlabelled/stad/expression.csv.gz"}
    units = LOGGED if name == "rtcga" else "log2(TPM + 0.001)"
    config = ExpressionConfig(
        path=shared / where.get(name, f"cohorts/{name}/expression.csv.gz"),
        orientation="genes_in_rows" if name == "rtcga" else "patients_in_rows",
        identifiers="tcga" if name == "rtcga" else "patient",
        units=units,
    )
    return to_linear(read_expression(config).table.values, parse_units(units))


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
    main(Path(sys.argv[1]))
