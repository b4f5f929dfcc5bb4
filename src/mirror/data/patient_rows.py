"""The rows of a table become patients: copies count once, one sample stands for a patient, what leaves is listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.config import ExpressionConfig
from mirror.data.ledger import Excluded
from mirror.data.matrix import Matrix
from mirror.data.text_files import row_name
from mirror.errors import DataError, raise_together
from mirror.ids import TcgaBarcode

NO_BARCODE = "not a TCGA barcode"
NO_PATIENT = "not a patient of the cohort"
"""Why a sample is left out: whose it is cannot be told, or it is nobody's."""


class Rows(NamedTuple):
    """The row that is kept of each name, in the order of the file, and the rows that are not."""

    keep: dict[str, int]
    excluded: list[Excluded]


def one_row_a_patient(matrix: Matrix, config: ExpressionConfig, *, strict: bool) -> Rows:
    """The row to keep of each patient, in the order of the file, and the others.

    `strict` refuses names that are no barcodes though they should be; they are left out otherwise.
    """
    source = str(config.path)
    keep, excluded = _one_row_a_name(matrix, config)
    for name in [name for name, row in keep.items() if np.isnan(matrix.values[row]).all()]:
        excluded.append(Excluded("expression", name, "no value for any gene", source))
        del keep[name]
    if config.identifiers == "patient":
        return Rows(keep, excluded)
    barcodes, problems = _parse(keep)
    if strict:
        raise_together(DataError, f"{source}:", problems.values())
    excluded += [Excluded("expression", name, NO_BARCODE, source) for name in problems]
    samples: dict[str, list[str]] = defaultdict(list)
    for name, barcode in barcodes.items():
        if barcode.is_tumour:
            samples[barcode.patient].append(name)
        else:
            excluded.append(Excluded("expression", name, f"not a tumour (sample type {barcode.sample_type})", source))
    chosen: dict[str, int] = {}
    for patient, names in samples.items():
        first, *others = sorted(names, key=lambda name: (barcodes[name].sample_type != "01", name))
        chosen[patient] = keep[first]
        excluded += [Excluded("expression", name, f"'{first}' stands for patient {patient}", source) for name in others]
    return Rows(chosen, excluded)


def _one_row_a_name(matrix: Matrix, config: ExpressionConfig) -> Rows:
    places: dict[str, list[int]] = defaultdict(list)
    excluded: list[Excluded] = []
    for row, name in enumerate(matrix.rows):
        if any(np.array_equal(matrix.values[row], matrix.values[other], equal_nan=True) for other in places[name]):
            excluded.append(Excluded("expression", name, "an identical copy of another row", str(config.path)))
        else:
            places[name].append(row)
    problems = [f"{row_name(row)} has no name; give it one or remove it" for row in places.pop("", [])]
    for name, rows in places.items():
        if len(rows) > 1 and config.identifiers == "patient":
            where = " and ".join(map(row_name, rows))
            problems.append(f"'{name}' stands there with different values ({where}); keep the right one")
        elif len(rows) > 1:  # several samples of one barcode, such as aliquots of a vial
            rows.insert(0, rows.pop(rows.index(_foremost(rows, matrix))))
            reason = (
                "another sample of this barcode has fewer gaps, or as few and a larger sum, or as large a one and the "
                "larger value of the first gene, in alphabetical order, in which they differ"
            )
            excluded += [Excluded("expression", name, reason, str(config.path)) for _ in rows[1:]]
    raise_together(DataError, f"{config.path} (patients counted as rows):", problems)
    return Rows({name: rows[0] for name, rows in places.items()}, excluded)


def _foremost(rows: list[int], matrix: Matrix) -> int:
    """The one of several samples that stands for their barcode: the same in any order of rows and genes."""
    ranked = {row: _fullness(matrix.values[row]) for row in rows}
    fullest = min(ranked.values())
    first, *others = [row for row in rows if ranked[row] == fullest]
    if not others:
        return first
    # Samples that were normalised to one distribution have one sum, so that their values must decide.
    by_gene = np.argsort(np.array(matrix.columns, dtype=object), kind="stable")
    values = np.nan_to_num(matrix.values[[first, *others]][:, by_gene], nan=-np.inf)
    return [first, *others][int(np.lexsort(-values.T[::-1])[0])]


def _fullness(values: NDArray[np.float32]) -> tuple[int, float]:
    # Sorted, so that the sum does not depend on the order of the genes.
    return int(np.isnan(values).sum()), -float(np.nansum(np.sort(values), dtype=np.float64))


def _parse(names: Iterable[str]) -> tuple[dict[str, TcgaBarcode], dict[str, str]]:
    """The barcodes by name, and what is wrong with each name that is none."""
    barcodes: dict[str, TcgaBarcode] = {}
    problems: dict[str, str] = {}
    for name in names:
        try:
            barcodes[name] = TcgaBarcode.parse(name)
        except DataError as error:
            problems[name] = str(error)
    return barcodes, problems
