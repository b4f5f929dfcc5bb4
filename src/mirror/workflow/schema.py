"""JSON schemas of the files that users write, for their editors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from mirror.config import (
    CanonicalModelConfig,
    Config,
    ObjectiveWeights,
    PretrainingConfig,
    PublishedModelConfig,
    Section,
)
from mirror.slides.settings import ExtractionConfig
from mirror.sweep import SweepConfig

Kind = Literal["run", "sweep", "slides"]

_KINDS: dict[Kind, type[Section]] = {"run": Config, "sweep": SweepConfig, "slides": ExtractionConfig}
_OF_PRESETS = (PublishedModelConfig, CanonicalModelConfig, PretrainingConfig, ObjectiveWeights)
"""Sections that a preset fills in: a file gives as much of them as it wants."""


def json_schema(of: Kind) -> dict[str, Any]:
    """The schema (draft 2020-12) of a kind of file, with what presets give left optional."""
    schema = _KINDS[of].model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"mirror {of}"
    for section in _OF_PRESETS:
        schema.get("$defs", {}).get(section.__name__, {}).pop("required", None)
    if of == "run":
        schema["required"] = [name for name in schema["required"] if name not in ("model", "pretraining")]
        # A cohort to pool may be the name of another configuration file.
        pool = schema["properties"]["pool"]
        pool["items"] = {"anyOf": [pool["items"], {"type": "string"}]}
    _each(schema, _any_of)
    return schema


def _each(node: Any, change: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(node, dict):
        change(node)
        for item in node.values():
            _each(item, change)
    elif isinstance(node, list):
        for item in node:
            _each(item, change)


def _any_of(node: dict[str, Any]) -> None:
    """With everything optional, a section may fit either kind of model, which `oneOf` would refuse."""
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
