"""`evaluation`: what is measured of a run."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, field_validator

from mirror.config.section import Positive, Section


class EvaluationConfig(Section):
    """What is measured, and how."""

    components: tuple[Positive, ...] = (8, 16, 32, 64)
    """Components a modality of the whitened-PCA baselines."""
    shots: tuple[Positive, ...] = (1, 2, 4, 8, 10, 16)
    """Training patients a class of the few-shot probes, ascending; one number stands for itself."""
    draws: Positive = 20
    """Draws of patients a number of shots; scores are their means."""
    inner_folds: Annotated[int, Field(ge=2)] = 5
    intervals: Annotated[int, Field(ge=2)] = 4
    """Intervals of the discrete-time survival head, cut at quantiles of the training patients' event times."""
    horizons: tuple[Annotated[float, Field(gt=0)], ...] = (12.0, 24.0, 36.0, 48.0, 60.0)
    """Months at which time-dependent AUROC and Brier score look; a fold leaves out those its patients do not reach."""

    @field_validator("shots", mode="before")
    @classmethod
    def _one_or_several(cls, shots: Any) -> Any:
        return (shots,) if isinstance(shots, int) else shots

    @field_validator("shots")
    @classmethod
    def _more_and_more(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(shots)):
            raise ValueError("`shots` are numbers of patients in ascending order")
        return shots

    @property
    def foremost_shots(self) -> int | None:
        """The number of shots that is spoken of where only one can be: 10, or the largest; None where there is none."""
        return 10 if 10 in self.shots else max(self.shots, default=None)

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, horizons: tuple[float, ...]) -> tuple[float, ...]:
        if not horizons or any(later <= earlier for earlier, later in pairwise(horizons)):
            raise ValueError("`horizons` are months in ascending order, at least one")
        return horizons
