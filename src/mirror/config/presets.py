"""Presets by name, and what a configuration sets otherwise than its preset."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from mirror.config.root import Config
from mirror.errors import ConfigError, nearest


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    folder = resources.files("mirror") / "presets"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def read_preset(name: str) -> dict[str, Any]:
    """The sections a preset fills in. Raises `ConfigError` with the nearest name when there is none called so."""
    if name not in preset_names():
        raise ConfigError(f"preset '{name}' does not exist{nearest(name, preset_names())}")
    text = (resources.files("mirror") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def changes_from_preset(config: Config) -> dict[str, Any]:
    """Dotted key -> value of everything that the configuration sets otherwise than its preset does."""
    resolved = config.model_dump(mode="json")

    def differences(preset: Mapping[str, Any], own: Mapping[str, Any], above: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in preset.items():
            if isinstance(value, Mapping):
                found |= differences(value, own[name], f"{above}{name}.")
            elif own[name] != value:
                found[f"{above}{name}"] = own[name]
        return found

    return differences(read_preset(config.preset), resolved, "")
