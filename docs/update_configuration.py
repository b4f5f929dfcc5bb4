"""Write docs/configuration.md, every key with its meaning and default, from the schema.

python docs/update_configuration.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mirror.artefacts import write_text
from mirror.config import Config, Section, read_preset

PAGE = Path(__file__).resolve().parent / "configuration.md"

HEAD = """# Every key of a configuration

Written by `python docs/update_configuration.py` from the schema; a test keeps it true. A key without default must be
given, unless the preset gives it (the column says `preset`; here is what `published` gives). Paths are relative to the
file they stand in. An unknown key is refused with the nearest known one.
"""


def page() -> str:
    """The page as Markdown, a table a section."""
    sections: list[str] = []
    _describe(Config, "", read_preset("published"), sections)
    return HEAD + "".join(sections)


def _describe(section: type[Section], above: str, preset: Any, sections: list[str]) -> None:
    lines = [
        f"\n## {above.rstrip('.') or 'The root'}\n\n{_one_line(section.__doc__)}\n",
        "| key | values | default | meaning |",
    ]
    lines.append("|---|---|---|---|")
    below: list[tuple[type[Section], str, Any]] = []
    for name, field in section.model_fields.items():
        inner = _section_of(field)
        given = preset.get(name) if isinstance(preset, dict) else None
        if inner is not None:
            below.append((inner, f"{above}{name}.", given))
            kind = "section" if field.is_required() or field.default is not None else "section, optional"
            lines.append(f"| `{name}` | {kind} | | {_one_line(inner.__doc__)} |")
            continue
        in_preset = isinstance(preset, dict) and name in preset
        default = f"preset: `{given}`" if in_preset else _default(field)
        lines.append(f"| `{name}` | {_values(field)} | {default} | {_one_line(field.description)} |")
    sections.append("\n".join(lines) + "\n")
    for inner, path, given in below:
        _describe(inner, path, given, sections)


def _section_of(field: FieldInfo) -> type[Section] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)), None)


def _values(field: FieldInfo) -> str:
    text = str(field.annotation) if get_args(field.annotation) else getattr(field.annotation, "__name__", "")
    for verbose, short in (("typing.", ""), ("pathlib.", ""), ("_local.", ""), ("<class '", ""), ("'>", "")):
        text = text.replace(verbose, short)
    if text.startswith("Literal["):
        text = text.removeprefix("Literal[").rstrip("]").replace("'", "`")
    bounds = ", ".join(str(item).replace("annotated_types.", "") for item in field.metadata)
    text = text.split("Annotated[")[0] + "int, ...]" if "Annotated[" in text else text
    return f"{text} {bounds}".replace("|", "or").strip()


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "**required**"
    return "none" if field.default is None else f"`{field.default}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "or")


if __name__ == "__main__":
    write_text(PAGE, page())
