"""Every command keeps the same promises: help, exit codes, JSON for tables, no colour where none is wanted."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from mirror.cli import tables
from mirror.cli.app import app, main
from mirror.cli.as_json import print_json
from mirror.config import load_config, preset_names
from mirror.errors import DataError
from mirror.workflow import doctor
from mirror.workflow.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)[;\dm]")


def commands(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the app by its words, those of groups included."""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands()]
every_command = pytest.mark.parametrize(("words", "command"), ALL)


def call(*words: str | Path, code: int | None = None) -> Any:
    done = CliRunner().invoke(app, list(map(str, words)))
    if code is not None:
        assert done.exit_code == code, done.output
    return done


def body(command: Any) -> str:
    """The source of a command and of the functions of the command line that it calls."""
    function = inspect.unwrap(command.callback)
    module = inspect.getmodule(function)
    text = inspect.getsource(function)
    for name in {
        node.func.id
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }:
        helper: Callable[..., Any] | None = getattr(module, name, None)
        if re.search(rf"\b{name}\(", text) and inspect.isfunction(helper) and helper.__module__ == module.__name__:
            text += inspect.getsource(helper)
    return text


@every_command
def test_it_has_help_and_says_what_each_option_is(words: tuple[str, ...], command: Any) -> None:
    assert call(*words, "--help", code=0).output
    assert [option.name for option in command.params if not option.help] == []


@every_command
def test_an_option_that_does_not_exist_is_exit_code_2(words: tuple[str, ...], command: Any) -> None:
    del command
    done = call(*words, "--no-such-option", code=2)
    assert "no-such-option" in done.output


@every_command
def test_a_table_can_be_had_as_json(words: tuple[str, ...], command: Any) -> None:
    """A command that makes a table of rich has --json; one that has it does not print a table besides."""
    has_json = any("--json" in option.opts for option in command.params)
    text = body(command)
    makers = [
        name for name, made in vars(tables).items() if inspect.isfunction(made) and "Table" in str(made.__annotations__)
    ]
    makes_table = any(f"{name}(" in text for name in ("Table", *makers))
    assert has_json or not makes_table, f"`mirror {' '.join(words)}` prints a table and has no --json"
    assert not has_json or "print_json(" in text or "as_json=as_json" in text


@every_command
def test_a_missing_file_is_exit_code_1_with_a_message_and_no_traceback(
    words: tuple[str, ...], command: Any, tmp_path: Path
) -> None:
    needed = [option for option in command.params if option.required]
    if not needed or words in (("data", "list"),):
        return
    given: list[str] = []
    for option in needed:
        value = str(tmp_path / "absent.yaml")
        given += [value] if option.param_type_name == "argument" else [option.opts[0], value]
    done = call(*words, *given)
    assert done.exit_code in (1, 2), done.output  # 2: a value of another kind is asked for
    assert "Traceback" not in done.output
    assert done.exit_code == 2 or "error:" in done.output


def test_what_is_no_users_mistake_is_exit_code_70_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError(path)

    monkeypatch.setattr("mirror.cli.cohort.load_config", broken)
    monkeypatch.setattr(sys, "argv", ["mirror", "cohort", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "please report" in said


def test_exit_codes_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE)) == {"0", "1", "2", "70", "130"}


def test_every_command_is_on_the_page() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    assert [" ".join(words) for words, _ in commands() if f"`mirror {' '.join(words)}`" not in page] == []


def test_no_colour_where_none_is_wanted() -> None:
    """In a real terminal: help, a table, and an error, with and without NO_COLOR."""
    script = (
        "import sys; from mirror.cli.app import app\n"
        "for words in (['--help'], ['doctor', '--help'], ['cohort', 'absent.yaml'], ['config', 'show', "
        "'absent.yaml']):\n"
        "    try: app(words)\n"
        "    except SystemExit: pass\n"
        "from rich.console import Console; from mirror.cli.tables import import_table\n"
        "Console().print(import_table([]), style='red')\n"
    )
    assert COLOUR.search(in_terminal(script, {}))
    quiet = in_terminal(script, {"NO_COLOR": "1"})
    assert "absent.yaml" in quiet
    assert COLOUR.search(quiet) is None


def in_terminal(script: str, more: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", **more}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    process.wait()
    os.close(ours)
    return shown.decode()


def test_completion_is_offered_for_the_shells() -> None:
    """Of the program itself: what a shell asks it, and what it answers."""
    environment = {**os.environ, "_MIRROR_COMPLETE": "complete_bash", "COMP_WORDS": "mirror ev", "COMP_CWORD": "1"}
    script = "import sys; sys.argv = ['mirror']; from mirror.cli.app import app; app(prog_name='mirror')"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "evaluate" in done.stdout.split()


def test_json_has_no_nan_and_keeps_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a"), "table": pd.DataFrame({"x": [1.5, float("nan")]}), "n": pd.Series([1]).iloc[0]})
    assert json.loads(capsys.readouterr().out) == {"path": "a", "table": [{"x": 1.5}, {"x": None}], "n": 1}


CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_takes_every_configuration_of_the_project(path: Path) -> None:
    jsonschema.Draft202012Validator(json_schema("run")).validate(yaml.safe_load(path.read_text()))


def test_the_schema_of_a_sweep_takes_the_projects_own() -> None:
    validator = jsonschema.Draft202012Validator(json_schema("sweep"))
    for path in (ROOT / "configs" / "sweeps").glob("*.yaml"):
        validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "change",
    [{"nam": "x"}, {"pretraining": {"epoch": 3}}, {"seeds": "0"}, {"cohort": {"features": {"path": "f"}}}],
    ids=["unknown key", "unknown key below", "wrong kind", "missing section"],
)
def test_the_schema_refuses_what_the_package_refuses(change: dict[str, Any]) -> None:
    good = {"name": "x", "output": "o", "cohort": {"features": {"path": "f"}, "slides": {"path": "s.csv"}}}
    validator = jsonschema.Draft202012Validator(json_schema("run"))
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **change})


