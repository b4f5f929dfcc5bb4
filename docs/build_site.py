"""Build the documentation as a site: `python docs/build_site.py OUTPUT`; warnings are errors, nothing comes from
elsewhere.

The pages are copied first, README and CHANGELOG among them. A link to a file of the project becomes one to a page that
shows that file, so that the method's equations lead to the code they cite without any network or repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".j2": "jinja", ".txt": "text", ".html": "html"}
ELSEWHERE = re.compile(rb"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["'](?:https?:)?//[^"']+""", re.IGNORECASE)


def prepare(folder: Path) -> None:
    """Copy the pages into `folder`, their links rewritten, and write a page for each file that they cite."""
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(DOCS, folder, ignore=ignored, dirs_exist_ok=True)
    shutil.copy(DOCS / "conf.py", folder)
    pages = {page: DOCS / page.relative_to(folder) for page in folder.rglob("*.md")}
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        pages[folder / name.lower()] = ROOT / name
    cited: set[Path] = set()
    for page, origin in pages.items():
        text = origin.read_text(encoding="utf-8")
        page.write_text(
            LINK.sub(lambda link, o=origin, p=page: _rewritten(link, o, p, folder, cited), text), encoding="utf-8"
        )
    for path in sorted(cited):
        _write_code_page(folder, path)
    code = sorted(_code_page(folder, path).relative_to(folder / "code").as_posix() for path in cited)
    _write_index(folder / "code" / "index.md", "The files that are cited", code)
    _write_index(folder / "adr" / "index.md", "Decisions", sorted(path.name for path in (DOCS / "adr").glob("*.md")))
    index = (folder / "index.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(
        index.replace("\nchangelog\n", "\nchangelog\ncontributing\ncode/index\n"), encoding="utf-8"
    )


def _rewritten(link: re.Match[str], origin: Path, page: Path, folder: Path, cited: set[Path]) -> str:
    """The link as the site has it: between pages, or to the page of a file of the project."""
    before, target, after = link.groups()
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    path = (origin.parent / target).resolve()
    if not path.is_relative_to(ROOT) or not path.exists():
        raise SystemExit(f"{origin.relative_to(ROOT)} links to {target}, which is not there")
    inside = _place(path, folder)
    if inside is None:
        cited.add(path)
        inside, after = _code_page(folder, path), ")"
    up = "../" * len(page.relative_to(folder).parent.parts)
    return f"{before}{up}{inside.relative_to(folder).as_posix()}{after}"


def _place(path: Path, folder: Path) -> Path | None:
    """Where a page or picture of the project is in the site; None for what is none."""
    if path.parent == ROOT and path.name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        return folder / path.name.lower()
    if path.is_relative_to(DOCS) and path.suffix != ".py":
        return folder / path.relative_to(DOCS)
    return None


def _code_page(folder: Path, path: Path) -> Path:
    return folder / "code" / f"{path.relative_to(ROOT).as_posix()}.md"


def _write_code_page(folder: Path, path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        names = (
            item.relative_to(path).as_posix() for item in sorted(path.rglob("*")) if "__pycache__" not in item.parts
        )
        text, language = "\n".join(names), "text"
    else:
        text, language = path.read_text(encoding="utf-8"), LANGUAGES.get(path.suffix, "text")
    page = _code_page(folder, path)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"# {name}\n\n``````{{code-block}} {language}\n:linenos:\n\n{text}\n``````\n", encoding="utf-8")


def _write_index(path: Path, title: str, pages: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(page.removesuffix(".md") for page in pages)
    path.write_text(f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{lines}\n```\n", encoding="utf-8")


def build(output: Path) -> None:
    """Build the site into `output`. Ends the program with Sphinx's own words where anything is amiss."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pages"
        prepare(folder)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(folder), str(output)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    foreign = [page for page in output.rglob("*.html") if ELSEWHERE.search(page.read_bytes())]
    if foreign:
        raise SystemExit(f"these pages load something from elsewhere: {', '.join(map(str, foreign))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    build(Path(sys.argv[1]))
