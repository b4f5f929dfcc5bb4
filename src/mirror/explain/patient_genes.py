"""What every gene adds to the numbers of every test patient of a run, as a file that knows the model it is of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mirror.artefacts import write_aside
from mirror.errors import ArtefactError

TOLD = ("patient", "target", "value", "at_mean")
"""The columns before those of genes."""
_MODEL = b"mirror.model"


def write_patient_genes(path: Path, table: pd.DataFrame, *, model: str) -> None:
    """Write a row a target and patient, `TOLD` and a column a gene, of the model with the fingerprint `model`."""
    columns = pa.Table.from_pandas(table, preserve_index=False)
    marked = columns.replace_schema_metadata({**(columns.schema.metadata or {}), _MODEL: model})
    with write_aside(path) as aside:
        pq.write_table(marked, aside, compression="zstd")


def read_patient_genes(path: Path, patient: str, *, model: str) -> pd.DataFrame:
    """The rows of a patient; none where there is no file, or it is of another model than `model`.

    Raises `ArtefactError` when it is damaged.
    """
    if not path.exists():
        return pd.DataFrame()
    try:
        if (pq.read_schema(path).metadata or {}).get(_MODEL) != model.encode():
            return pd.DataFrame()
        found = pq.read_table(path, filters=[("patient", "=", patient)]).to_pandas()
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); run `mirror explain expression` again") from error
    missing = [name for name in TOLD if name not in found]
    if missing:
        raise ArtefactError(f"{path} lacks {', '.join(missing)}; run `mirror explain expression` again")
    return found
