"""In which settings two sections differ, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.config.paths import shareable
from mirror.config.section import Section


def settings_of(section: Section) -> dict[str, Any]:
    """All settings as JSON has them, names for paths: a folder that was moved holds the same files."""
    return shareable(section).model_dump(mode="json")


def differing(now: Mapping[str, Any], then: Mapping[str, Any], *, above: str = "") -> list[str]:
    """A phrase for every key under `above` that has another value in `now` than it had in `then`."""
    found: list[str] = []
    for name in sorted({*now, *then}):
        key, new, old = f"{above}.{name}".lstrip("."), now.get(name), then.get(name)
        if new == old:
            continue
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            found += differing(new, old, above=key)
        else:
            found.append(f"`{key}` is {_told(new)}, was {_told(old)}")
    return found


def _told(value: Any) -> str:
    if value is None:
        return "left out"
    return f"'{value}'" if isinstance(value, str) else "given" if isinstance(value, Mapping) else str(value)
