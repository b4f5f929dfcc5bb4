"""Truths about a whole folder of other tools' features: every file accounted for, none ends the run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import feature_layouts as layouts
from mirror.cli.app import app
from mirror.config import FeaturesConfig
from mirror.data.feature_file import BagFacts, read_facts, write_bag
from mirror.data.feature_store import Bag, find_bags
from mirror.data.importers.found import Asked
from mirror.data.slide_table import ReadOwners, read_slides
from mirror.errors import DataError
from mirror.workflow.import_features import import_folder, read_slide_mpp


def states(account) -> dict[str, str]:
    return {file.path: file.state for file in account.files}


def spoil(path: Path, row: int, value: float) -> Path:
    with h5py.File(path, "a") as file:
        file["features"][row, 0] = value
    return path


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Four bags of one encoder in four layouts, a store, and eight files that are no bag or a bad one."""
    folder = tmp_path / "theirs"
    layouts.trident(folder / "trident", "T1")
    spoil(layouts.trident(folder / "trident", "T2"), 4, np.nan)
    with h5py.File(layouts.trident(folder / "trident", "T3"), "a") as file:
        del file["features"]
        file["features"] = np.zeros((0, 8))
    layouts.clam(folder / "clam", "C1", patch_px=512)  # one cohort has tiles of one size
    torch.save(torch.from_numpy(layouts.FEATURES), folder / "P1.pt")
    torch.save(torch.from_numpy(layouts.FEATURES) * 1e6, folder / "P2.pt")
    np.save(folder / "N1.npy", layouts.FEATURES)
    (folder / "html.h5").write_text("<html>404</html>")
    (folder / "slides.csv").write_text("slide_id,label\n")
    return folder


EXPECTED = {
    "N1.npy": "imported",
    "P1.pt": "imported",
    "P2.pt": "failed",
    "clam/h5_files/C1.h5": "imported",
    "clam/patches/C1.h5": "skipped",
    "clam/pt_files/C1.pt": "skipped",
    "html.h5": "failed",
    "slides.csv": "skipped",
    **{
        f"trident/20.0x_512px_0px_overlap/features_uni_v1/T{n}.h5": state
        for n, state in ((1, "imported"), (2, "failed"), (3, "failed"))
    },
    **{f"trident/20.0x_512px_0px_overlap/patches/T{n}_patches.h5": "skipped" for n in (1, 2, 3)},
    **{f"trident/20.0x_512px_0px_overlap/slide_features_titan/T{n}.h5": "skipped" for n in (1, 2, 3)},
}


def test_every_file_of_a_mixed_and_damaged_folder_is_accounted_for_and_none_ends_the_run(mixed, tmp_path):
    account = import_folder(mixed, tmp_path / "ours")
    assert states(account) == EXPECTED
    assert set(find_bags(tmp_path / "ours")) == {"N1", "P1", "C1", "T1"}
    said = {file.path: " ".join(file.remarks) for file in account.files}
    assert "the most float16 can hold" in said["P2.pt"]
    assert "1 rows (the first is 4) have NaN" in said["trident/20.0x_512px_0px_overlap/features_uni_v1/T2.h5"]
    assert "empty bag" in said["trident/20.0x_512px_0px_overlap/features_uni_v1/T3.h5"]
    assert "C1.h5, which is taken" in said["clam/pt_files/C1.pt"]
    lines = (tmp_path / "ours" / "import.jsonl").read_text().splitlines()
    assert {line["path"]: line["state"] for line in map(json.loads, lines)} == EXPECTED


def test_what_was_imported_is_a_cohorts_features(mixed, tmp_path):
    import_folder(mixed, tmp_path / "ours", asked=Asked("uni_v1"))
    owners = ReadOwners({"T1": "A", "C1": "B", "P1": "C"}, (), 3, "slides.csv")
    read = read_slides(owners, FeaturesConfig(path=tmp_path / "ours"))
    assert ([row.slide for row in read.slides], read.encoder) == (["C1", "P1", "T1"], "uni_v1")


