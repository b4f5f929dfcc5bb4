"""Every command and code block of the pages: what can be checked at once is, what runs is run, nothing is passed over.

A block that the tests do not run says so on the page, in the line before it: *Not run by the tests: reason.* All
others of a page run in one folder, one after the other, in the slow tests; the fast ones hold every command against
the command line's own options, every configuration against the schema, and every line of Python against its grammar.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml
from typer.main import get_command

import feature_layouts as layouts
from mirror.cli.app import app
from mirror.config import Config, changes_from_preset, checked
from mirror.workflow.schema import json_schema
from project_scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"])

FENCE = re.compile(
    r"(?P<indent>^ *)(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<body>.*?)\n(?P=indent)(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
NOT_RUN = re.compile(r"\*Not run by the tests[^*]*\*")
SHOWN = ("", "text")
"""Languages of what is shown and not run: output, trees of folders."""


class Block(NamedTuple):
    page: str
    line: int
    language: str
    body: str
    reason: str | None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line of shell, comments and continuations taken care of."""
        joined = self.body.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text()
        for found in FENCE.finditer(text):
            indent = len(found["indent"])
            body = "\n".join(line[indent:] for line in found["body"].splitlines())
            before = text[: found.start("indent")].rstrip().rsplit("\n\n", 1)[-1]
            reason = NOT_RUN.search(" ".join(before.split()))
            line = text[: found.start("fence")].count("\n") + 1
            language = found["language"].strip()
            yield Block(path.relative_to(ROOT).as_posix(), line, language, body, reason[0] if reason else None)


ALL = [block for block in blocks() if not block.language.startswith("{")]
CODE = [block for block in ALL if block.language not in SHOWN]


def cases(kept: Callable[[Block], bool]) -> list[Any]:
    return [pytest.param(block, id=f"{block.page}:{block.line}") for block in CODE if kept(block)]


def test_there_are_blocks_and_each_is_of_a_language_that_is_checked() -> None:
    assert len(CODE) > 20
    assert {block.language for block in CODE} <= {"sh", "python", "yaml"}


@pytest.mark.parametrize("block", cases(lambda block: block.language == "sh"))
def test_every_command_has_the_options_it_is_given(block: Block) -> None:
    """Also where it is not run: options that were renamed are found out."""
    for words in block.commands:
        if words[0] == "mirror":
            parse(words[1:])


def parse(words: list[str]) -> None:
    """Let the command line read the words of a command, without running it."""
    for sign in (">", "2>", "|", "&&"):
        words = words[: words.index(sign)] if sign in words else words
    command: Any = get_command(app)
    context = None
    while hasattr(command, "commands") and words and words[0] in command.commands:
        context = command.make_context("mirror", [], parent=context, resilient_parsing=True)
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands") or words == ["--help"], f"mirror has no {' '.join(words[:1])}"
    if "--help" not in words and "..." not in words:
        command.make_context("mirror", list(words), parent=context)


def test_an_option_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no-such"):
        parse(["run", "a.yaml", "--no-such"])
    with pytest.raises(AssertionError, match="no runn"):
        parse(["runn", "a.yaml"])


@pytest.mark.parametrize("block", cases(lambda block: block.language == "yaml"))
def test_every_configuration_fits_the_schema(block: Block) -> None:
    content = yaml.safe_load(block.body)
    kind = "slides" if "slides" in content else "sweep" if "rows" in content else "run"
    if kind == "run":  # a page may show the section that it speaks of alone
        rest = {"name": "x", "output": "x", "cohort": {"features": {"path": "f"}, "slides": {"path": "s"}}}
        content = {**rest, **content}
    jsonschema.Draft202012Validator(json_schema(kind)).validate(content)


def test_the_complete_example_of_a_configuration_is_the_default_preset(tmp_path: Path) -> None:
    block = next(block for block in CODE if block.page == "docs/data-formats.md" and "\nmodel:" in block.body)
    content = yaml.safe_load(block.body)
    assert content["preset"] == Config.model_fields["preset"].default
    config = checked(content, Config, where=tmp_path / "brca.yaml")
    assert changes_from_preset(config) == {}
    for section in ("model", "pretraining"):
        assert set(content[section]) == set(getattr(config, section).model_dump())


@pytest.mark.parametrize("block", cases(lambda block: block.language == "python"))
def test_every_piece_of_python_can_be_read(block: Block) -> None:
    ast.parse(block.body)


def trident_and_the_others(folder: Path) -> None:
    """What the page about other tools finds: a folder of each."""
    for place in ("trident_job", "clam_results", "stamp_output", "lazyslide_stores"):
        (folder / place).mkdir()
    layouts.trident(folder / "trident_job")
    layouts.clam(folder / "clam_results")
    layouts.stamp(folder / "stamp_output")
    layouts.lazyslide(folder / "lazyslide_stores")


