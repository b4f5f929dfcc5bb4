"""Expression tables: one row a patient, one column a gene, the units kept with the numbers.

Legend: N patients, G genes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import SCHEMA, fingerprint, hash_bytes
from mirror.config import ExpressionConfig
from mirror.data.conversion import convert
from mirror.data.gdc_star import read_star_counts
from mirror.data.gene_columns import one_column_a_gene, without_tallies
from mirror.data.h5ad import read_plain
from mirror.data.hdf5 import hdf5_aside
from mirror.data.ledger import Excluded
from mirror.data.matrix import Matrix, read_matrix
from mirror.data.patient_rows import NO_BARCODE, NO_PATIENT, one_row_a_patient
from mirror.data.tables import present_columns
from mirror.data.text_files import cell_text
from mirror.data.unit_checks import check_units
from mirror.errors import ArtefactError, DataError, MirrorError, first_line, raise_together
from mirror.ids import TcgaBarcode
from mirror.units import same_units

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
        matrix, notes = _plain(path) or _read_h5ad(path, ArtefactError)
        if notes.get("kind") != _OURS or notes.get("schema") != SCHEMA:
            raise ArtefactError(f"{path} is not an expression table of this version; build the cohort again")
        return cls(matrix.rows, matrix.columns, matrix.values, str(notes["units"]), str(notes["source"]))


class ReadExpression(NamedTuple):
    """A table, the rows and genes of the file that are not in it, and how many of each the file had."""

    table: ExpressionTable
    excluded: tuple[Excluded, ...]
    rows_given: int
    genes_given: int

    def only(self, patients: Collection[str] | None) -> ReadExpression:
        """Without those who are not among `patients` (None: everybody stays), who are listed.

        Raises `DataError` when nobody is left.
        """
        here = [patient for patient in self.table.patients if patients is None or patient in patients]
        if len(here) == len(self.table.patients):
            return self
        if not here:
            raise _no_overlap(self.table.source, self.table.patients, patients or (), _SIDEWAYS)
        others = [name for name in self.table.patients if name not in set(here)]
        left = [Excluded("expression", name, NO_PATIENT, self.table.source) for name in others]
        return self._replace(table=self.table.of(here), excluded=(*self.excluded, *left))


def read_expression(config: ExpressionConfig, *, patients: Collection[str] | None = None) -> ReadExpression:
    """Read the user's table, one row a patient and one column a gene afterwards, whichever way it lay.

    Stated rules, each exclusion listed: columns of the same gene become their mean (or sum, as the configuration says),
    patient by patient, so that the choice depends neither on their order nor on other patients; identical copies of a
    row count once; of a TCGA patient's samples normals are left out, then primary tumours (type 01) come before
    others, and names in alphabetical order; of several samples of one TCGA barcode the one with fewest gaps stands,
    then the one of the largest sum (of GDC STAR files the one whose name comes first: `read_star_counts`).

    With `patients`, what belongs to nobody among them is listed and not held in memory: rows or columns of a text
    table, columns of a parquet table with genes in rows, samples of an h5ad file, files of GDC STAR counts; and names
    that are no TCGA barcodes are listed, which are refused without. Raises `DataError` for rows of one patient that
    contradict each other, for infinite values, for values that cannot be in the units, and for whatever the reader of
    the layout refuses.
    """
    source = str(config.path)
    matrix, not_read = _read(config, patients)
    given = matrix.values.shape
    if not given[0] and not_read:
        also = _SHEET if config.layout == "gdc_star" else _SIDEWAYS
        raise _no_overlap(source, [entry.item for entry in not_read], patients or (), also)
    matrix, tallies = without_tallies(matrix, source=source)
    _refuse_infinite(matrix, config.path)
    check_units(matrix.values, config.units, rows=matrix.rows, genes=matrix.columns, source=source)
    units = config.units if config.convert_to is None else config.convert_to
    if config.convert_to is not None:
        # Before any gene leaves or is joined with another: TPM and CPM are shares of all that was measured.
        matrix = matrix._replace(values=convert(matrix.values, config.units, config.convert_to, source=source))
    matrix, genes_out = one_column_a_gene(matrix, config.model_copy(update={"units": units}))
    keep, rows_out = one_row_a_patient(matrix, config, strict=patients is None)
    if not matrix.rows:
        raise DataError(f"{config.path} has no sample: nothing stands below or beside its names; check `orientation`")
    if not keep:
        raise DataError(
            f"no row of {config.path} is a patient's expression; check `orientation` and `identifiers` (the rows are "
            f"called {', '.join(matrix.rows[:3])})"
        )
    rows = list(keep.values())
    values = matrix.values if rows == list(range(len(matrix.rows))) else matrix.values[rows]
    table = ExpressionTable(tuple(keep), matrix.columns, values, units, source)
    return ReadExpression(table, (*tallies, *genes_out, *rows_out, *not_read), given[0] + len(not_read), given[1])


_SIDEWAYS = "`orientation` where these are genes"
_SHEET = "`samples`, the sample sheet that says whose each file is"


def _no_overlap(source: str, names: Sequence[str], patients: Iterable[str], also: str) -> DataError:
    return DataError(
        f"no sample of {source} belongs to a patient of the cohort: it has {', '.join(names[:3])}, the cohort "
        f"{', '.join(sorted(patients)[:3])}; set `identifiers` so that both name patients alike, or {also}"
    )


def _read(config: ExpressionConfig, patients: Collection[str] | None) -> tuple[Matrix, list[Excluded]]:
    """The file as patients x genes, and the samples that were not read."""
    not_read: list[Excluded] = []

    def of_the_cohort(sample: str) -> bool:
        assert patients is not None
        patient = _patient_of(sample, config)
        if patient not in patients:
            reason = NO_BARCODE if patient is None else NO_PATIENT
            not_read.append(Excluded("expression", sample or "(no name)", reason, str(config.path)))
        return patient in patients

    wanted = None if patients is None else of_the_cohort
    if config.layout == "gdc_star":
        star = read_star_counts(config, wanted=wanted)
        return star.matrix, [*not_read, *star.excluded]
    transposed = config.layout == "cbioportal" or config.orientation == "genes_in_rows"
    if config.path.suffix == ".h5ad":
        matrix, notes = _read_h5ad(config.path, DataError, names=config.id, wanted=wanted, transposed=transposed)
        if notes.get("kind") == _OURS and not same_units(str(notes.get("units")), config.units):
            raise DataError(f"{config.path} is in '{notes.get('units')}', the configuration says '{config.units}'")
        return matrix, not_read
    names, ignored = () if config.id is None else (config.id,), config.ignore_columns
    if config.layout == "cbioportal":
        names = names or present_columns(config.path, CBIOPORTAL)
        ignored = (*ignored, *(name for name in CBIOPORTAL if name not in names))
    return read_matrix(config.path, names, ignored=ignored, wanted=wanted, transposed=transposed), not_read


def _patient_of(sample: str, config: ExpressionConfig) -> str | None:
    """The patient of a sample; None when the name is no barcode though it should be."""
    if config.identifiers == "patient":
        return sample
    barcode = TcgaBarcode.of(sample)
    return None if barcode is None else barcode.patient


def _plain(path: Path) -> tuple[Matrix, dict[str, object]] | None:
    """What `_read_h5ad` reads of a file that anndata is not needed for."""
    table = read_plain(path)
    if table is None or table.X is None:
        return None
    values = np.ascontiguousarray(table.X, dtype=np.float32)
    return Matrix(tuple(map(str, table.obs.index)), tuple(map(str, table.var.index)), values), table.uns


def _read_h5ad(
    path: Path,
    refusal: type[DataError] | type[ArtefactError],
    *,
    names: str | None = None,
    wanted: Callable[[str], bool] | None = None,
    transposed: bool = False,
) -> tuple[Matrix, dict[str, object]]:
    """Patients x genes of an AnnData file (`transposed`: of its transpose) and its notes; only samples `wanted`."""
    import anndata  # a second of start-up that only tables in this format pay

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* names are not unique")  # duplicates are handled here
            table = anndata.read_h5ad(path, backed="r" if wanted else None)
            if names is not None and names not in table.obs:
                columns = ", ".join(map(str, table.obs.columns)) or "none"
                raise refusal(f"{path} has no obs column '{names}' but {columns}")
            first, second = (
                tuple(cell_text(name) or "" for name in some)
                for some in (table.obs_names if names is None else table.obs[names], table.var_names)
            )
            if wanted is not None:
                kept = np.flatnonzero([wanted(name) for name in (second if transposed else first)])
                part = (table[:, kept] if transposed else table[kept]) if len(kept) else table[:0, :0]
                file, table = table.file, part.to_memory()
                file.close()
                first, second = (
                    (first, tuple(second[at] for at in kept))
                    if transposed
                    else (tuple(first[at] for at in kept), second)
                )
    except FileNotFoundError:
        raise refusal(f"there is no expression table {path}") from None
    except MirrorError:
        raise
    except Exception as error:  # anndata lets the errors of h5py and of its own registry through, of many types
        raise refusal(f"{path} is not a readable h5ad file ({first_line(error)}); write it again") from error
    if table.X is None:
        raise refusal(f"{path} has no X; write the expression values there")
    dense = table.X if isinstance(table.X, np.ndarray) else table.X.toarray()  # pyright: ignore[reportAttributeAccessIssue]
    values = np.asarray(dense, dtype=np.float32)
    matrix = Matrix(second, first, np.ascontiguousarray(values.T)) if transposed else Matrix(first, second, values)
    return matrix, dict(table.uns)


def _refuse_infinite(matrix: Matrix, path: Path) -> None:
    at = np.argwhere(np.isinf(matrix.values))
    cells = [f"sample '{matrix.rows[row]}', gene '{matrix.columns[column]}'" for row, column in at[:100]]
    raise_together(DataError, f"{path} has {len(at)} infinite values (a log of zero?); correct or empty them:", cells)
