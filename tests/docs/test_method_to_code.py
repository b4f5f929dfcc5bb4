"""The pages that cite code cite code that is there; read without importing anything of it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("method-to-code.md", "deviations.md", "leaks.md")
LINK = re.compile(r"\[([^\]\n]+)\]\(([^)\s]+)\)")
CITATION = re.compile(r"([\w/]+\.(?:py|yaml)):([\w.]+)")


class Link(NamedTuple):
    page: str
    text: str
    target: str


def links() -> list[Link]:
    """Every link of the pages to a file of the project."""
    found = [Link(page, *link) for page in PAGES for link in LINK.findall((ROOT / "docs" / page).read_text())]
    return [link for link in found if "://" not in link.target]


def citations() -> list[object]:
    """Every `[file:name](path)` once."""
    cited = dict.fromkeys(link for link in links() if CITATION.fullmatch(link.text))
    return [pytest.param(link, id=f"{link.page}-{link.text}") for link in cited]


def rows(page: str) -> list[str]:
    """The body rows of the tables of a page."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    heads = {number for number, line in enumerate(lines) if line.startswith("|---")}
    return [line for number, line in enumerate(lines) if line.startswith("|") and not {number, number + 1} & heads]


@cache
def names_in(path: Path) -> frozenset[str]:
    """Dotted names that a file defines: keys of a YAML file; of Python functions, classes, their methods, constants,
    and the attributes that a class declares or its methods set on `self`."""
    if path.suffix == ".yaml":
        return frozenset(_keys(yaml.safe_load(path.read_text()), ""))
    return frozenset(_definitions(ast.parse(path.read_text()).body, ""))


def _keys(content: object, prefix: str) -> list[str]:
    if not isinstance(content, dict):
        return []
    return [name for key, value in content.items() for name in (prefix + key, *_keys(value, f"{prefix}{key}."))]


def _definitions(body: list[ast.stmt], prefix: str) -> list[str]:
    found: list[str] = []
    for node in body:
        match node:
            case ast.ClassDef():
                found += [prefix + node.name, *_definitions(node.body, f"{prefix}{node.name}.")]
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.append(prefix + node.name)
                if prefix:
                    found += [prefix + name for name in _set_on_self(node)]
            case ast.Assign():
                found += [prefix + target.id for target in node.targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.append(prefix + name)
            case _:
                pass
    return found


def _set_on_self(function: ast.AST) -> list[str]:
    stored = [
        node for node in ast.walk(function) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]
    return [node.attr for node in stored if isinstance(node.value, ast.Name) and node.value.id == "self"]


@pytest.mark.parametrize("citation", citations())
def test_a_cited_name_is_in_the_cited_file(citation: Link) -> None:
    file, name = citation.text.split(":")
    path = (ROOT / "docs" / citation.target).resolve()
    assert path.is_file(), f"{citation.page} cites {citation.target}, which does not exist"
    assert path.as_posix().endswith(f"/{file}"), f"{citation.page} writes {file} and links to {citation.target}"
    assert name in names_in(path), f"{citation.page} cites {name}, which {file} does not define"


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page: str) -> None:
    targets = [link.target.split("#")[0] for link in links() if link.page == page]
    assert targets
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []


def test_every_statement_has_code_or_says_that_it_has_none() -> None:
    stated = rows("method-to-code.md")
    assert len(stated) > 60
    assert [row for row in stated if "](../src/" not in row and "not in the package" not in row] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_row_has_as_many_cells_as_its_table(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables
    assert [table for table in tables if len({row.count("|") for row in table.splitlines()}) != 1] == []


def test_a_name_that_does_not_exist_would_be_noticed() -> None:
    names = names_in(ROOT / "src" / "mirror" / "nn" / "attention.py")
    assert {"nystrom_attention", "TokenAttention.forward", "TokenAttention.qkv", "AUTO_TOKENS"} <= names
    assert {"torch", "forward", "TokenAttention.no_such_part"}.isdisjoint(names)
