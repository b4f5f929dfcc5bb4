"""The form of relevance.json, for who reads it: what a slide's layers are of, and what warns of them.

Keys that are not read are left alone, and those that an earlier version did not write are unset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from mirror.artefacts import read_json
from mirror.errors import ArtefactError


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class HeadFacts(_Part):
    """As `head_score.HeadScore`."""

    metric: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    patients: int


class WarnedFacts(_Part):
    """As `warned.Warned`."""

    kind: str
    short: str
    note: str


class LayerFacts(_Part):
    """One layer, as docs/data-formats.md has it; `name` is its column of relevance.parquet."""

    name: str
    target: str | None = None
    method: str | None = None
    unit: str | None = None
    signed: bool | None = None
    representation: str | None = None
    fitted_on: int | None = None
    value: FiniteFloat | None = None
    at_mean_tile: FiniteFloat | None = None
    at_means: FiniteFloat | None = None
    from_slide: FiniteFloat | None = None
    from_expression: FiniteFloat | None = None
    head: HeadFacts | None = None
    unproven: str | None = None
    warnings: tuple[WarnedFacts, ...] = ()
    sum: FiniteFloat | None = None
    training_patients: tuple[FiniteFloat, FiniteFloat] | None = None
    more: str | None = None
    less: str | None = None
    compared: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What the file says, as JSON has it: no key that it lacks."""
        return self.model_dump(mode="json", exclude_unset=True)


class RelevanceFile(_Part):
    """`model` is the fingerprint of the model that was explained."""

    model: str
    layers: tuple[LayerFacts, ...]


def read_relevance_file(path: Path) -> RelevanceFile:
    """Raises `ArtefactError` when the file is missing, damaged, of another schema or of another form."""
    try:
        return RelevanceFile.model_validate(read_json(path))
    except ValidationError as error:
        where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:5])
        raise ArtefactError(f"{path} is damaged (at {where}); run `mirror explain slide` again") from None
