"""Truths about which slides there are, and who does which."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import ConfigError, DataError
from mirror.ids import SlideId
from mirror.slides.manifest import SlideEntry, read_manifest, write_manifest
from mirror.slides.shards import Shard, parse_shard, shard_of_array


def test_a_folder_and_a_manifest_of_it_name_the_same_slides(scans: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("slide,path\n" + "".join(f"{name},{scans / name}.tif\n" for name in "cabd"))
    assert read_manifest(manifest) == read_manifest(scans)


def test_paths_are_taken_from_the_manifests_folder_and_an_empty_mpp_is_none(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("slide,path,mpp\nx,deep/x.svs,0.25\ny,y.svs,\n")
    first, second = read_manifest(manifest)
    assert first == SlideEntry("x", tmp_path / "deep" / "x.svs", 0.25)  # pyright: ignore[reportArgumentType]
    assert second.mpp is None


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("x,x.svs,0.5\nx,y.svs,0.5\n", "'x' stands there twice"),
        ("x,x.svs,20x\n", "row 1 .*'20x' is no number"),
        ("x,,0.5\n", "row 1 has no slide or no path"),
        ("a/b,x.svs,0.5\n", "cannot be a file's name"),
        ("", "names no slide|no rows|empty"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_which_row_and_why(tmp_path: Path, rows: str, says: str) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("slide,path,mpp\n" + rows)
    with pytest.raises(DataError, match=says):
        read_manifest(manifest)


def test_slides_in_subfolders_are_found_and_hidden_files_and_loops_of_links_are_not(tmp_path: Path) -> None:
    for name in ("a.svs", "uuid-1/b.svs", "uuid-2/deep/c.NDPI", "uuid-2/logs/c.svs.parcel", ".cache/d.svs", ".e.svs"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "uuid-1" / "back").symlink_to(tmp_path)
    assert [entry.slide for entry in read_manifest(tmp_path)] == ["a", "b", "c"]
    (tmp_path / "uuid-2" / "b.tif").touch()
    with pytest.raises(DataError, match=r"'b' stands there twice: .*b\.svs.*b\.tif|'b' stands there twice: .*b\.tif"):
        read_manifest(tmp_path)


def test_a_folder_of_dicom_files_asks_for_a_manifest(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").touch()
    with pytest.raises(DataError, match="several of them; write a manifest"):
        read_manifest(tmp_path)


def test_a_source_that_is_not_there_and_a_name_too_long_for_a_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a folder of slides nor a manifest"):
        read_manifest(tmp_path / "gone")
    (tmp_path / "manifest.csv").write_text(f"slide,path\n{'x' * 200},x.svs\n")
    with pytest.raises(DataError, match="more than 180 bytes"):
        read_manifest(tmp_path / "manifest.csv")


def test_a_manifest_that_is_written_reads_the_same(tmp_path: Path) -> None:
    entries = [SlideEntry(SlideId("x"), tmp_path / "a, b.svs", 0.25), SlideEntry(SlideId("y"), tmp_path / "y", None)]
    write_manifest(tmp_path / "m.csv", entries)
    assert read_manifest(tmp_path / "m.csv") == entries


@given(slides=st.integers(0, 60), parts=st.integers(1, 12))
def test_shards_are_disjoint_and_together_everything(slides: int, parts: int) -> None:
    shares = [Shard(number, parts).of(range(slides)) for number in range(1, parts + 1)]
    assert sorted(slide for share in shares for slide in share) == list(range(slides))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(first=st.integers(0, 9), step=st.integers(1, 5), count=st.integers(1, 20))
def test_the_tasks_of_an_array_get_each_part_once(first: int, step: int, count: int) -> None:
    shared = {
        "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_STEP": str(step),
        "SLURM_ARRAY_TASK_MAX": str(first + step * (count - 1)),
    }
    tasks = [str(first + step * number) for number in range(count)]
    parts = [shard_of_array({**shared, "SLURM_ARRAY_TASK_ID": task}) for task in tasks]
    assert parts == [Shard(number, count) for number in range(1, count + 1)]


def test_an_array_with_gaps_is_refused_and_no_array_is_no_part() -> None:
    with pytest.raises(ConfigError, match="gaps"):
        shard_of_array({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"})
    assert shard_of_array({"SLURM_JOB_ID": "1"}) is None


def test_every_task_of_an_array_with_gaps_is_refused_not_only_those_beyond_them() -> None:
    array = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7"}
    for task in ("1", "3", "7"):
        with pytest.raises(ConfigError, match="gaps"):
            shard_of_array({**array, "SLURM_ARRAY_TASK_ID": task})


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_part_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard 1/8"):
        parse_shard(text)
    assert parse_shard("2/8") == Shard(2, 8)
