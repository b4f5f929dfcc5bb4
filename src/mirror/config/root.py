"""The root: all sections together, and what must hold between them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from mirror.config.beside import BesideConfig
from mirror.config.cohort import CohortConfig
from mirror.config.evaluation import EvaluationConfig
from mirror.config.model import CanonicalModelConfig, ModelConfig, PublishedModelConfig
from mirror.config.pretraining import PretrainingConfig
from mirror.config.refinement import RefinementConfig
from mirror.config.section import Section
from mirror.config.supervised import SupervisedConfig


class Config(Section):
    """The root. `mirror run` takes one of these."""

    name: str
    preset: str = "mirror"
    output: Path
    seeds: tuple[int, ...] = (0,)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cohort: CohortConfig
    pool: tuple[CohortConfig, ...] = ()
    """Further cohorts whose training patients help (`kind: canonical`): names of their configuration files, or sections
    like `cohort`. Genes are matched by name, each cohort is
    standardised by its own patients, and negatives are of the same cohort."""
    model: ModelConfig
    pretraining: PretrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    refinement: RefinementConfig | None = None
    """All genes of the table when not given."""
    supervised: SupervisedConfig | None = None
    """No supervised models when not given; `supervised: {}` and `mirror run --supervised` are all of them."""
    beside: tuple[BesideConfig, ...] = ()
    """Other runs that stand in the table as opponents; `mirror run --beside NAME=FOLDER` adds one."""

    @field_validator("beside")
    @classmethod
    def _each_once(cls, beside: tuple[BesideConfig, ...]) -> tuple[BesideConfig, ...]:
        names = [run.name for run in beside]
        if len(names) > len(set(names)):
            raise ValueError("two runs in `beside` have the same name")
        return beside

    @model_validator(mode="after")
    def _some_tile_is_seen(self) -> Self:
        tiles, model = self.pretraining.tiles, self.model
        if isinstance(model, CanonicalModelConfig) and int(tiles * (1 - model.mask_ratio)) == 0:
            raise ValueError(
                f"`model.mask_ratio: {model.mask_ratio}` hides all of `pretraining.tiles: {tiles}`; draw more tiles, "
                "or hide a smaller share"
            )
        return self

    @model_validator(mode="after")
    def _rows_do_not_depend_on_company(self) -> Self:
        model = self.model
        if (
            self.pretraining.rows_at_once is not None
            and isinstance(model, PublishedModelConfig)
            and model.attention != "exact"
            and model.pinv_scaling == "batch"
        ):
            raise ValueError(
                "`pretraining.rows_at_once` needs slides that do not depend on the rest of their batch: set "
                "`model.pinv_scaling: slide`, or `model.attention: exact`"
            )
        return self
