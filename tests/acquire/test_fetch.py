"""Truths about fetching many files: side by side, resumed, called off, within budgets, accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
import yaml
from misbehaving import QUICK, cuts, other_bytes, says, stalls, waits_for_company

from mirror.acquire.budget import DiskFull
from mirror.acquire.client import Client, SourceError
from mirror.acquire.fetch import fetch
from mirror.acquire.lock import Lock
from mirror.acquire.manifest import Manifest
from mirror.acquire.plan import plan
from mirror.acquire.remote import TERMS, Source, checksum_of
from mirror.errors import ArtefactError
from mirror.simulate.archive import Served

PARTS = ("slides", "star", "clinical", "survival", "genes", "hipt", "toil")


def at(folder, made, parts=PARTS):
    """A folder that was planned, and the client it was planned with."""
    client = Client(made.recipe.transfer)
    return plan(made.recipe.model_copy(update={"parts": parts}), folder, client), client


def content_of(made, file):
    """What the archive has for a file."""
    path = file.url.removeprefix(made.archive.url).split("?")[0]
    return made.archive.content.files.get(path.replace("%2F", "/"))


def whole(folder, made, lock):
    """Every file is there with the bytes of the archive, and nothing is left over."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {file.path for file in lock.files} | {"lock.json", "manifest.json", ".fetching"}
    for file in lock.files:
        served = content_of(made, file)
        if served is not None:
            assert (folder / file.path).read_bytes() == served.read(0, served.size), file.path
    return True


def test_everything_comes_once_and_the_manifest_says_all_of_it(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made)
    report = fetch(lock, folder, client, made.recipe.transfer)
    assert (report.fetched, report.here, report.failed) == (len(lock.files), 0, ())
    assert whole(folder, made, lock)
    entries = Manifest(folder).entries()
    assert [entry.path for entry in entries] == sorted(file.path for file in lock.files)
    for entry in entries:
        assert entry.checksum == checksum_of(folder / entry.path, entry.checksum.split(":")[0])
        assert entry.size == (folder / entry.path).stat().st_size
        assert entry.terms == TERMS[entry.source]
        assert entry.release == lock.releases[entry.source]
        assert entry.url.startswith(made.archive.url)
        assert entry.fetched[:4].isdecimal()
    before = len(made.archive.requests)
    again = fetch(Lock.load(folder), folder, client, made.recipe.transfer)
    assert (again.fetched, again.here) == (0, len(lock.files))
    assert len(made.archive.requests) == before


def test_the_terms_of_every_source_say_where_they_stand():
    assert set(TERMS) == set(get_args(Source))
    assert [source for source, text in TERMS.items() if "https://" not in text] == []


def test_the_first_fetch_pins_what_nobody_had_a_checksum_of(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made, ("genes", "slides"))
    fetch(lock, folder, client, made.recipe.transfer)
    pinned = Lock.load(folder)
    archive = pinned.of_part("genes")[0]
    assert lock.of_part("genes")[0].checksum is None
    assert archive.checksum == checksum_of(folder / archive.path, "sha256")
    assert archive.pinned == "at first fetch"
    assert {file.pinned for file in pinned.of_part("slides")} == {"by the source"}
    (folder / archive.path).unlink()
    path = f"/intogen/{made.recipe.genes.archive}"
    served = made.archive.content.files[path]
    made.archive.content.files[path] = Served(served.body[:-1] + b"?", modified=served.modified)
    with pytest.raises(ArtefactError, match=r"came 3 times, each time with another checksum"):
        refuse_failures(fetch(pinned, folder, client, made.recipe.transfer))
    # To whom the lock is given, the same bytes come or an error.
    with pytest.raises(ArtefactError, match="another checksum"):
        refuse_failures(fetch(pinned, tmp_path / "elsewhere", client, made.recipe.transfer))
    assert plan(made.recipe.model_copy(update={"parts": ("genes",)}), folder, client).files[0].checksum is not None


def refuse_failures(report):
    if report.failed:
        raise ArtefactError("; ".join(reason for _, reason in report.failed))


