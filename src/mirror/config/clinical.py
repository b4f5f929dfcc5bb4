"""`cohort.clinical`: the columns of labels, survival, groups and covariates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mirror.config.section import Section


class CovariatesConfig(Section):
    """Clinical variables to predict from: alone, and beside the representations. Columns of the clinical table.

    A missing cell counts as the mean (of a category: as the shares) of the fold's training patients, and the evaluation
    says of how many patients that was so.
    """

    numbers: tuple[str, ...] = ()
    """Columns of numbers, such as age."""
    categories: tuple[str, ...] = ()
    """Columns of names or codes, such as sex; each value becomes a column of its own."""

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        columns = (*self.numbers, *self.categories)
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"a column is named once, as a number or as a category; twice: {', '.join(twice)}")
        return self


class ClinicalConfig(Section):
    """The clinical table: a subtype label, survival, or both."""

    path: Path
    patient: str = "case_id"
    label: str | None = None
    spellings: Mapping[str, str] = Field(default_factory=dict[str, str])
    """Cell of `label` -> the class that it means, where a table writes one class in several ways. Ways that differ by
    case or spaces alone stop the run until they stand here."""
    classes: tuple[str, ...] | None = None
    """Classes of the subtyping task; patients of other classes stay in pretraining. All classes when not given."""
    groups: tuple[str, ...] = ()
    """Columns with each patient's study, site or batch. Nothing is predicted from them: the run says, as it does of
    `label`, whether expression tells them apart by artefact."""
    covariates: CovariatesConfig = CovariatesConfig()
    time: str | None = None
    time_unit: Literal["days", "months", "years"] = "months"
    event: str | None = None
    event_convention: Literal["one_is_event", "one_is_censored", "deceased_or_living"] | None = None
    """What the event column says. Never guessed: the conventions in use contradict each other."""

    @model_validator(mode="after")
    def _survival_is_complete(self) -> Self:
        given = [self.time is not None, self.event is not None, self.event_convention is not None]
        if any(given) and not all(given):
            raise ValueError(
                "survival needs `time`, `event` and `event_convention` together; `event_convention` is one of "
                "one_is_event, one_is_censored, deceased_or_living"
            )
        for name in ("classes", "spellings"):
            if getattr(self, name) and self.label is None:
                raise ValueError(f"`{name}` needs `label`, the column they stand in")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_spellings(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A key that came later and is not used leaves the fingerprint of every earlier cohort as it was.
        content = written(self)
        return content if self.spellings else {key: value for key, value in content.items() if key != "spellings"}

    @property
    def grouped_by(self) -> tuple[str, ...]:
        """The columns by which expression is searched for artefacts: the label, then `groups`."""
        return tuple(dict.fromkeys((*([] if self.label is None else [self.label]), *self.groups)))
