"""Expression tables: one row a patient, one column a gene, the units kept with the numbers.

Legend: N patients, G genes.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import SCHEMA, fingerprint, hash_bytes
from mirror.config import ExpressionConfig
from mirror.data.gdc_star import read_star_counts
from mirror.data.gene_columns import one_column_a_gene
from mirror.data.hdf5 import hdf5_aside
from mirror.data.ledger import Excluded
from mirror.data.tables import Matrix, first_present, read_matrix, row_name
from mirror.data.units import check_units, convert
from mirror.errors import ArtefactError, DataError, first_line, raise_together
from mirror.ids import TcgaBarcode

_OURS = "mirror expression table"

CBIOPORTAL = ("Hugo_Symbol", "Entrez_Gene_Id")
"""Columns of a cBioPortal table that name the gene: either or both are there."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionTable:
    """Expression of patients: `values` float32 (N, G), NaN where missing, in `units`, read from the file `source`."""

    patients: tuple[str, ...]
    genes: tuple[str, ...]
    values: NDArray[np.float32]
    units: str
    source: str

    def rows(self, patients: Iterable[str]) -> NDArray[np.float32]:
        """Values (n, G) of `patients`, in that order. Raises `DataError` naming patients that are not here."""
        asked = list(patients)
        place = {patient: row for row, patient in enumerate(self.patients)}
        absent = [patient for patient in asked if patient not in place]
        if absent:
            raise DataError(
                f"{len(absent)} patients have no expression in {self.source} ({', '.join(absent[:5])}); leave them out"
            )
        return self.values[[place[patient] for patient in asked]]

    def of(self, patients: Sequence[str]) -> ExpressionTable:
        """The table of `patients` alone, in that order."""
        return ExpressionTable(tuple(patients), self.genes, self.rows(patients), self.units, self.source)

    def columns(self, genes: Iterable[str]) -> NDArray[np.intp]:
        """The column of each of `genes`, in that order. Raises `DataError` naming genes that are not here."""
        asked = list(genes)
        place = {gene: column for column, gene in enumerate(self.genes)}
        absent = [gene for gene in asked if gene not in place]
        if absent:
            raise DataError(f"{self.source} lacks {len(absent)} genes ({', '.join(absent[:5])}); leave them out")
        return np.array([place[gene] for gene in asked], dtype=np.intp)

    def with_genes(self, genes: Sequence[str]) -> ExpressionTable:
        """The table of `genes` alone, in that order."""
        return ExpressionTable(
            self.patients, tuple(genes), self.values[:, self.columns(genes)], self.units, self.source
        )

    def content_hash(self) -> str:
        """A hash of what the table says, whatever file it was read from."""
        return fingerprint(self.patients, self.genes, self.units, hash_bytes([self.values.tobytes()]))

    def save(self, path: Path) -> None:
        """Write as AnnData: obs = patient, var = gene, units and source in `uns`."""
        import anndata  # a second of start-up that only tables in this format pay

        table = anndata.AnnData(
            X=self.values,
            obs=pd.DataFrame(index=pd.Index(self.patients, dtype=object)),
            var=pd.DataFrame(index=pd.Index(self.genes, dtype=object)),
            uns={"kind": _OURS, "schema": SCHEMA, "units": self.units, "source": self.source},
        )
        with hdf5_aside(path) as file:
            anndata.io.write_elem(file, "/", table)

    @classmethod
    def load(cls, path: Path) -> ExpressionTable:
        """Read what `save` wrote. Raises `ArtefactError` when missing, damaged, or not that."""
        matrix, notes = _read_h5ad(path, ArtefactError)
        if notes.get("kind") != _OURS or notes.get("schema") != SCHEMA:
            raise ArtefactError(f"{path} is not an expression table of this version; build the cohort again")
        return cls(matrix.rows, matrix.columns, matrix.values, str(notes["units"]), str(notes["source"]))


class ReadExpression(NamedTuple):
    """A table, the rows and genes of the file that are not in it, and how many of each the file had."""

    table: ExpressionTable
    excluded: tuple[Excluded, ...]
    rows_given: int
    genes_given: int


def read_expression(config: ExpressionConfig, *, patients: Collection[str] | None = None) -> ReadExpression:
    """Read the user's table, one row a patient and one column a gene afterwards, whichever way it lay.

    Stated rules, each exclusion listed: columns of the same gene become their mean (or sum, as the configuration says),
    patient by patient, so that the choice depends neither on their order nor on other patients; identical copies of a
    row count once; of a TCGA patient's samples normals are left out, then primary tumours (type 01) come before
    others, and names in alphabetical order. With `patients`, columns of a text or parquet table with genes in rows that
    belong to nobody among them are not read at all, and listed. Raises `DataError` for rows of one name that
    contradict each other, for infinite values, for values that cannot be in the units, and for whatever the reader of
    the layout refuses.
    """
    source = str(config.path)
    matrix, strangers = _read(config, patients)
    given = matrix.values.shape
    if not given[0] and strangers:
        raise DataError(
            f"no column of {source} belongs to a patient of the cohort: it has {', '.join(strangers[:3])}, the cohort "
            f"{', '.join(sorted(patients or ())[:3])}; set `identifiers` so that both name patients alike"
        )
    _refuse_infinite(matrix, config.path)
    check_units(matrix.values, config.units, rows=matrix.rows, genes=matrix.columns, source=source)
    matrix, genes_out = one_column_a_gene(matrix, config)
    units = config.units if config.convert_to is None else config.convert_to
    if config.convert_to is not None:
        matrix = matrix._replace(values=convert(matrix.values, config.units, config.convert_to, source=source))
    keep, rows_out = _one_row_a_patient(matrix, config)
    if not keep:
        raise DataError(f"no row of {config.path} is a patient's expression; check `orientation` and `identifiers`")
    rows = list(keep.values())
    values = matrix.values if rows == list(range(len(matrix.rows))) else matrix.values[rows]
    table = ExpressionTable(tuple(keep), matrix.columns, values, units, source)
    not_read = [Excluded("expression", name, "not a patient of the cohort", source) for name in strangers]
    return ReadExpression(table, (*genes_out, *rows_out, *not_read), given[0] + len(strangers), given[1])