def test_a_second_call_makes_nothing_again_but_what_has_changed(mixed, tmp_path):
    ours = tmp_path / "ours"
    import_folder(mixed, ours)
    before = {path.name: path.stat().st_mtime_ns for path in ours.glob("*.h5")}
    torch.save(torch.from_numpy(layouts.FEATURES), mixed / "P2.pt")
    os.utime(mixed / "P1.pt", (1, 1))
    again = import_folder(mixed, ours)
    changed = {"P2.pt": "imported"}
    unchanged = {name: "already" for name, state in EXPECTED.items() if state == "imported" and name != "P1.pt"}
    assert states(again) == {**EXPECTED, **unchanged, **changed}
    after = {path.name: path.stat().st_mtime_ns for path in ours.glob("*.h5")}
    assert {name for name in after if after[name] != before.get(name)} == {"P1.h5", "P2.h5"}


def lines_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "import.jsonl").read_text().splitlines()]


def test_what_was_said_of_a_file_is_said_again_of_one_that_is_there_already(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    layouts.trident(theirs, "T1", encoder="uni2", folder="features_uni2")
    layouts.stamp(theirs, "M1")
    with h5py.File(theirs / "C1.h5", "w") as file:
        file["features"], file["coords"] = layouts.FEATURES, layouts.COORDS
    np.save(theirs / "N1.npy", layouts.FEATURES)
    import_folder(theirs, ours, asked=Asked("uni2"))
    first = lines_of(ours)
    units = {line["slide"]: line["coords_unit"] for line in first if line["state"] == "imported"}
    assert units == {"T1": "level0_px", "M1": "um", "C1": "unknown", "N1": None}
    assert "the unit of positions is not said" in str(first) and "positions are kept in um" in str(first)
    (ours / "import.jsonl").unlink()  # as after a stop before it was written
    import_folder(theirs, ours, asked=Asked("uni2"))
    assert lines_of(ours) == [{**line, "state": line["state"].replace("imported", "already")} for line in first]


def test_that_no_encoder_is_named_is_said_at_every_call(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    np.save(theirs / "S1.npy", layouts.FEATURES)
    said = [import_folder(theirs, ours).files for _ in range(3)]
    assert [file.state for (file,) in said] == ["imported", "already", "already"]
    assert {file.remarks for (file,) in said} == {("no encoder is named; name it with --encoder",)}


@pytest.mark.parametrize("damage", ["NaN", "truncated"])
def test_what_was_made_of_a_file_that_is_bad_now_is_set_aside_and_comes_back_with_it(tmp_path, damage):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    bad = layouts.trident(theirs, "T1")
    layouts.trident(theirs, "T2")
    call = ["import", str(theirs), "--output", str(ours)]
    assert CliRunner().invoke(app, call).exit_code == 0
    good, made = bad.read_bytes(), (ours / "T1.h5").read_bytes()
    if damage == "NaN":
        spoil(bad, 0, np.nan)
    else:
        bad.write_bytes(good[: len(good) // 2])
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, call)
    assert done.exit_code == 1
    assert "1 files failed, and what was made of 1 of them before is set aside" in " ".join(done.output.split())
    (failed,) = [line for line in lines_of(ours) if line["state"] == "failed"]
    assert "set aside as" in failed["remarks"][-1] and "T1.h5.stale" in failed["remarks"][-1]
    assert list(find_bags(ours)) == ["T2"] and (ours / "T1.h5.stale").read_bytes() == made
    assert CliRunner().invoke(app, call).exit_code == 1  # nothing is left to set aside, and it still fails
    bad.write_bytes(good)
    assert CliRunner().invoke(app, call).exit_code == 0
    assert list(find_bags(ours)) == ["T1", "T2"] and not list(ours.glob("*.stale"))


def test_a_slide_of_another_folder_is_replaced_only_when_that_is_said(tmp_path):
    ours = tmp_path / "ours"
    for number, place in enumerate(("one", "two", "one/below")):
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "S1.npy", layouts.FEATURES + number)
    (tmp_path / "one" / "below").rename(tmp_path / "below")
    assert import_folder(tmp_path / "one", ours).count("imported") == 1
    before = (ours / "S1.h5").read_bytes()
    (refused,) = import_folder(tmp_path / "two", ours).files
    assert refused.state == "failed" and "--overwrite" in refused.remarks[0]
    assert str(tmp_path / "one" / "S1.npy") in refused.remarks[0]
    assert (ours / "S1.h5").read_bytes() == before and not list(ours.glob("*.stale"))
    call = ["import", str(tmp_path / "two"), "--output", str(ours), "--overwrite"]
    assert CliRunner().invoke(app, call).exit_code == 0
    assert (ours / "S1.h5").read_bytes() != before and read_facts(ours / "S1.h5").source_path == "../two/S1.npy"
    # A file that moved within the folder that is imported is no other folder's.
    (tmp_path / "below").rename(tmp_path / "two" / "below")
    (tmp_path / "two" / "S1.npy").unlink()
    assert states(import_folder(tmp_path / "two", ours)) == {"below/S1.npy": "imported"}


def test_a_run_stopped_half_way_goes_on_where_it_was(mixed, tmp_path):
    def stop(done: int, total: int, note: str = "") -> None:
        if done < total and note == "T1.h5":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(mixed, tmp_path / "ours", progress=stop)
    assert set(find_bags(tmp_path / "ours")) == {"N1", "P1", "C1"}
    account = import_folder(mixed, tmp_path / "ours")
    assert account.count("already") == 3 and account.count("imported") == 1


def test_two_encoders_are_refused_as_a_whole_and_one_can_be_taken(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    layouts.trident(theirs, "S1")
    layouts.trident(theirs, "S1", encoder="conch", folder="features_conch")
    refused = import_folder(theirs, ours)
    assert "uni_v1 in 1 files" in refused.refusal and "conch in 1 files" in refused.refusal
    assert refused.count("refused") == 2 and not list(ours.glob("*.h5"))
    taken = import_folder(theirs, ours, asked=Asked("conch"))
    assert (taken.refusal, taken.count("imported")) == (None, 1)
    assert read_facts(ours / "S1.h5").encoder == "conch"
    assert "conch" in import_folder(theirs, ours, asked=Asked("uni_v1")).refusal


def test_two_magnifications_are_refused(tmp_path):
    for slide in ("S1", "S2"):
        path = layouts.trident(tmp_path / slide, slide)
        with h5py.File(path, "a") as file:
            file["coords"].attrs["target_magnification"] = {"S1": 20.0, "S2": 10.0}[slide]
    refused = import_folder(tmp_path, tmp_path / "ours")
    assert "2 magnifications would be one cohort: 10x in 1 files" in refused.refusal
    assert "20x in 1 files" in refused.refusal
    assert not list((tmp_path / "ours").glob("*.h5"))
    assert import_folder(tmp_path / "S1", tmp_path / "ours").refusal is None
    assert Bag(tmp_path / "ours" / "S1.h5").scale.magnification == 20
    beside = import_folder(tmp_path / "S2", tmp_path / "ours").refusal
    assert beside is not None and "10x in 1 files" in beside and "20x in 1 files" in beside
    assert not (tmp_path / "ours" / "S2.h5").exists()


def test_two_widths_are_refused(tmp_path):
    for width in (4, 6):
        np.save(tmp_path / f"{width}.npy", np.random.default_rng(0).normal(size=(9, width)))
    assert "2 widths" in import_folder(tmp_path, tmp_path / "ours").refusal


def test_a_slide_in_two_files_is_no_choice_of_ours(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "S1.npy", layouts.FEATURES)
    account = import_folder(tmp_path, tmp_path / "ours")
    assert account.count("failed") == 2 and "2 files" in account.files[0].remarks[0]


def test_a_file_that_was_not_imported_is_never_written_over(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    np.save(theirs / "S1.npy", layouts.FEATURES)
    # As `mirror slides` writes them.
    facts = BagFacts(source="mirror slides 0.1.0", source_stamp="0123abcd")
    write_bag(ours / "S1.h5", layouts.FEATURES[:9], facts=facts)
    assert "was not imported" in import_folder(theirs, ours).files[0].remarks[0]
    assert read_facts(ours / "S1.h5").source == "mirror slides 0.1.0"


def test_whole_numbers_beside_features_fail_alone_and_do_not_refuse_the_folder(tmp_path):
    np.save(tmp_path / "S1.npy", layouts.FEATURES)
    np.save(tmp_path / "S1_positions.npy", layouts.COORDS)
    account = import_folder(tmp_path, tmp_path / "ours")
    assert account.refusal is None
    assert states(account) == {"S1.npy": "imported", "S1_positions.npy": "failed"}


def test_what_is_laid_beside_a_file_later_has_it_imported_again(tmp_path):
    layouts.clam(tmp_path / "theirs", "C1")
    patches = tmp_path / "theirs" / "patches"
    patches.rename(tmp_path / "elsewhere")
    import_folder(tmp_path / "theirs", tmp_path / "ours")
    assert read_facts(tmp_path / "ours" / "C1.h5").tile_level0_px is None
    (tmp_path / "elsewhere").rename(patches)
    assert import_folder(tmp_path / "theirs", tmp_path / "ours").count("imported") == 1
    assert read_facts(tmp_path / "ours" / "C1.h5").tile_level0_px == 1024
    assert import_folder(tmp_path / "theirs", tmp_path / "ours").count("already") == 1


def test_links_in_a_circle_are_passed_by_and_an_archive_is_to_be_unpacked(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    np.save(theirs / "S1.npy", layouts.FEATURES)
    (theirs / "back").symlink_to(theirs)
    (theirs / "itself").symlink_to(theirs / "itself")
    (theirs / "TCGA-BRCA.tar.gz").touch()
    account = import_folder(theirs, tmp_path / "ours")
    assert states(account) == {"S1.npy": "imported", "TCGA-BRCA.tar.gz": "skipped", "itself": "skipped"}
    assert "unpack it" in account.files[1].remarks[0]


def test_the_originals_are_left_as_they_are(mixed, tmp_path):
    before = {path: path.read_bytes() for path in mixed.rglob("*") if path.is_file()}
    import_folder(mixed, tmp_path / "ours")
    assert before == {path: path.read_bytes() for path in mixed.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="name another --output"):
        import_folder(mixed, mixed)


def test_resolutions_come_as_a_number_or_a_table_and_must_be_plausible(tmp_path):
    assert read_slide_mpp("0.25") == 0.25
    (tmp_path / "mpp.csv").write_text("slide_id,mpp\nS1,0.25\nS2,0.5\n")
    assert read_slide_mpp(str(tmp_path / "mpp.csv")) == {"S1": 0.25, "S2": 0.5}
    (tmp_path / "mpp.csv").write_text("slide_id,mpp\nS1,25\nS2,fine\n")
    with pytest.raises(DataError, match=r"(?s)25 um/px is not between 0\.1 and 1\.5.*fine"):
        read_slide_mpp(str(tmp_path / "mpp.csv"))


def test_resolutions_of_a_table_are_each_slides_own(tmp_path):
    layouts.stamp(tmp_path / "theirs", "S1", mpp=0.25)
    layouts.stamp(tmp_path / "theirs", "S2", mpp=0.5)
    import_folder(tmp_path / "theirs", tmp_path / "ours", slide_mpp={"S1": 0.25})
    facts = [read_facts(tmp_path / "ours" / f"S{n}.h5") for n in (1, 2)]
    assert [(one.slide_mpp, one.tile_level0_px) for one in facts] == [(0.25, 1024), (None, None)]


def test_the_command_prints_every_file_and_ends_badly_where_one_failed(mixed, tmp_path):
    call = ["import", str(mixed), "--output", str(tmp_path / "ours"), "--encoder", "uni_v1"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, call)
    assert done.exit_code == 1
    assert all(name in done.output for name in EXPECTED)
    assert "4 imported" in done.output and "4 failed" in done.output
    for name in ("html.h5", "P2.pt"):
        (mixed / name).unlink()
    for number in (2, 3):
        (mixed / f"trident/20.0x_512px_0px_overlap/features_uni_v1/T{number}.h5").unlink()
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "4 already" in done.output


def test_a_folder_without_any_features_ends_badly(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.txt").touch()
    done = CliRunner().invoke(app, ["import", str(tmp_path / "theirs"), "--output", str(tmp_path / "ours")])
    assert done.exit_code == 1 and "no tile features" in done.output
