"""`cohort.expression`: how the table is laid out, and what its numbers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mirror.config.section import Section
from mirror.errors import ConfigError, nearest
from mirror.units import Units, parse_units


class GeneMapConfig(Section):
    """A table that says which gene each identifier stands for: transcripts, Ensembl genes."""

    path: Path
    identifier: str
    symbol: str


class SampleSheetConfig(Section):
    """A table that says which sample each file holds, such as the GDC's sample sheet."""

    path: Path
    file: str = "File Name"
    sample: str = "Sample ID"


STAR_UNITS = {
    "unstranded": "counts",
    "stranded_first": "counts",
    "stranded_second": "counts",
    "tpm_unstranded": "TPM",
    "fpkm_unstranded": "FPKM",
    "fpkm_uq_unstranded": "FPKM-UQ",
}
"""Columns of a GDC STAR file and the units of each."""


class ExpressionConfig(Section):
    """The expression table (csv, tsv, either gzipped, parquet, h5ad), or a folder of GDC STAR counts."""

    path: Path
    layout: Literal["matrix", "gdc_star", "cbioportal"] = "matrix"
    """`matrix`: any table of numbers, as `orientation` says. `cbioportal`: genes in rows, named by `Hugo_Symbol`,
    or by `Entrez_Gene_Id` where that is empty or absent. `gdc_star`: a folder with one file a sample, of which the
    column `value` is read."""
    orientation: Literal["patients_in_rows", "genes_in_rows"] | None = None
    """Needed for `layout: matrix`; the others have theirs."""
    id: str | None = None
    """Column with the row names (patients or genes, as the orientation says); the first column when not given."""
    ignore_columns: tuple[str, ...] = ()
    """Further columns that describe a row and are no numbers of it."""
    identifiers: Literal["patient", "tcga"] = "patient"
    """`patient`: names are patients as in the slide table. `tcga`: names are TCGA barcodes; tumour samples are used."""
    without_slide: Literal["leave_out", "keep"] = "leave_out"
    """Patients of this table who have no slide: listed as left out, or kept, to be trained on and judged by their
    expression. `keep` is for a table of this cohort alone; one of many diseases would bring patients of all of them."""
    units: Annotated[str, Field(min_length=1)]
    """What the numbers are, such as `log2(TPM + 0.001)`, `counts` or `z-score of one study`; a remark may follow a
    comma. `other, ...` takes any words, and nothing is then checked or converted."""
    convert_to: str | None = None
    """Units to take the numbers to before anything else; both must then be of the known form. Only FPKM becomes TPM
    and counts CPM (by each sample's sum); logarithms change base and offset."""
    value: str | None = None
    """Column of a GDC STAR file, such as `tpm_unstranded`."""
    samples: SampleSheetConfig | None = None
    """Which sample each GDC STAR file holds; its name up to the first dot when not given."""
    gene_ids: Literal["as_given", "without_version"] = "as_given"
    """`without_version`: Ensembl identifiers lose what follows their dot."""
    nameless_genes: Literal["keep", "exclude"] = "keep"
    """Rows `?|id` of the TCGA pipeline, which have a number but no symbol. A bare `?` has no name and always leaves."""
    gene_map: GeneMapConfig | None = None
    """Takes identifiers (transcripts) to genes; those it does not know are left out and listed."""
    duplicates: Literal["mean", "sum"] = "mean"
    """What several columns of one gene become; `sum` adds on the linear scale, as transcripts of a gene want it."""

    @field_validator("units", "convert_to")
    @classmethod
    def _units_are_known(cls, units: str | None) -> str | None:
        if units is not None:
            try:
                parse_units(units)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return units

    @model_validator(mode="after")
    def _layout_is_complete(self) -> Self:
        if (self.layout == "matrix") != (self.orientation is not None):
            raise ValueError(
                "`orientation` (patients_in_rows or genes_in_rows) is needed for `layout: matrix`, and for it alone"
            )
        if (self.layout == "gdc_star") != (self.value is not None):
            raise ValueError("`value`, such as tpm_unstranded, is needed for `layout: gdc_star`, and for it alone")
        if self.samples is not None and self.layout != "gdc_star":
            raise ValueError("`samples` belongs to `layout: gdc_star`")
        if self.value is not None:
            if self.value not in STAR_UNITS:
                raise ValueError(
                    f"`value: {self.value}` is no column of GDC STAR files{nearest(self.value, (*STAR_UNITS,))}"
                )
            if parse_units(self.units) != Units(STAR_UNITS[self.value]):
                raise ValueError(f"`value: {self.value}` is in {STAR_UNITS[self.value]}, not in `units: {self.units}`")
        return self
