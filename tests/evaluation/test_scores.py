"""Tables of numbers survive a round trip, are refused when they are something else, and sum up fold by fold."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mirror.errors import ArtefactError
from mirror.evaluation import scores as room
from mirror.evaluation.protocols import Score


def table(*, fold: int = 0, seed: int = 0, value: float = 0.8) -> pd.DataFrame:
    numbers = [
        Score("fused", "linear", "subtyping", "auroc", value),
        Score("fused", "cox", "survival", "c_index", math.nan),
    ]
    return room.score_table(numbers, room.RunOrigin("brca", fold, seed, "published"))


def predictions() -> pd.DataFrame:
    frame = pd.DataFrame(
        {"patient": ["P1", "P2"], "representation": "fused", "protocol": "linear", "task": "subtyping"}
    )
    frame = frame.assign(draw=0, strength=0.1, label=["A", None], risk=[math.nan, -2.5])
    return room.stamped(frame, room.RunOrigin("brca", 1, 2, "published"))


def test_a_score_has_exactly_the_nine_columns() -> None:
    expected = "cohort, fold, seed, preset, representation, protocol, task, metric, value"
    assert ", ".join(table().columns) == expected


def test_scores_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scores.parquet"
    room.write_scores(path, table(), provenance={"cohort": "abc", "seeds": [0]})
    pd.testing.assert_frame_equal(room.read_scores(path), table())
    assert room.read_provenance(path) == {"cohort": "abc", "seeds": [0]}
    assert [item.name for item in path.parent.iterdir()] == ["scores.parquet"]


def test_predictions_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    room.write_predictions(path, predictions())
    pd.testing.assert_frame_equal(room.read_predictions(path), predictions())


def test_an_empty_table_survives_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    room.write_scores(path, room.score_table([], room.RunOrigin("x", 0, 0, "published")))
    assert room.read_scores(path).empty


def test_scores_with_other_columns_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="a table of scores has the columns cohort"):
        room.write_scores(tmp_path / "scores.parquet", table().assign(extra=1))
    with pytest.raises(ArtefactError, match="lacks the columns draw"):
        room.write_predictions(tmp_path / "predictions.parquet", predictions().drop(columns="draw"))
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="mirror evaluate"):
        room.read_scores(tmp_path / "scores.parquet")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    room.write_scores(path, table())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtefactError, match=r"scores\.parquet is damaged"):
        room.read_scores(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    room.write_predictions(tmp_path / "a.parquet", predictions())
    table().to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ArtefactError, match="holds predictions of schema 1, needed are scores"):
        room.read_scores(tmp_path / "a.parquet")
    with pytest.raises(ArtefactError, match=r"holds \? of schema \?"):
        room.read_scores(tmp_path / "b.parquet")


def test_seeds_are_averaged_before_folds_spread() -> None:
    values = {(0, 0): 0.8, (0, 1): 0.9, (1, 0): 0.6, (1, 1): 0.7, (2, 0): 0.5}
    summary = room.summarise(pd.concat([table(fold=f, seed=s, value=v) for (f, s), v in values.items()]))
    area = summary.set_index("metric").loc["auroc"]
    folds = [0.85, 0.65, 0.5]
    assert area["mean"] == pytest.approx(np.mean(folds))
    assert area["sd"] == pytest.approx(np.std(folds, ddof=1))
    assert (area["folds"], area["undefined"]) == (3, 0)


def test_folds_without_a_number_are_counted_not_averaged() -> None:
    summary = room.summarise(pd.concat([table(fold=0, value=0.8), table(fold=1, value=math.nan)])).set_index("metric")
    assert summary.loc["auroc", "mean"] == pytest.approx(0.8)
    assert (summary.loc["auroc", "folds"], summary.loc["auroc", "undefined"]) == (1, 1)
    assert math.isnan(summary.loc["c_index", "mean"])
    assert summary.loc["c_index", "undefined"] == 2
