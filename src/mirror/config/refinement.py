"""`refinement`: which genes a model reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mirror.config.expression import GeneMapConfig
from mirror.config.section import Positive, Section


class CuratedGenesConfig(Section):
    """A list of known cancer genes: a column of symbols, and where wanted only those of some cancer types."""

    path: Path
    symbol: str = "gene"
    cancer_type: str | None = None
    """Column with the cancer type that each gene was found in."""
    cancer_types: tuple[str, ...] | None = None
    """The types to take, as that column has them."""
    gene_map: GeneMapConfig | None = None
    """Needed where the expression table names transcripts or Ensembl genes and the list symbols: all of a gene's
    identifiers are then taken."""

    @model_validator(mode="after")
    def _filter_is_complete(self) -> Self:
        if (self.cancer_type is None) != (self.cancer_types is None):
            raise ValueError("`cancer_type` (a column) and `cancer_types` (its values to take) belong together")
        return self


class RefinementConfig(Section):
    """Which genes a model reads: those that a criterion keeps, united with curated ones (METHOD section 8)."""

    scope: Literal["fold", "cohort"] = "fold"
    """`fold`: chosen inside every fold on its training patients. `cohort`: on all patients, those who are judged
    included, as published; the panel and the report then say what was seen."""
    criterion: Literal["label", "survival", "variance"] = "label"
    """`label`: elimination against the subtype. `survival`: against the interval in which the event happened; who was
    censored in the last one belongs to it, who was censored before is in none and left out. `variance`: the most
    variable genes, without any label."""
    size: Positive | None = None
    """Genes that the criterion keeps (of an elimination the nearest round that has as many); the size of the best
    cross-validated score when not given."""
    step: Annotated[float, Field(gt=0)] = 0.05
    """Share of the original genes (or, from 1 on, number of genes) that leave in a round."""
    folds: Annotated[int, Field(ge=2)] = 5
    minimum: Positive = 1
    cost: Annotated[float, Field(gt=0)] = 1.0
    """C of the linear support vector machines."""
    intervals: Annotated[int, Field(ge=2)] = 4
    """Intervals of time under `survival`, cut at quantiles of the event times."""
    curated: CuratedGenesConfig | None = None

    @model_validator(mode="after")
    def _variance_needs_a_size(self) -> Self:
        if self.criterion == "variance" and self.size is None:
            raise ValueError("`criterion: variance` has no score to choose by; give `size`, the genes to keep")
        return self
