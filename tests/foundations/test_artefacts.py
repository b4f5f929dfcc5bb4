"""Files appear whole or not at all, and say what they are."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.artefacts import fingerprint, hash_file, read_json, remove_asides, write_aside, write_json, write_text
from mirror.errors import ArtefactError, DataError, MirrorError, UnwritableError, raise_together


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), write_aside(path) as aside:
        aside.write_text("half of the new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_is_an_error_that_names_the_file_and_leaves_no_half_of_it(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from mirror.artefacts import write_text;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_text(Path(sys.argv[1]), 'x' * 100_000)"
    )
    path = tmp_path / "large.txt"
    ended = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert ended.returncode != 0
    assert "mirror.errors.UnwritableError: could not write " in ended.stderr
    assert str(path) in ended.stderr
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_json_of_another_schema_or_damaged_or_missing_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "cohort.json"
    for text, says in (("{", "damaged"), ('{"schema": 99}', "schema 99"), ("[1]", "schema none")):
        path.write_text(text)
        with pytest.raises(ArtefactError, match=says):
            read_json(path)
    with pytest.raises(ArtefactError, match="missing"):
        read_json(tmp_path / "gone.json")


def test_json_reads_back_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"patients": ["Ä", "B"], "share": 0.1})
    read = read_json(tmp_path / "a.json")
    assert (read["patients"], read["share"]) == (["Ä", "B"], 0.1)


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    script = "from mirror.artefacts import fingerprint; print(fingerprint({'b': 1, 'a': (2, 'x')}, 3))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert other == fingerprint({"a": (2, "x"), "b": 1}, 3)
    assert other != fingerprint({"a": (2, "x"), "b": 1}, 4)


def test_the_hash_of_a_file_is_of_its_bytes(tmp_path: Path) -> None:
    for name, content in (("a", b"x" * 3_000_000), ("b", b"x" * 3_000_000), ("c", b"x" * 2_999_999)):
        (tmp_path / name).write_bytes(content)
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b") != hash_file(tmp_path / "c")


def test_problems_are_raised_once_and_all_together() -> None:
    raise_together(DataError, "nothing wrong:", [])
    with pytest.raises(DataError) as caught:
        raise_together(DataError, "wrong:", [f"row {n}" for n in range(25)])
    assert "row 19" in str(caught.value)
    assert "5 more" in str(caught.value)
    assert isinstance(caught.value, MirrorError)


def test_two_writers_of_one_name_do_not_meet_even_when_their_processes_have_one_number(tmp_path):
    # In containers on two machines that share a folder both may be process 1: here both are this one.
    path = tmp_path / "lines.txt"
    with write_aside(path) as first, write_aside(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last to end
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_was_left_of_the_very_file_is_removed(tmp_path):
    asides: list = []
    for name in ("a.h5", "a.b.h5", "a.jpg"):
        with write_aside(tmp_path / name) as aside:
            asides.append(aside)
            aside.touch()
    for aside in asides:
        aside.touch()
    remove_asides(tmp_path / "a.h5")
    assert [aside.exists() for aside in asides] == [False, True, True]


def test_what_cannot_be_written_says_the_same_in_another_process_and_names_the_place_that_it_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError) as caught:
        write_text(tmp_path / "file" / "below" / "a.txt", "")
    said = str(caught.value)
    assert said.endswith(": Not a directory; free space or choose another `output`")
    assert str(pickle.loads(pickle.dumps(caught.value))) == said
    assert str(caught.value.choosing("--output")) == said.replace("`output`", "--output")


def test_a_folder_that_is_a_file_is_no_traceback(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_json(tmp_path / "file" / "a.json")
    for name in ("file/a.txt", "x" * 300):
        with pytest.raises(MirrorError, match="could not write"):
            write_text(tmp_path / name, "")