def _read(config: ExpressionConfig, patients: Collection[str] | None) -> tuple[Matrix, list[str]]:
    """The file as patients x genes, and the names of samples that were not read."""
    strangers: list[str] = []
    if config.layout == "gdc_star":
        return read_star_counts(config), strangers
    transposed = config.layout == "cbioportal" or config.orientation == "genes_in_rows"
    if config.path.suffix == ".h5ad":
        matrix, notes = _read_h5ad(config.path, DataError, names=config.id)
        if notes.get("kind") == _OURS and notes.get("units") != config.units:
            raise DataError(f"{config.path} is in '{notes.get('units')}', the configuration says '{config.units}'")
        turned = Matrix(matrix.columns, matrix.rows, np.ascontiguousarray(matrix.values.T))
        return (turned if transposed else matrix), strangers

    def of_the_cohort(sample: str) -> bool:
        assert patients is not None
        here = _patient_of(sample, config) in patients
        if not here:
            strangers.append(sample)
        return here

    names, ignored = config.id, config.ignore_columns
    if config.layout == "cbioportal":
        names = names or first_present(config.path, CBIOPORTAL)
        ignored = (*ignored, *(name for name in CBIOPORTAL if name != names))
    wanted = of_the_cohort if transposed and patients is not None else None
    return read_matrix(config.path, names, ignored=ignored, wanted=wanted, transposed=transposed), strangers


def _patient_of(sample: str, config: ExpressionConfig) -> str | None:
    """The patient of a sample; None when the name is no barcode, which is refused later, in full."""
    if config.identifiers == "patient":
        return sample
    try:
        return TcgaBarcode.parse(sample).patient
    except DataError:
        return None


def _read_h5ad(
    path: Path, refusal: type[DataError] | type[ArtefactError], *, names: str | None = None
) -> tuple[Matrix, dict[str, object]]:
    import anndata  # a second of start-up that only tables in this format pay

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* names are not unique")  # duplicates are handled here
            table = anndata.read_h5ad(path)
    except FileNotFoundError:
        raise refusal(f"there is no expression table {path}") from None
    except Exception as error:  # anndata lets the errors of h5py and of its own registry through, of many types
        raise refusal(f"{path} is not a readable h5ad file ({first_line(error)}); write it again") from error
    if table.X is None:
        raise refusal(f"{path} has no X; write the expression values there")
    if names is not None and names not in table.obs:
        raise refusal(f"{path} has no obs column '{names}' but {', '.join(map(str, table.obs.columns)) or 'none'}")
    dense = table.X if isinstance(table.X, np.ndarray) else table.X.toarray()  # pyright: ignore[reportAttributeAccessIssue]
    rows = table.obs_names if names is None else table.obs[names]
    matrix = Matrix(tuple(map(str, rows)), tuple(map(str, table.var_names)), np.asarray(dense, dtype=np.float32))
    return matrix, dict(table.uns)


def _refuse_infinite(matrix: Matrix, path: Path) -> None:
    at = np.argwhere(np.isinf(matrix.values))
    cells = [f"'{matrix.rows[row]}', gene '{matrix.columns[column]}'" for row, column in at[:100]]
    raise_together(DataError, f"{path} has {len(at)} infinite values (a log of zero?); correct or empty them:", cells)


def _one_row_a_patient(matrix: Matrix, config: ExpressionConfig) -> tuple[dict[str, int], list[Excluded]]:
    """The row to keep of each patient, in the order of the file, and the others."""
    source = str(config.path)
    keep, excluded = _one_row_a_name(matrix, source)
    for name in [name for name, row in keep.items() if np.isnan(matrix.values[row]).all()]:
        excluded.append(Excluded("expression", name, "no value for any gene", source))
        del keep[name]
    if config.identifiers == "patient":
        return keep, excluded
    barcodes, problems = _parse(keep)
    raise_together(DataError, f"{source}:", problems)
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
    return chosen, excluded


def _one_row_a_name(matrix: Matrix, source: str) -> tuple[dict[str, int], list[Excluded]]:
    keep: dict[str, int] = {}
    excluded: list[Excluded] = []
    problems: list[str] = []
    for row, name in enumerate(matrix.rows):
        if not name:
            problems.append(f"{row_name(row)} has no name; give it one or remove it")
        elif name not in keep:
            keep[name] = row
        elif np.array_equal(matrix.values[row], matrix.values[keep[name]], equal_nan=True):
            excluded.append(Excluded("expression", name, "an identical copy of another row", source))
        else:
            both = f"{row_name(keep[name])} and {row_name(row)}"
            problems.append(f"'{name}' stands there with different values ({both}); keep the right one")
    raise_together(DataError, f"{source} (patients counted as rows):", problems)
    return keep, excluded


def _parse(names: Iterable[str]) -> tuple[dict[str, TcgaBarcode], list[str]]:
    barcodes: dict[str, TcgaBarcode] = {}
    problems: list[str] = []
    for name in names:
        try:
            barcodes[name] = TcgaBarcode.parse(name)
        except DataError as error:
            problems.append(str(error))
    return barcodes, problems