def own_files(folder: Path) -> None:
    """What the page about an own cohort finds."""

    script = load_script("docs/record_session")
    script.make_folder(folder / "my_cohort")


def a_finished_demo(folder: Path) -> None:
    """What pages after the first one go on from: a demo that has run, small enough for a test."""
    from mirror.simulate.cohort import SimulationSizes, simulate_cohort

    sizes = SimulationSizes(patients=60, genes=60, tile_features=16, tiles=(8, 20))
    simulate_cohort(folder / "demo", seed=0, sizes=sizes)
    quick = {"pretraining": {"tiles": 12, "epochs": 2}, "model": {"components": 6}, "evaluation": {"components": [4]}}
    config = folder / "demo" / "demo.yaml"
    content = yaml.safe_load(config.read_text())
    config.write_text(config.read_text().split("# The default preset;")[0] + yaml.safe_dump(quick))
    assert content["name"] == "demo"


def nothing(folder: Path) -> None:
    """The page begins in an empty folder."""
    del folder


READY = {
    "docs/other-tools.md": trident_and_the_others,
    "docs/own-cohort.md": own_files,
    "docs/models.md": a_finished_demo,
    "docs/leaks.md": a_finished_demo,
    "docs/cluster.md": a_finished_demo,
    "docs/report.md": a_finished_demo,
    "docs/explain.md": a_finished_demo,
    "docs/start.md": nothing,
    "docs/command-line.md": nothing,
    "docs/data.md": nothing,
}
"""What lies in the folder before the first block of a page runs. Pages that are not here have no block that is run."""

RUN = "mirror run demo/demo.yaml"
SLIDES = """
mirror demo --slides
mkdir -p other/features other/scans
cp demo-slides/extracted/features/SIM-0000-DX1.h5 other/features/NEW.h5
cp demo-slides/scans/SIM-0000-DX1.tif other/scans/NEW.tif
"""
BEFORE = {"docs/models.md": RUN, "docs/report.md": RUN, "docs/explain.md": RUN + SLIDES}
"""What was run before the first block of a page."""


def test_a_page_with_blocks_to_run_is_run_and_every_other_block_says_why_not() -> None:
    silent = [
        f"{block.page}:{block.line}"
        for block in CODE
        if block.page not in READY and block.language != "yaml" and block.reason is None
    ]
    assert silent == []
    assert set(READY) <= {block.page for block in CODE}


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(READY))
def test_every_block_of_a_page_runs_one_after_the_other(page: str, tmp_path: Path) -> None:
    READY[page](tmp_path)
    environment = with_mirror(tmp_path)
    if page in BEFORE:
        execute(Block(page, 0, "sh", BEFORE[page], None), tmp_path, environment)
    ran = 0
    with sources_on_this_machine(tmp_path) if page == "docs/data.md" else nullcontext():
        for block in CODE:
            if block.page == page and block.reason is None and block.language in ("sh", "python"):
                execute(block, tmp_path, environment)
                ran += 1
    assert ran


@contextmanager
def sources_on_this_machine(folder: Path) -> Iterator[None]:
    """What the recipe `brca` and the plain one of TCGA-BLCA ask for, from a server to which `mirror data` is led."""
    from mirror.acquire.settings import load_recipe
    from mirror.simulate.archive import Archive
    from mirror.simulate.sources import SourceSizes, content_of, simulate_sources

    sizes = SourceSizes(patients=60, transcripts=240, others=5)
    content, people = simulate_sources(load_recipe("brca"), folder / ".sources", seed=0, sizes=sizes)
    plain = load_recipe("TCGA-BLCA")
    others = content_of(plain, [replace(one, name=f"{one.name[:-1]}Z", project="TCGA-BLCA") for one in people], seed=0)
    content.hits = {kind: [*hits, *others.hits[kind]] for kind, hits in content.hits.items()}
    with Archive(content) as archive:
        over = {"hosts": archive.hosts.model_dump(), "toil": {"transcripts": sizes.transcripts}}
        (folder / ".settings.yaml").write_text(yaml.safe_dump(over))
        yield


def with_mirror(folder: Path) -> dict[str, str]:
    """An environment in which the command `mirror` is the one under test, and `mirror data` asks the sources here."""
    place = folder / ".bin"
    place.mkdir()
    program = place / "mirror"
    settings = folder / ".settings.yaml"
    led = f'[ "$1" = data ] && [ -e "{settings}" ] && set -- "$@" --settings "{settings}"'
    program.write_text(f'#!/bin/sh\n{led}\nexec "{sys.executable}" -m mirror "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    source = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": source, "NO_COLOR": "1"}


def execute(block: Block, folder: Path, environment: dict[str, str]) -> None:
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run([*command, block.body], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.page}:{block.line}\n{done.stdout}{done.stderr}"
