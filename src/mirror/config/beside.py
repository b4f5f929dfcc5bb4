"""`beside`: other finished runs that are judged in the same table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from mirror.config.section import Section

NO_RUN = r"raw|panel|finetuned|pca\d*"
"""First words of the names of representations, by which no other run can be called."""


class BesideConfig(Section):
    """Another finished run of the same cohort, folds and seeds, judged in the same table."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    """What it is called there: its representations are `NAME_slide`, `NAME_fused` and so on."""
    output: Path
    """Its output folder, such as a row of `mirror sweep` or the `output` of `mirror run` leaves it."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if re.fullmatch(NO_RUN, name):
            raise ValueError(f"the name '{name}' is taken: a representation of the run itself begins with it")
        return name