def test_a_storm_of_faults_ends_in_the_same_files(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made)
    faults = [
        [says(500), cuts(100)],
        [cuts(50), cuts(50), says(503, Retry_After="0")],
        [other_bytes],
        [cuts(10)],
        [says(429)],
        [says(502), says(504), other_bytes, cuts(1)],
    ]
    files = [path for path in made.archive.content.files if path.startswith(("/gdc/data/", "/media/"))]
    for path in made.archive.content.files:
        if path.startswith("/xena/"):  # of which nobody knows a checksum, so bytes in their place would be taken
            made.archive.once(path, says(500), cuts(1000), cuts(10))
    for number, path in enumerate(files):
        made.archive.once(path, *faults[number % len(faults)])
    report = fetch(lock, folder, client, made.recipe.transfer)
    assert report.failed == ()
    assert whole(folder, made, lock)
    assert not any(made.archive.queue.values())


def test_one_bad_file_does_not_stop_the_others_and_comes_with_the_next_call(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made, ("slides",))
    bad = lock.files[3]
    path = bad.url.removeprefix(made.archive.url)
    made.archive.always[path] = says(500)
    report = fetch(lock, folder, client, made.recipe.transfer)
    assert report.fetched == len(lock.files) - 1
    assert [(file.path, "given up after 4 attempts" in reason) for file, reason in report.failed] == [(bad.path, True)]
    del made.archive.always[path]
    report = fetch(Lock.load(folder), folder, client, made.recipe.transfer)
    assert (report.fetched, report.here, report.failed) == (1, len(lock.files) - 1, ())
    assert whole(folder, made, lock)


def test_as_many_files_as_there_are_workers_are_fetched_side_by_side(simulate, tmp_path):
    made = simulate()
    lock, client = at(tmp_path / "d", made, ("slides",))
    lock = replace(lock, files=lock.files[:9])
    together = threading.Barrier(QUICK.workers)
    for file in lock.files:
        made.archive.always[file.url.removeprefix(made.archive.url)] = waits_for_company(together)
    assert fetch(lock, tmp_path / "d", client, QUICK.model_copy(update={"workers": 3})).failed == ()
    alone = QUICK.model_copy(update={"workers": 2, "read_timeout": 0.5, "attempts": 1})
    report = fetch(replace(lock, files=lock.files[:2]), tmp_path / "e", Client(alone), alone)
    assert len(report.failed) == 2  # who waits for a third waits in vain
    together.abort()


def test_controlled_files_stop_the_fetch_before_it_begins(simulate, tmp_path):
    made = simulate()
    lock, client = at(tmp_path / "d", made, ("slides",))
    locked = replace(lock, files=(*lock.files[1:], replace(lock.files[0], controlled=True)))
    before = len(made.archive.requests)
    with pytest.raises(SourceError, match=r"1 files are of controlled access, such as .*: give --token FILE"):
        fetch(locked, tmp_path / "d", client, made.recipe.transfer)
    assert len(made.archive.requests) == before


def test_a_disk_without_room_is_named_before_anything_is_fetched(simulate, small_disk):
    made = simulate()
    disk = small_disk(100)
    lock, client = at(disk, made, ("hipt",))
    before = len(made.archive.requests)
    with pytest.raises(DiskFull, match=r"are to be fetched, .* has .* free; make room"):
        fetch(lock, disk, client, made.recipe.transfer)
    assert len(made.archive.requests) == before


def test_a_budget_without_room_is_named_before_anything_is_fetched(simulate, tmp_path):
    made = simulate()
    lock, client = at(tmp_path / "d", made, ("hipt",))
    transfer = made.recipe.transfer.model_copy(update={"disk": 0.0001})
    with pytest.raises(DiskFull, match=r"more than the budget of 100\.0 kB"):
        fetch(lock, tmp_path / "d", client, transfer)


def test_a_disk_that_fills_up_stops_all_and_the_next_call_goes_on(simulate, small_disk):
    made = simulate()
    disk = small_disk(600)
    lock, _ = at(disk, made, ("hipt",))
    hidden = replace(lock, files=tuple(replace(file, size=None) for file in lock.files))  # so that nothing warns
    (disk / "ballast").write_bytes(bytes(300_000))
    with pytest.raises(DiskFull, match="is full; make room and give the same command again"):
        fetch(hidden, disk, Client(made.recipe.transfer), made.recipe.transfer)
    there = [file for file in lock.files if (disk / file.path).exists()]
    assert 0 < len(there) < len(lock.files)
    assert all(checksum_of(disk / file.path, "sha256") == file.checksum for file in there)
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=4000k", str(disk)], check=True)
    report = fetch(lock, disk, Client(made.recipe.transfer), made.recipe.transfer)
    assert report.failed == ()
    assert whole(disk, made, lock)


