"""The tables of numbers that `mirror evaluate` leaves: scores, one row a number, and the predictions behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mirror.artefacts import SCHEMA, write_aside
from mirror.errors import ArtefactError
from mirror.evaluation.intervals import INTERVAL_COLUMNS
from mirror.evaluation.judged import PREDICTED_BY, Score


class RunOrigin(NamedTuple):
    """What a fold's numbers are stamped with: which cohort, fold, seed and preset they are of."""

    cohort: str
    fold: int
    seed: int
    preset: str


STAMP = RunOrigin._fields
COLUMNS = (*STAMP, "representation", "protocol", "task", "metric", "value")
PREDICTION_COLUMNS = (*STAMP, *PREDICTED_BY)
"""The columns that predictions always have; label, predicted and probabilities, or time, event and risk, follow."""
NUMBERS = {"fold": "int64", "seed": "int64", "draw": "int64", "strength": "float64", "value": "float64"}

_KIND, _VERSION, _PROVENANCE = b"mirror.kind", b"mirror.schema", b"mirror.provenance"


def score_table(scores: Iterable[Score], origin: RunOrigin) -> pd.DataFrame:
    """The scores of one fold with exactly the columns of `COLUMNS`."""
    frame = pd.DataFrame(list(scores), columns=list(Score._fields))
    return stamped(frame, origin).astype({"value": "float64"})


def stamped(frame: pd.DataFrame, origin: RunOrigin) -> pd.DataFrame:
    """`frame` (such as a fold's predictions) with the columns of `STAMP` in front."""
    stamp = pd.DataFrame(origin._asdict(), index=frame.index)
    return pd.concat([stamp, frame], axis=1)


def write_scores(path: Path, scores: pd.DataFrame, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write scores as parquet in one step. Raises `ArtefactError` when their columns are not exactly `COLUMNS`."""
    if tuple(scores.columns) != COLUMNS:
        raise ArtefactError(f"{path}: a table of scores has the columns {', '.join(COLUMNS)}, not {_listed(scores)}")
    _write(path, scores, kind="scores", provenance=provenance or {})


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `write_scores` wrote. Raises `ArtefactError` when missing, damaged, of another kind or schema."""
    return _read(path, kind="scores", columns=COLUMNS)


def write_predictions(path: Path, predictions: pd.DataFrame, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write stamped predictions as parquet in one step. Raises `ArtefactError` when a needed column is missing."""
    _require(path, predictions, PREDICTION_COLUMNS)
    _write(path, predictions, kind="predictions", provenance=provenance or {})


def read_predictions(path: Path, *, protocols: Sequence[str] | None = None) -> pd.DataFrame:
    """Read what `write_predictions` wrote, of the `protocols` alone where they are named.

    Nearly all rows are draws of few shots, millions on a large cohort. Raises `ArtefactError` as `read_scores` does.
    """
    kept = None if protocols is None else [("protocol", "in", list(protocols))]
    return _read(path, kind="predictions", columns=PREDICTION_COLUMNS, filters=kept)


def write_intervals(path: Path, intervals: pd.DataFrame, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write intervals as parquet in one step. Raises `ArtefactError` when a column of `INTERVAL_COLUMNS` is missing."""
    _require(path, intervals, INTERVAL_COLUMNS)
    _write(path, intervals, kind="intervals", provenance=provenance or {})


def read_intervals(path: Path) -> pd.DataFrame:
    """Read what `write_intervals` wrote. Raises `ArtefactError` as `read_scores` does."""
    return _read(path, kind="intervals", columns=INTERVAL_COLUMNS)


def read_provenance(path: Path) -> dict[str, Any]:
    """What the writer said about inputs and configuration."""
    return json.loads(_metadata(path).get(_PROVENANCE, b"{}"))


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over folds, seeds of a fold averaged first.

    One row a cohort, preset, representation, protocol, task and metric, in the order they come; `mean`; `sd` over folds
    (n - 1; NaN for one fold); `folds`, those that have the number; `undefined`, those in which it is NaN.
    """
    keys = ["cohort", "preset", "representation", "protocol", "task", "metric"]
    by_fold = scores.groupby([*keys, "fold"], sort=False, as_index=False)["value"].mean()
    grouped = by_fold.groupby(keys, sort=False)["value"]
    summary = grouped.agg(mean="mean", sd="std", folds="count", undefined=lambda values: int(values.isna().sum()))
    return summary.reset_index()


def _write(path: Path, frame: pd.DataFrame, *, kind: str, provenance: Mapping[str, Any]) -> None:
    typed = frame.astype({name: kind_of for name, kind_of in NUMBERS.items() if name in frame})
    table = pa.Table.from_pandas(typed, preserve_index=False)
    stamp = {_KIND: kind, _VERSION: str(SCHEMA), _PROVENANCE: json.dumps(provenance, sort_keys=True)}
    with write_aside(path) as aside:
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **stamp}), aside)


def _read(path: Path, *, kind: str, columns: tuple[str, ...], filters: Any = None) -> pd.DataFrame:
    metadata = _metadata(path)
    found = (metadata.get(_KIND, b"?").decode(), metadata.get(_VERSION, b"?").decode())
    if found != (kind, str(SCHEMA)):
        raise ArtefactError(
            f"{path} holds {found[0]} of schema {found[1]}, needed are {kind} of schema {SCHEMA}; "
            "run `mirror evaluate` again"
        )
    try:
        frame = pq.read_table(path, filters=filters).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); delete it and run `mirror evaluate` again") from error
    _require(path, frame, columns)
    return frame


def _metadata(path: Path) -> dict[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; run `mirror evaluate` first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); delete it and run `mirror evaluate` again") from error


def _require(path: Path, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ArtefactError(f"{path} lacks the columns {', '.join(missing)}; run `mirror evaluate` again")


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(str(name) for name in frame.columns)