@pytest.mark.parametrize("preset", preset_names())
def test_a_configuration_that_is_shown_is_the_same_again(preset: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    cohort = {"features": {"path": "f"}, "slides": {"path": "s.csv"}}
    path.write_text(yaml.safe_dump({"name": "x", "output": "o", "preset": preset, "cohort": cohort}))
    (tmp_path / "b.yaml").write_text(call("config", "show", path, code=0).stdout)
    assert load_config(tmp_path / "b.yaml") == load_config(path)
    assert json.loads(call("config", "show", path, "--json", code=0).stdout)["preset"] == preset


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(call("config", "schema", code=0).stdout) == json_schema("run")


@pytest.fixture
def quick_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the encoders, whose library takes seconds to load; `test_encoders` looks at those."""
    monkeypatch.setattr(doctor, "encoders_found", list)


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the disk and the memory of the machine that runs the tests."""
    monkeypatch.setattr(doctor, "free_space", lambda _: doctor.LEAST_DISK)
    monkeypatch.setattr(doctor, "memory_limit", lambda: doctor.LEAST_MEMORY)


@pytest.mark.usefixtures("quick_doctor", "roomy")
def test_a_machine_that_is_ready_is_exit_code_0(tmp_path: Path) -> None:
    found = json.loads(call("doctor", tmp_path, "--json", code=0).stdout)
    assert found["ready"] is True
    states = {one["topic"]: one["state"] for one in found["findings"]}
    assert states["self-test"] == "good"
    assert states["libraries"] == "good"
    assert {"mirror", "processor", "GPU", "memory", "disk", "temporary", "hub's cache", "extra slides"} <= set(states)


@pytest.mark.usefixtures("quick_doctor")
def test_a_problem_has_its_remedy_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: ["torch>=999", "no-such-library>=2", "numpy>=1.26"])
    monkeypatch.setattr(doctor, "memory_limit", lambda: 1 << 30)
    found = json.loads(call("doctor", tmp_path, "--json", code=1).stdout)
    assert found["ready"] is False
    wrong = {one["found"]: one["remedy"] for one in found["findings"] if one["state"] == "problem"}
    assert 'pip install "torch>=999"' in wrong.values()
    assert 'pip install "no-such-library>=2"' in wrong.values()
    assert any("larger machine" in remedy for remedy in wrong.values())
    assert all(wrong.values())
    table = call("doctor", tmp_path, code=1).output
    assert "pip install" in " ".join(table.split())


@pytest.mark.usefixtures("quick_doctor", "roomy")
def test_a_full_disk_is_a_problem_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "free_space", lambda _: doctor.LEAST_DISK - 1)
    found = json.loads(call("doctor", tmp_path, "--json", code=1).stdout)
    wrong = {one["topic"]: one["remedy"] for one in found["findings"] if one["state"] == "problem"}
    assert set(wrong) == {"disk", "temporary"}
    assert all("free space" in remedy for remedy in wrong.values())


def test_an_extras_libraries_are_not_missed_where_it_is_not_asked_for() -> None:
    assert list(doctor.wrong_versions(['lazyslide>=99; extra == "slides"'])) == []
    assert [name for name, _, _ in doctor.wrong_versions(['lazyslide>=99; extra == "slides"'], extra="slides")] == [
        "lazyslide"
    ]


def test_a_device_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*_: Any) -> Any:
        raise DataError("weights.safetensors is damaged")

    assert doctor.self_test().state == "good"
    monkeypatch.setattr(doctor, "load_weights", other)
    found = doctor.self_test()
    assert found.state == "problem"
    assert "damaged" in found.found


def test_the_declared_dependencies_are_what_doctor_looks_at() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(doctor.wrong_versions(declared)) == []
    with pytest.raises(PackageNotFoundError):
        doctor.version("no-such-library")


def test_every_extra_is_looked_at_and_a_missing_one_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(declared) - {"docs", "dev"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert {one.topic: one.remedy for one in doctor.extras_found()} == {
        f"extra {name}": f'pip install "mirror-pathology[{name}]"' for name in doctor.EXTRAS
    }


def test_encoders_have_licences() -> None:
    pytest.importorskip("lazyslide_models", reason="needs the extra `slides`, which is not installed")
    from mirror.slides.licences import encoder_terms

    terms = encoder_terms()
    assert terms["uni"].licence == "CC-BY-NC-ND-4.0"
    assert terms["uni"].commercial is False
    assert terms["uni"].gated
    assert terms["h-optimus-0"].commercial is True
    assert all(one.licence for one in terms.values())
    found = {one.topic: one for one in doctor.encoders_found()}
    assert "no commercial use" in found["encoder uni"].found
