"""Write docs/configuration.md, every key with its meaning and default, from the schema.

python docs/update_configuration.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mirror.acquire.settings import RecipeConfig
from mirror.artefacts import write_text
from mirror.config import Config, PublishedModelConfig, Section, read_preset
from mirror.slides.settings import ExtractionConfig
from mirror.sweep import SweepConfig

PAGE = Path(__file__).resolve().parent / "configuration.md"

HEAD = """# Every key of a configuration

Written by `python docs/update_configuration.py` from the schema; a test keeps it true. A key without default must be
given, unless the preset gives it (the column says `preset`: what `mirror`, the default, gives, and for the published
kind of model what `published` gives). Paths are relative to the file they stand in. An unknown key is refused with the
nearest known one.
"""

SWEEP_HEAD = """
# Every key of a sweep

`mirror sweep` takes a file of its own: rows of settings, and the configuration files of the cohorts to run them on. A
row replaces the sections `preset`, `model` and `pretraining` of a cohort's file.
"""

SLIDES_HEAD = """
# Every key of the settings of `mirror slides`

A file of its own as well, because several cohorts may share the features of a slide. How to use it:
[slides.md](slides.md).
"""

RECIPE_HEAD = """
# Every key of a recipe

`mirror data` takes a recipe of the package (`mirror data list`), or a file of your own; `--settings FILE` puts some of
these keys before a recipe's. How to use it: [data.md](data.md).
"""


def page() -> str:
    """The page as Markdown, a table a section."""
    sections: list[str] = []
    _describe(Config, "", read_preset("mirror"), sections)
    sweep: list[str] = []
    _describe(SweepConfig, "", None, sweep, root="A sweep's root")
    slides: list[str] = []
    _describe(ExtractionConfig, "", None, slides, root="The settings")
    recipes: list[str] = []
    _describe(RecipeConfig, "", None, recipes, root="A recipe's root")
    parts = (HEAD, sections, SWEEP_HEAD, sweep, SLIDES_HEAD, slides, RECIPE_HEAD, recipes)
    return "".join(text for part in parts for text in part)


def _describe(section: type[Section], above: str, preset: Any, sections: list[str], *, root: str = "The root") -> None:
    lines = [
        f"\n## {above.rstrip('.') or root}\n\n{_one_line(section.__doc__)}\n",
        "| key | values | default | meaning |",
    ]
    lines.append("|---|---|---|---|")
    below: list[tuple[type[Section], str, Any]] = []
    fields = section.model_fields.values()
    single = {kind for field in fields if get_origin(field.annotation) is not tuple for kind in _sections_of(field)}
    for name, field in section.model_fields.items():
        inner = _sections_of(field)
        given = preset.get(name) if isinstance(preset, dict) else None
        if inner:
            path = f"{above}{name}.NAME." if get_origin(field.annotation) is Mapping else f"{above}{name}."
            for kind in inner:
                published = kind is PublishedModelConfig
                below.append((kind, path, read_preset("published")["model"] if published else given))
            is_list = get_origin(field.annotation) is tuple
            what = "list of sections" if is_list else "section"
            what += "" if field.is_required() or field.default is not None else ", optional"
            meaning = field.description or " Or: ".join(_one_line(kind.__doc__) for kind in inner)
            lines.append(f"| `{name}` | {what} | | {_one_line(meaning)} |")
            if is_list and inner[0] in single:  # its keys are told there
                below = [one for one in below if one[1] != f"{above}{name}."]
            continue
        in_preset = isinstance(preset, dict) and name in preset
        default = f"preset: `{given}`" if in_preset else _default(field)
        lines.append(f"| `{name}` | {_values(field)} | {default} | {_one_line(field.description)} |")
    sections.append("\n".join(lines) + "\n")
    for inner, path, given in below:
        _describe(inner, path, given, sections)


def _sections_of(field: FieldInfo) -> list[type[Section]]:
    inside = get_args(field.annotation)
    candidates = (field.annotation, *inside, *(kind for one in inside for kind in get_args(one)))
    return [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)]


def _values(field: FieldInfo) -> str:
    text = str(field.annotation) if get_args(field.annotation) else getattr(field.annotation, "__name__", "")
    for verbose, short in (
        ("typing.", ""),
        ("collections.abc.", ""),
        ("pathlib.", ""),
        ("_local.", ""),
        ("<class '", ""),
        ("'>", ""),
    ):
        text = text.replace(verbose, short)
    if text.startswith("Literal["):
        text = text.removeprefix("Literal[").rstrip("]").replace("'", "`")
    bounds = ", ".join(str(item).replace("annotated_types.", "") for item in field.metadata)
    text = text.split("Annotated[")[0] + "int, ...]" if "Annotated[" in text else text
    return f"{text} {bounds}".replace("|", "or").strip()


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return f"`{field.get_default(call_default_factory=True, validated_data={})}`"
    if field.default is PydanticUndefined:
        return "**required**"
    return "none" if field.default is None else f"`{field.default}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    write_text(PAGE, page())
