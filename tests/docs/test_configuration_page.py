"""The page of configuration keys is what the schema says."""

from __future__ import annotations

from pathlib import Path

from project_scripts import load_script

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    script = load_script("docs/update_configuration")
    assert (DOCS / "configuration.md").read_text() == script.page()
