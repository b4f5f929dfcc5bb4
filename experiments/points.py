"""Numbers of a run, kept beside it: an experiment that is started again measures what it has not measured yet."""

from __future__ import annotations

from collections.abc import Callable

from mirror.artefacts import fingerprint, read_json, write_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.evaluation import metrics
from mirror.training.runs import RunFolder
from mirror.types import Fold


def kept(
    run: RunFolder,
    config: Config,
    cohort: Cohort,
    fold: Fold,
    *question: object,
    measure: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """What `measure` gives, or what lies in the run's folder of this very model, patients, evaluation and question.

    `measure` leaves out what is absent: JSON has no NaN.
    """
    file = run.path / "point.json"
    mark = fingerprint(
        run.read_record()["fingerprint"],
        (metrics.VERSION, *question),
        config.evaluation.model_dump(mode="json"),
        cohort.patients.astype(str).reset_index().to_numpy().tolist(),
        list(fold),
    )
    if file.exists() and (found := read_json(file))["fingerprint"] == mark:
        return found["numbers"]
    numbers = measure()
    write_json(file, {"fingerprint": mark, "numbers": numbers})
    return numbers
