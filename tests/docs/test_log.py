"""The log is whole: every experiment stands there once, with its question before and its answer behind the numbers."""

from __future__ import annotations

import re
from pathlib import Path

LOG = Path(__file__).resolve().parents[2] / "docs" / "log.md"
PARTS = ("Hypothesis", "Command", "Numbers", "Verdict")


def entries() -> dict[str, list[str]]:
    """Title -> the parts that begin a line of it, in their order; of the entries proper."""
    text = LOG.read_text(encoding="utf-8").partition("\n## Entries\n")[2]
    blocks = re.split(r"(?m)^## ", text)[1:]
    titles = [block.partition("\n")[0] for block in blocks]
    assert len(titles) == len(set(titles)), sorted({title for title in titles if titles.count(title) > 1})
    begins = re.compile(rf"(?m)^({'|'.join(PARTS)})\b[^:\n]*:")
    return {title: begins.findall(block) for title, block in zip(titles, blocks, strict=True)}


def test_every_entry_is_there_once_and_has_its_date() -> None:
    assert all(re.match(r"\d{4}-\d{2}-\d{2}  \S", title) for title in entries())


def test_every_experiment_has_one_command_begins_with_its_hypothesis_and_ends_with_its_verdict() -> None:
    told = {title: parts for title, parts in entries().items() if parts}
    assert len(told) > 50
    wrong = {
        title: parts
        for title, parts in told.items()
        if (parts[0], parts[-1]) != ("Hypothesis", "Verdict")
        or (parts.count("Hypothesis"), parts.count("Command"), parts.count("Verdict")) != (1, 1, 1)
        or "Numbers" not in parts
    }
    assert not wrong
