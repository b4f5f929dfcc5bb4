"""Stories of the slides stage: a cohort with bad slides, a second call, two workers, a process that is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_scans import SIDE, write_flawed
from typer.testing import CliRunner

from mirror.cli.app import app
from mirror.data.feature_file import read_facts
from mirror.data.feature_store import Bag
from mirror.errors import ConfigError, DataError
from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, STROMA, draw_scan, write_scan
from mirror.slides.account import SlideAccount
from mirror.slides.quality import write_contact_page
from mirror.slides.settings import ExtractionConfig
from mirror.slides.shards import Shard
from mirror.workflow.slides import SlidesReport, extract_slides

FOUR = ["a", "b", "c", "d"]


def changed(config: ExtractionConfig, **values: object) -> ExtractionConfig:
    return config.model_copy(update=values)


def names(accounts: list) -> list[str]:
    return sorted(account.slide for account in accounts)


def lines(config: ExtractionConfig) -> dict[str, dict]:
    text = (config.output / "slides.jsonl").read_text()
    return {line["slide"]: line for line in map(json.loads, text.splitlines())}


def test_a_cohort_with_bad_slides_ends_with_all_good_ones_and_each_bad_one_explained(
    scans: Path, config: ExtractionConfig, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for scan in scans.iterdir():
        (mixed / scan.name).symlink_to(scan)
    write_flawed(mixed)
    config = changed(config, slides=mixed)
    report = extract_slides(config)
    assert names(report.done) == FOUR
    assert names(report.failed) == ["empty", "glass", "page", "truncated"]
    told = lines(config)
    assert sorted(told) == sorted([*FOUR, "empty", "glass", "page", "truncated"])
    assert "no tissue" in told["glass"]["error"]
    assert "web page" in told["page"]["error"]
    assert sorted(path.stem for path in (config.output / "features").iterdir()) == FOUR
    for slide in FOUR:
        bag = Bag(config.output / "features" / f"{slide}.h5")
        assert bag.tiles == told[slide]["tiles"] > 0
        assert 0 < told[slide]["untiled"] < 1
        assert (config.output / "quality" / f"{slide}.jpg").stat().st_size > 1000
    page = (config.output / "contact.html").read_text()
    assert "4 of 8 slides" in page
    assert page.index("glass") < page.index("<b>a</b>")
    assert page.count("of the tissue in none") == 4


def test_the_contact_page_shows_the_picture_of_a_slide_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "a #1 50%20.jpg").touch()
    account = SlideAccount(slide="a #1 50%20", state="failed", path="")
    write_contact_page(tmp_path / "contact.html", [account], tmp_path / "quality")
    assert 'src="quality/a%20%231%2050%2520.jpg"' in (tmp_path / "contact.html").read_text()


def test_the_file_says_where_its_features_come_from(config: ExtractionConfig) -> None:
    extract_slides(changed(config, overlap_px=16))
    path = config.output / "features" / "a.h5"
    facts = read_facts(path)
    assert (facts.encoder, facts.encoder_revision) == ("stain-texture", "1")
    assert (facts.tile_px, facts.overlap_px, facts.tile_level0_px) == (64, 16, 64.0)
    assert (facts.mpp, facts.slide_mpp) == (0.5, pytest.approx(0.5))
    coords = Bag(path).coords()
    assert coords is not None
    assert len(np.unique(coords, axis=0)) == len(coords)


def test_a_second_call_does_nothing_and_a_changed_slide_is_done_again(
    config: ExtractionConfig, scans: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for scan in scans.iterdir():
        (own / scan.name).write_bytes(scan.read_bytes())
    config = changed(config, slides=own)
    extract_slides(config)
    before = {path: path.stat().st_mtime_ns for path in (config.output / "features").iterdir()}
    again = extract_slides(config)
    assert (again.done, again.failed, sorted(again.earlier)) == ([], [], FOUR)
    assert before == {path: path.stat().st_mtime_ns for path in (config.output / "features").iterdir()}
    write_scan(own / "b.tif", np.random.default_rng(0).integers(90, 200, (300, 300, 3), dtype=np.uint8), mpp=0.5)
    third = extract_slides(config)
    assert sorted(third.earlier) == ["a", "c", "d"]
    assert names(third.done + third.failed) == ["b"]


def test_features_of_other_settings_are_never_mixed(config: ExtractionConfig) -> None:
    extract_slides(config)
    other = changed(config, tile_px=96)
    with pytest.raises(ConfigError, match=r"other settings.*--overwrite"):
        extract_slides(other)
    extract_slides(changed(config, batch=9, threads=1))  # speed is no setting of the features
    report = extract_slides(other, overwrite=True)
    assert names(report.done) == FOUR
    assert {read_facts(path).tile_px for path in (config.output / "features").iterdir()} == {96}


def test_a_slide_without_resolution_stops_before_any_work_or_is_left_out(
    config: ExtractionConfig, scans: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "a.tif").symlink_to(scans / "a.tif")
    write_scan(mixed / "x.tif", np.full((128, 128, 3), 240, dtype=np.uint8), mpp=None)
    config = changed(config, slides=mixed)
    with pytest.raises(DataError, match=f"'x' has no resolution.*x,{mixed / 'x.tif'},0.5"):
        extract_slides(config)
    assert not (config.output / "features").exists()
    report = extract_slides(changed(config, on_unknown_mpp="exclude"))
    assert (names(report.done), names(report.failed)) == (["a"], ["x"])


def test_who_gave_a_folder_gets_a_manifest_to_add_the_missing_resolutions_to(
    config: ExtractionConfig, scans: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    (mixed / "deeper").mkdir(parents=True)
    (mixed / "a.tif").symlink_to(scans / "a.tif")
    image = draw_scan(STROMA, SIDE, rng_for(0, "x"))
    for name in ("x", "y"):
        write_scan(mixed / "deeper" / f"{name}.tif", image, mpp=None)
    manifest = config.output / "manifest.csv"
    with pytest.raises(DataError, match=f"{manifest} lists all slides"):
        extract_slides(changed(config, slides=mixed))
    manifest.write_text(manifest.read_text().replace("x.tif,", "x.tif,0.5"))
    with pytest.raises(DataError, match="'y' has no resolution") as still:
        extract_slides(changed(config, slides=mixed))  # the folder again: what was filled in is kept
    assert "'x'" in str(still.value)
    with pytest.raises(DataError, match="'y' has no resolution") as still:
        extract_slides(changed(config, slides=manifest))
    assert "'x'" not in str(still.value)
    manifest.write_text(manifest.read_text().replace("y.tif,", "y.tif,0.5"))
    assert names(extract_slides(changed(config, slides=manifest)).done) == ["a", "x", "y"]
    assert lines(config)["x"]["mpp_source"] == "manifest"


def test_every_slide_has_its_line_from_the_first_shard_on(config: ExtractionConfig) -> None:
    extract_slides(config, shard=Shard(1, 2))
    assert {slide: line["state"] for slide, line in lines(config).items()} == {
        "a": "done",
        "b": "waiting",
        "c": "done",
        "d": "waiting",
    }
    page = (config.output / "contact.html").read_text()
    assert "2 of 4 slides" in page
    assert page.index("<b>b</b>") < page.index("<b>a</b>")


def test_who_stops_the_command_is_left_an_account_of_how_far_it_came(config: ExtractionConfig) -> None:
    def stop(done: float, total: int, note: str = "") -> None:
        del done, total
        if note.startswith("b"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_slides(config, progress=stop)
    assert [line["state"] for line in lines(config).values()] == ["done", "waiting", "waiting", "waiting"]
    assert "1 of 4 slides" in (config.output / "contact.html").read_text()


def test_progress_moves_within_a_slide_and_says_how_fast(config: ExtractionConfig, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.tif").symlink_to(scans / "a.tif")
    told: list[tuple[float, int, str]] = []
    extract_slides(
        changed(config, slides=tmp_path / "one"), progress=lambda done, total, note="": told.append((done, total, note))
    )
    within = [done for done, _, note in told if "tiles/s, a: " in note]
    assert within == sorted(within)
    assert len(within) > 3
    assert 0 < within[0] < within[-1] == 1 == told[-1][0]


def test_a_path_that_the_system_refuses_is_the_slides_failure_and_not_the_commands(
    config: ExtractionConfig, scans: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"slide,path\na,{scans / 'a.tif'}\nb,{'x' * 300}.svs\nc,{scans}\n")
    report = extract_slides(changed(config, slides=manifest))
    assert (names(report.done), names(report.failed)) == (["a"], ["b", "c"])
    told = lines(config)
    assert "File name too long" in told["b"]["error"]
    assert "is a folder" in told["c"]["error"]


def test_what_a_killed_process_left_is_cleared_and_what_another_slides_worker_writes_is_not(
    config: ExtractionConfig, scans: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.tif").symlink_to(scans / "a.tif")
    features = config.output / "features"
    features.mkdir(parents=True)
    left, other = features / ".a.12-0abc.aside.h5", features / ".a.b.12-0abc.aside.h5"
    left.touch()
    other.touch()
    extract_slides(changed(config, slides=own))
    assert (left.exists(), other.exists()) == (False, True)


def test_shards_together_do_everything_once(config: ExtractionConfig) -> None:
    reports = [extract_slides(config, shard=Shard(number, 3)) for number in (1, 2, 3)]
    assert names([account for report in reports for account in report.done]) == FOUR
    assert all(line["state"] == "done" for line in lines(config).values())
    assert sorted(lines(config)) == FOUR


def test_a_slide_whose_process_died_is_tried_after_all_others(config: ExtractionConfig) -> None:
    (config.output / "account").mkdir(parents=True)
    content = {"schema": 1, "slide": "a", "state": "started", "path": ""}
    (config.output / "account" / "a.json").write_text(json.dumps(content))
    assert [account.slide for account in extract_slides(config).done] == ["b", "c", "d", "a"]


@pytest.mark.parametrize("left", [None, "started"])
def test_a_slide_killed_between_its_features_and_its_account_is_done(
    config: ExtractionConfig, left: str | None
) -> None:
    extract_slides(config)
    account = config.output / "account" / "a.json"
    account.unlink()
    if left is not None:
        account.write_text(json.dumps({"schema": 1, "slide": "a", "state": left, "path": ""}))
    report = extract_slides(config)
    assert (report.done, sorted(report.earlier)) == ([], FOUR)
    told = lines(config)["a"]
    assert (told["state"], told["tiles"], told["mpp"]) == ("done", lines(config)["b"]["tiles"], pytest.approx(0.5))
    assert "4 of 4 slides" in (config.output / "contact.html").read_text()


def _work(config: ExtractionConfig, result: multiprocessing.Queue | None = None) -> None:
    report: SlidesReport = extract_slides(config)
    if result is not None:
        result.put((names(report.done), names(report.failed)))


def test_two_workers_at_once_do_each_slide_once(config: ExtractionConfig) -> None:
    context = multiprocessing.get_context("fork")
    result = context.Queue()
    workers = [context.Process(target=_work, args=(config, result)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [result.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(slide for done, _ in found for slide in done) == FOUR
    assert [failed for _, failed in found] == [[], []]
    assert all(Bag(config.output / "features" / f"{slide}.h5").tiles for slide in FOUR)


def whole_files(config: ExtractionConfig) -> dict[str, bytes]:
    """The features under their final names, each read to its last row."""
    files = sorted((config.output / "features").glob("*.h5")) if (config.output / "features").is_dir() else []
    for path in files:
        assert np.isfinite(Bag(path).read()).all()
    return {path.stem: path.read_bytes() for path in files if not path.name.startswith(".")}


def test_a_kill_at_any_moment_loses_no_finished_slide_and_leaves_no_half_file(config: ExtractionConfig) -> None:
    context = multiprocessing.get_context("fork")
    moments = random.Random(0)
    finished: dict[str, bytes] = {}
    for _ in range(4):
        worker = context.Process(target=_work, args=(config,))
        worker.start()
        time.sleep(moments.uniform(0.0, 1.0))
        worker.kill()
        worker.join()
        now = whole_files(config)
        assert {slide: now.get(slide) for slide in finished} == finished
        finished = now
    report = extract_slides(config)
    assert sorted([*names(report.done), *report.earlier]) == FOUR
    assert sorted(report.earlier) == sorted(finished)
    assert list((config.output / "features").glob(".*")) == []  # nothing half written is left lying about
    assert {slide: account["state"] for slide, account in lines(config).items()} == dict.fromkeys(FOUR, "done")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 21 starts of the command, each importing all of torch and LazySlide
def test_the_command_killed_twenty_times_loses_nothing(config: ExtractionConfig, tmp_path: Path) -> None:
    from mirror.config import dump_config

    many = tmp_path / "many"
    many.mkdir()
    for number in range(30):
        write_scan(many / f"s{number:02}.tif", draw_scan(STROMA, 384, rng_for(0, number)), mpp=MPP)
    config = changed(config, slides=many, encoder="random-resnet18")
    (tmp_path / "slides.yaml").write_text(dump_config(config))
    command = [sys.executable, "-m", "mirror", "slides", str(tmp_path / "slides.yaml")]
    moments = random.Random(0)
    finished: dict[str, bytes] = {}
    kills = 0
    while kills < 20:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            account = config.output / "account"
            before = set(account.glob("*.json")) if account.is_dir() else set()
            # From the first slide of this call on, or at once: both kinds of moments are wanted.
            while moments.random() > 0.02 and process.poll() is None:
                if account.is_dir() and set(account.glob("*.json")) != before:
                    break
                time.sleep(0.2)
            time.sleep(moments.uniform(0.0, 0.6))
            os.kill(process.pid, signal.SIGKILL)
        kills += 1
        now = whole_files(config)
        assert {slide: now.get(slide) for slide in finished} == finished
        finished = now
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(whole_files(config)) == 30
    assert {slide: whole_files(config)[slide] for slide in finished} == finished
    assert list((config.output / "features").glob(".*")) == []


def test_the_command_ends_with_the_failures_and_a_code_of_its_own(scans: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "a.tif").symlink_to(scans / "a.tif")
    (mixed / "page.svs").write_text("<html>")
    command = [sys.executable, "-m", "mirror", "slides", str(mixed), "--output", str(tmp_path / "out")]
    ended = subprocess.run([*command, "--encoder", "stain-texture"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "1 failed" in ended.stderr
    assert "in no tile: " in ended.stderr and "(a)" in ended.stderr
    assert "page: " in ended.stderr
    assert (tmp_path / "out" / "features" / "a.h5").exists()


@pytest.mark.parametrize(
    ("output", "encoder", "says"),
    [
        ("file/below", "stain-texture", "could not write"),
        ("file", "stain-texture", "could not write"),
        ("out", "random-resnet18", "`weights` has no use"),
    ],
)
def test_an_output_that_cannot_be_and_words_that_do_not_fit_the_file_end_without_a_traceback(
    scans: Path, tmp_path: Path, output: str, encoder: str, says: str
) -> None:
    (tmp_path / "file").touch()
    weights = "weights: w.pt\n" if encoder == "random-resnet18" else ""
    (tmp_path / "slides.yaml").write_text(f"slides: {scans}\noutput: out\nencoder: resnet18\n{weights}")
    command = ["slides", str(tmp_path / "slides.yaml"), "--output", str(tmp_path / output), "--encoder", encoder]
    ended = CliRunner(env={"COLUMNS": "500"}).invoke(app, command)
    assert ended.exit_code == 1
    assert isinstance(ended.exception, SystemExit)
    assert says in ended.output
