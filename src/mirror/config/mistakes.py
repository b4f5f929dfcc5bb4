"""What is wrong with a configuration, key by key, and what was probably meant."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import ValidationError

from mirror.config.model import MODEL_KINDS
from mirror.config.section import Section
from mirror.errors import nearest


def explain(error: ValidationError, root: type[Section]) -> str:
    """A line a mistake in what should have been a `root`: the key, what is wrong with it, what was probably meant."""
    return "\n".join(_explain(item, root) for item in error.errors())


def _explain(item: Any, root: type[Section]) -> str:
    # The kind of model stands in pydantic's locations, not in the file.
    named = [part for place, part in enumerate(item["loc"]) if not (place == 1 and item["loc"][0] == "model")]
    key = ".".join(str(part) for part in named) or "(root)"
    if item["type"] == "extra_forbidden":
        section = _section_at(item["loc"][:-1], root)
        return f"  - unknown key `{key}`{nearest(str(item['loc'][-1]), tuple(section.model_fields))}"
    if item["type"] == "missing":
        return f"  - `{key}` is missing; add it"
    return f"  - `{key}`: {item['msg'].removeprefix('Value error, ')} (found {item['input']!r:.80})"


def _section_at(location: tuple[int | str, ...], root: type[Section]) -> type[Section]:
    section = root
    for part in location:
        if isinstance(part, int):  # a place in a list of sections
            continue
        if part in MODEL_KINDS and section in MODEL_KINDS.values():
            section = MODEL_KINDS[part]
            continue
        field = section.model_fields.get(part)
        if field is None:  # the name of one of several sections, such as a row of a sweep
            continue
        given = get_args(field.annotation)
        candidates = (field.annotation, *given, *(kind for one in given for kind in get_args(one)))
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section))
    return section
