"""GDC STAR counts: a folder with one file a sample, as `gdc-client` leaves it (each file in a folder of its own)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.config import ExpressionConfig, SampleSheetConfig
from mirror.data.identifiers import is_tally
from mirror.data.ledger import Excluded
from mirror.data.matrix import Matrix
from mirror.data.tables import read_text_table
from mirror.errors import DataError, raise_together

_ENDINGS = (".tsv", ".tsv.gz")


class StarCounts(NamedTuple):
    """Samples x genes, and the files that were not read (each with its sample)."""

    matrix: Matrix
    excluded: tuple[Excluded, ...]


def read_star_counts(config: ExpressionConfig, *, wanted: Callable[[str], bool] | None = None) -> StarCounts:
    """The column `config.value` of each file, genes by `gene_id`, samples in order of their file's name.

    Of several files of one sample (aliquots of it) the one whose name stands first in the alphabet is read, and stands
    for the sample: the same whichever column is read and whatever the folders are called. Files of samples that are not
    `wanted` are not read, nor listed here. Raises `DataError` for a folder without such files, a file without that
    column, whose cells are no numbers, or whose genes are not those of the first one, and for files that the sample
    sheet does not know.
    """
    assert config.value is not None  # checked with the configuration
    if not config.path.is_dir():
        raise DataError(f"there is no folder {config.path}; `layout: gdc_star` reads a folder with one file a sample")
    found = [file for file in config.path.rglob("*star_gene_counts*") if file.name.endswith(_ENDINGS)]
    files = sorted((file for file in found if file.is_file()), key=lambda file: (file.name, file))
    if not files:
        raise DataError(f"{config.path} has no file *star_gene_counts*.tsv; name the folder that gdc-client wrote")
    chosen: dict[str, Path] = {}
    excluded: list[Excluded] = []
    for file, sample in zip(files, _samples(files, config.samples), strict=True):
        if wanted is not None and sample not in chosen and not wanted(sample):
            continue
        first = chosen.setdefault(sample, file)
        if first is not file:
            reason = f"'{first.name}' stands for sample {sample}"
            excluded.append(Excluded("expression", f"{sample} ({file.name})", reason, str(config.path)))
    return StarCounts(_read_files(chosen, config.value), tuple(excluded))


def _read_files(files: Mapping[str, Path], value: str) -> Matrix:
    genes: tuple[str, ...] = ()
    rows: list[NDArray[np.float32]] = []
    for file in files.values():
        column = _read_one(file, value)
        names = tuple(map(str, column.index))
        genes = genes or names
        if names != genes:
            raise DataError(
                f"{file} has other genes than {next(iter(files.values()))} ({len(names)} and {len(genes)} rows); mixed "
                "gene models are different tables: read one release alone"
            )
        rows.append(column.to_numpy(dtype=np.float32))
    return Matrix(tuple(files), genes, np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32))


def _samples(files: list[Path], sheet: SampleSheetConfig | None) -> tuple[str, ...]:
    if sheet is None:
        return tuple(file.name.split(".", 1)[0] for file in files)
    table = read_text_table(sheet.path, [sheet.file, sheet.sample])
    known = dict(zip(table[sheet.file], table[sheet.sample], strict=True))
    unknown = [str(file) for file in files if not known.get(file.name)]
    raise_together(DataError, f"{sheet.path} names no sample for these files; add them or move them away:", unknown)
    return tuple(str(known[file.name]) for file in files)


def _read_one(file: Path, value: str) -> pd.Series:
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as text:
            table = pd.read_csv(text, sep="\t", comment="#", dtype=str, keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}); it may be truncated: fetch it again") from error
    absent = [name for name in ("gene_id", value) if name not in table.columns]
    if absent:
        raise DataError(f"{file} has no column '{absent[0]}' but {', '.join(map(str, table.columns))}")
    column = table.set_index("gene_id")[value]
    numbers = pd.to_numeric(column, errors="coerce")
    # Four rows in front count reads of no gene; the columns of TPM and FPKM are empty there.
    wrong = numbers.isna() & ~np.array([is_tally(gene) for gene in column.index], dtype=bool)
    cells = [f"{gene}: '{column[gene]}'" for gene in column.index[wrong][:20]]
    raise_together(DataError, f"{file} has cells in '{value}' that are not numbers; fetch it again:", cells)
    return numbers
