"""From a file to the configuration, by way of its preset, and back to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mirror.config.mistakes import explain
from mirror.config.paths import rebased
from mirror.config.presets import read_preset
from mirror.config.root import Config
from mirror.config.section import S, Section
from mirror.errors import ConfigError


def load_config(path: Path) -> Config:
    """Read, fill in from the preset, resolve paths, check. Raises `ConfigError` that names file, key and remedy."""
    return resolve(read_mapping(path), where=path)


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises `ConfigError` when it is missing, unreadable or something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except IsADirectoryError:
        inside = sorted(str(file) for file in path.glob("*.y*ml"))[:3]
        there = f"which has {', '.join(inside)}" if inside else "and has none"
        raise ConfigError(f"{path} is a folder, where a configuration file (.yaml) is asked for, {there}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as a configuration file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values; the README shows a complete configuration")
    return content


def resolve(content: Mapping[str, Any], *, where: Path) -> Config:
    """The complete configuration for `content`, whose relative paths are taken from the folder of the file `where`."""
    preset = read_preset(str(content.get("preset", Config.model_fields["preset"].default)))
    content = {**content, "pool": [_pool_section(item, where) for item in content.get("pool") or ()]}
    return checked(merge(preset, content), Config, where=where)


def checked(content: Mapping[str, Any], kind: type[S], *, where: Path) -> S:
    """`content` as a section of this `kind`, its paths resolved. Raises `ConfigError` that names file, key, remedy."""
    try:
        section = kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{explain(error, kind)}") from None
    return rebased(section, where.resolve().parent)


def _pool_section(item: Any, where: Path) -> Any:
    """A cohort to pool as a section: a name of another configuration file stands for the `cohort` in that file."""
    if not isinstance(item, str):
        return item
    file = Path(where.resolve().parent, item)
    return load_config(file).cohort.model_dump(mode="json")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def dump_config(config: Section) -> str:
    """The resolved configuration as YAML; `load_config` of it gives `config` back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
