"""A cohort by URLs is the cohort of its files: copied once, again where they change, errors by name."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from mirror.config import CohortConfig, is_remote, load_config, url_of
from mirror.data.cohort import build_cohort
from mirror.data.remote import copies, fetched, listing
from mirror.errors import ConfigError, DataError
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.inputs import inputs_stamp

TABLES = ("slides.csv", "expression.csv.gz", "clinical.csv")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    simulate_cohort(folder, seed=1, sizes=SimulationSizes(patients=20, genes=10, tile_features=6, tiles=(4, 8)))
    return folder


@pytest.fixture
def bucket(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The files of `local` in storage, under a URL; copies go to the test's own folder."""
    monkeypatch.setenv("MIRROR_CACHE", str(tmp_path / "copies"))
    storage = fsspec.filesystem("memory")
    for file in local.rglob("*"):
        if file.is_file():
            storage.pipe_file(f"/bucket/{file.relative_to(local)}", file.read_bytes())
    yield "memory://bucket"
    storage.rm("/bucket", recursive=True)


def configured(local: Path, where: str, folder: Path) -> Path:
    text = (local / "demo.yaml").read_text()
    for name in ("features", *TABLES):
        text = text.replace(f"path: {name}", f"path: {where}/{name}")
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_a_url_survives_the_configuration(local: Path, tmp_path: Path) -> None:
    for url in ("s3://bucket/some/features", "memory://bucket/x", "file:///data/x.csv", "gs://b/a%20b"):
        assert is_remote(Path(url))
        assert url_of(Path(url)) == url
    assert not any(is_remote(Path(path)) for path in ("features", "/data/s3/x", "a:/x", "./s3:x"))
    config = load_config(configured(local, "s3://bucket/cohort", tmp_path))
    assert url_of(config.cohort.features.path) == "s3://bucket/cohort/features"
    assert CohortConfig.model_validate_json(config.cohort.model_dump_json()) == config.cohort


@pytest.mark.parametrize("storage", ["memory", "file"])
def test_a_cohort_by_urls_is_that_of_the_files(local: Path, bucket: str, tmp_path: Path, storage: str) -> None:
    where = bucket if storage == "memory" else f"file://{local}"
    remote = build_cohort(load_config(configured(local, where, tmp_path)).cohort)
    plain = build_cohort(load_config(local / "demo.yaml").cohort)
    columns = ["slide", "patient", "tiles", "feature_hash", "label", "time"]
    assert remote.slides[columns].equals(plain.slides[columns])
    assert remote.expression is not None
    assert plain.expression is not None
    assert remote.expression.content_hash() == plain.expression.content_hash()
    assert remote.folds == plain.folds
    assert all(copies() in Path(path).parents for path in remote.slides["path"])


def test_only_what_changes_is_fetched_again(local: Path, bucket: str, tmp_path: Path) -> None:
    section = load_config(configured(local, bucket, tmp_path)).cohort
    folder = fetched(section).features.path
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    stamp = inputs_stamp(section)
    first, second, *_ = sorted(before)
    storage = fsspec.filesystem("memory")
    storage.pipe_file(f"/bucket/features/{first}", storage.cat_file(f"/bucket/features/{second}"))
    storage.rm(f"/bucket/features/{second}")
    assert fetched(section).features.path == folder
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert after.keys() == before.keys() - {second}
    assert [name for name in after if after[name] != before[name]] == [first]
    assert inputs_stamp(section) != stamp


def test_a_finished_cohort_finds_its_copies_on_another_machine(local: Path, bucket: str, tmp_path: Path) -> None:
    config = load_config(configured(local, bucket, tmp_path))
    made = prepare_cohort(config)
    written = (config.output / "cohort" / "cohort.parquet").stat().st_mtime_ns
    shutil.rmtree(copies())
    again = prepare_cohort(config)
    assert (config.output / "cohort" / "cohort.parquet").stat().st_mtime_ns == written
    assert all(path.exists() for path in again.paths.values())
    assert made.paths == again.paths


def test_what_is_not_there_is_named(local: Path, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing at memory://bucket/nowhere"):
        listing(Path("memory://bucket/nowhere"))
    section = load_config(configured(local, "nosuchstorage://bucket", tmp_path)).cohort
    with pytest.raises(ConfigError, match="nosuchstorage"):
        build_cohort(section)
    del bucket


class Server(SimpleHTTPRequestHandler):
    """Lists a folder as a page of links, and says size and Last-Modified of each file, but for what it withholds."""

    withheld: tuple[str, ...] = ()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword not in self.withheld:
            super().send_header(keyword, value)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Reticent(Server):
    withheld = ("Content-Length", "Last-Modified")


def served(folder: Path, kind: type[Server]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a web server to serve; copies go to the test's own folder."""
    pytest.importorskip("aiohttp", reason="fsspec reads http:// with aiohttp")
    monkeypatch.setenv("MIRROR_CACHE", str(tmp_path / "copies"))
    folder = tmp_path / "shared" / "slides"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.bin").write_bytes(b"first")
    return folder


@pytest.fixture
def web(shared: Path) -> Iterator[str]:
    yield from served(shared.parent, Server)


@pytest.fixture
def reticent(shared: Path) -> Iterator[str]:
    yield from served(shared.parent, Reticent)


def copied(url: str) -> Path:
    section = fetched(CohortConfig.model_validate({"features": {"path": url}, "slides": {"path": "/x.csv"}}))
    return section.features.path


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_web_server_is_asked_of_each_file_whether_it_has_changed(shared: Path, web: str, change: str) -> None:
    copy = copied(f"{web}/slides")
    assert {path.name for path in copy.iterdir()} == {"a.bin", "b.bin"}
    before, kept = listing(Path(f"{web}/slides")), (copy / "b.bin").stat().st_mtime_ns
    assert listing(Path(f"{web}/slides")) == before
    then = (shared / "a.bin").stat().st_mtime
    (shared / "a.bin").write_bytes(b"second" if change == "size" else b"other")
    os.utime(shared / "a.bin", (then, then if change == "size" else then + 5))
    after = listing(Path(f"{web}/slides"))
    assert [name for name in before if after[name] != before[name]] == ["a.bin"]
    assert (copied(f"{web}/slides") / "a.bin").read_bytes() == (shared / "a.bin").read_bytes()
    assert (copy / "b.bin").stat().st_mtime_ns == kept


def test_a_single_file_of_a_web_server_is_known_too(shared: Path, web: str) -> None:
    assert copied(f"{web}/slides/a.bin").read_bytes() == b"first"
    (shared / "a.bin").write_bytes(b"longer")
    assert copied(f"{web}/slides/a.bin").read_bytes() == b"longer"


def test_a_server_that_says_nothing_of_its_files_is_refused(shared: Path, reticent: str) -> None:
    with pytest.raises(DataError, match=r"neither size, ETag nor Last-Modified[\s\S]*a\.bin"):
        listing(Path(f"{reticent}/slides"))
    del shared
