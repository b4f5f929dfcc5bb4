"""What a section is, closed and frozen, and the numbers with bounds in it."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A closed, frozen part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
