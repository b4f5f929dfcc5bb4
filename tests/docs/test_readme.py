"""The README's tree is the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from project_scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


def listed_paths(text: str) -> set[str]:
    """Paths of the tree in a README: two spaces an indentation, folders end in a slash, a note after two spaces."""
    block = re.search(r"## The tree\n+```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    above: list[str] = []
    paths: set[str] = set()
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0]
        above = above[:depth]
        for name in names.split():
            paths.add("/".join([*above, name.strip("/")]))
        if names.endswith("/"):
            above.append(names.strip("/"))
    return paths


def test_every_module_of_the_package_stands_in_the_tree_and_nothing_else() -> None:
    listed = {path for path in listed_paths((ROOT / "README.md").read_text()) if path.startswith("src/mirror/")}
    paths = [path for path in (ROOT / "src" / "mirror").rglob("*") if "__pycache__" not in path.parts]
    there = {path.relative_to(ROOT).as_posix() for path in paths if path.name not in ("__init__.py", "py.typed")}
    assert listed == there


def test_every_other_path_of_the_tree_exists() -> None:
    for path in listed_paths((ROOT / "README.md").read_text()):
        assert (ROOT / path).exists(), path


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_of_a_sweep_goes_between_its_markers(tmp_path: Path) -> None:
    script = load_script("docs/update_readme")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "table.md").write_text("| a\\1 |\n|---|\n")
    before, after = "above\n<!-- sweep:small -->\n", "<!-- /sweep -->\nbelow\n"
    assert script.with_table(f"{before}old\n{after}", "small", tmp_path) == f"{before}| a\\1 |\n|---|\n{after}"
    with pytest.raises(SystemExit, match="sweep:other"):
        script.with_table(f"{before}{after}", "other", tmp_path)
