"""The documentation is a site: every link leads somewhere, warnings are errors, nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from project_scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("docs/build_site")


def test_every_link_of_every_page_leads_to_a_page_of_the_site(script: ModuleType, tmp_path: Path) -> None:
    script.prepare(tmp_path)
    pages = [page for page in tmp_path.rglob("*.md") if "code" not in page.relative_to(tmp_path).parts]
    assert len(pages) > 20
    links = [(page, target) for page in pages for _, target, _ in script.LINK.findall(page.read_text())]
    inner = [(page, target) for page, target in links if "://" not in target]
    assert inner
    assert [f"{page.name}: {target}" for page, target in inner if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_table_of_contents(script: ModuleType, tmp_path: Path) -> None:
    script.prepare(tmp_path)
    listed: set[Path] = set()
    for page in (tmp_path / "index.md", tmp_path / "adr" / "index.md", tmp_path / "code" / "index.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {page.parent / f"{name}.md" for name in names}
    assert set(tmp_path.rglob("*.md")) == {*listed, tmp_path / "index.md"}


def test_an_equation_leads_to_the_code_that_computes_it(script: ModuleType, tmp_path: Path) -> None:
    script.prepare(tmp_path)
    page = (tmp_path / "method-to-code.md").read_text()
    assert "](code/src/mirror/nn/attention.py.md)" in page
    assert "def nystrom_attention(" in (tmp_path / "code/src/mirror/nn/attention.py.md").read_text()


def test_a_link_that_leads_nowhere_stops_the_build(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    (docs / "adr").mkdir(parents=True)
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/conf.py"):
        (tmp_path / name).write_text("nothing\n")
    (docs / "index.md").write_text("# Title\n\n[broken](no_such_page.md)\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "DOCS", docs)
    with pytest.raises(SystemExit, match=r"no_such_page\.md, which is not there"):
        script.prepare(tmp_path / "site")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(script: ModuleType, tmp_path: Path) -> None:
    script.build(tmp_path / "site")
    index = (tmp_path / "site" / "index.html").read_text()
    assert "My own cohort" in index
    assert "mirror.load" in (tmp_path / "site" / "python-api.html").read_text()
    assert "one_is_censored" in (tmp_path / "site" / "own-cohort.html").read_text()
