"""Paths in sections: taken from the file they stand in, as URLs, as names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mirror.config.section import S, Section


def rebased(section: S, folder: Path) -> S:
    """The section with its relative paths taken from `folder`; URLs stay."""
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path) and not is_remote(value):
            changed[name] = Path(folder, value.expanduser()).resolve()
        elif isinstance(value, Section):
            changed[name] = rebased(value, folder)
        elif isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
            changed[name] = tuple(rebased(item, folder) for item in value)
    return section.model_copy(update=changed)


def shareable(section: S) -> S:
    """The settings with names for paths: a report or a model is given to others, the folders of a disk are not."""
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = Path(value.name)
        elif isinstance(value, Section):
            changed[name] = shareable(value)
        elif isinstance(value, tuple):
            changed[name] = tuple(shareable(item) if isinstance(item, Section) else item for item in value)
    return section.model_copy(update=changed)


def is_remote(path: Path) -> bool:
    """True for what was written as a URL, such as `s3://bucket/features`; as a path it reads `s3:/bucket/features`."""
    return re.fullmatch(r"[a-z][a-z0-9+.-]+:", next(iter(path.parts), "")) is not None


def url_of(path: Path) -> str:
    """The URL that a remote path stands for."""
    scheme, *names = path.parts
    return f"{scheme}//{'/' if scheme in ('file:', 'local:') else ''}{'/'.join(names)}"