def test_files_of_a_process_that_was_killed_are_taken_up_by_their_checksum(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made, ("slides",))
    fetch(lock, folder, client, made.recipe.transfer)
    (folder / "manifest.json").unlink()
    spoilt = folder / lock.files[0].path
    spoilt.write_bytes(bytes(spoilt.stat().st_size))
    report = fetch(lock, folder, client, made.recipe.transfer)
    assert (report.fetched, report.here) == (1, len(lock.files) - 1)
    assert whole(folder, made, lock)
    assert len(Manifest(folder).entries()) == len(lock.files)


def test_two_fetches_never_write_into_one_folder(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made, ("slides",))
    path, tried = lock.files[0].url.removeprefix(made.archive.url), threading.Event()
    made.archive.once(path, stalls(100, tried))
    first = threading.Thread(target=fetch, args=(lock, folder, client, made.recipe.transfer))
    first.start()
    while not made.archive.asked(path):
        time.sleep(0.01)
    with pytest.raises(ArtefactError, match="another fetch is at work in"):
        fetch(lock, folder, Client(made.recipe.transfer), made.recipe.transfer)
    tried.set()
    first.join()
    assert whole(folder, made, lock)


def test_progress_counts_up_to_the_end(simulate, tmp_path):
    made = simulate()
    lock, client = at(tmp_path / "d", made, ("toil", "hipt"))
    heard = []
    fetch(lock, tmp_path / "d", client, made.recipe.transfer, progress=lambda *state: heard.append(state))
    assert [done for done, _, _ in heard] == sorted(done for done, _, _ in heard)
    assert f"{len(lock.files)}/{len(lock.files)} files" in heard[-1][2]


IN_A_LOCK = """
import os, signal, sys
from concurrent.futures import _base

once = [signal.SIGINT]
acquire = _base._AcquireFutures.__enter__

def interrupted(self):
    acquire(self)
    if once:
        os.kill(os.getpid(), once.pop())

_base._AcquireFutures.__enter__ = interrupted
from mirror.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_at_the_worst_moment_ends_the_command_as_well(simulate, tmp_path):
    """While the main thread holds the locks that all workers need to say that they are done."""
    made = simulate()
    command = [sys.executable, "-c", IN_A_LOCK, "data", "fetch", "brca", "--output", str(tmp_path / "d")]
    ended = subprocess.run(
        [*command, "--parts", "slides,clinical", "--settings", str(made.settings)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert ended.returncode == 130, ended.stderr
    assert "the same command goes on" in ended.stderr


def test_ctrl_c_keeps_what_came_and_the_same_command_goes_on(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    lock, client = at(folder, made, ("slides", "toil"))
    matrix = next(file for file in lock.of_part("toil") if file.path.endswith(".gz"))
    path = f"/xena/{made.recipe.toil.matrix}"
    over = yaml.safe_load(made.settings.read_text())
    over["transfer"]["read_timeout"] = 60
    made.settings.write_text(yaml.safe_dump(over))
    interrupted = threading.Event()
    made.archive.once(path, stalls(500, interrupted))
    command = [sys.executable, "-m", "mirror", "data", "fetch", "brca", "--output", str(folder)]
    command += ["--parts", "slides,toil", "--settings", str(made.settings)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        # Where the tests themselves run in the background, their children would not hear of Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    part = folder / f"{matrix.path}.part"
    deadline = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert not (folder / matrix.path).exists()
    interrupted.set()
    kept = part.stat().st_size
    assert kept == 500
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "data manifest"
    report = fetch(Lock.load(folder), folder, client, made.recipe.transfer)
    assert report.failed == ()
    assert whole(folder, made, lock)
    assert made.archive.asked(path)[-1]["range"] == f"bytes={kept}-"
