"""`mirror explain slide` from end to end on the small job: its files, who was seen in training, what cannot be done."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from small_job import CANONICAL, embedded, write_config
from typer.testing import CliRunner

from bounded_slide import write_bounded
from mirror.artefacts import read_json
from mirror.cli.app import app
from mirror.cli.notes import MOST, told_notes
from mirror.config import load_config
from mirror.data.cohort import Cohort
from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.feature_store import Bag
from mirror.errors import ConfigError, DataError, LeakError, MirrorError
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.protocols import evaluate_fold
from mirror.explain import overlay
from mirror.explain.caption import Caption
from mirror.explain.relevance_file import read_relevance_file
from mirror.explain.wording import meaning
from mirror.ids import SlideId
from mirror.simulate.scans import write_scan
from mirror.training.runs import run_folder
from mirror.types import Fold
from mirror.workflow import evaluate, explain_slide
from mirror.workflow.cohort import cohort_folder
from mirror.workflow.explain_slide import Wanted, explain_slides
from mirror.workflow.explained import RunName, explained_run
from mirror.workflow.kept_fits import NOTHING, mark_of, read_kept
from mirror.workflow.patient_table import patient_table
from mirror.workflow.slide_layers import Asked
from mirror.workflow.view import view

SCHEMA = json.loads((Path(__file__).parents[1] / "explain" / "qupath_objects.schema.json").read_text())
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def trained(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a job of the default preset whose two folds are trained and embedded."""
    path = write_config(simulated, tmp_path_factory.mktemp("explained"), form=CANONICAL)
    for stage in ("pretrain", "embed"):
        result = CliRunner().invoke(app, [stage, str(path)])
        assert result.exit_code == 0, result.output
    return path


def cohort(trained: Path) -> Cohort:
    return Cohort.load(cohort_folder(load_config(trained)))


def slide_of(trained: Path, *, fold: Fold, role: str) -> str:
    table = cohort(trained).slides
    half = fold.test if role == "test" else fold.train
    rows = table[table["patient"].isin(half) & table["has_expression"]]
    return str(rows["slide"].iloc[0])


def test_a_slide_is_explained_by_the_model_that_has_not_seen_its_patient(trained: Path) -> None:
    fold = cohort(trained).folds[1]
    slide = slide_of(trained, fold=fold, role="test")
    result = CliRunner().invoke(app, ["explain", "slide", str(trained), "--slide", slide, "--json"])
    assert result.exit_code == 0, result.output
    (said,) = json.loads(result.stdout)
    assert (said["role"], said["run"]) == ("test", "seed0/fold1")
    folder = load_config(trained).output / "explain" / "seed0" / "fold1" / "slides" / slide
    assert Path(said["folder"]) == folder
    about = read_json(folder / "relevance.json")
    names = [layer["name"] for layer in about["layers"]]
    assert names == ["class:B", "risk", "agreement", "embedding"]
    table = pd.read_parquet(folder / "relevance.parquet")
    assert list(table.columns) == ["tile", "x", "y", *names]
    bag = Bag(cohort(trained).paths[slide])
    assert (table[["x", "y"]].to_numpy() == bag.coords()).all()
    np.testing.assert_allclose(table[names].sum(), 0, atol=1e-4)  # what all tiles share is not shown
    for layer in about["layers"][:2]:
        assert layer["method"] == "pattern" and layer["representation"] == "fused" and layer["fitted_on"] > 5
        assert layer["sum"] is None and layer["unproven"] is None
        parts = layer["at_means"] + layer["from_slide"] + layer["from_expression"]
        assert layer["value"] == pytest.approx(parts, abs=1e-9) and layer["from_expression"] != 0
    for layer in about["layers"]:
        assert (layer["more"], layer["less"], layer["compared"]) == meaning(layer["target"], "pattern")
    assert about["layers"][2]["from_slide"] is None  # a cosine is no sum
    assert about["layers"][3]["at_means"] is None and about["layers"][3]["from_expression"] is None
    jsonschema.validate(json.loads((folder / "relevance.geojson").read_text()), SCHEMA)
    assert (folder / "overlay-risk.png").read_bytes()[:4] == PNG
    assert not (folder / "tiles-risk.png").exists()
    assert any("the slide file is not known" in note for note in about["notes"])
    assert about["geojson_origin"] is None and any("may), QuPath shows" in note for note in about["notes"])
    assert any("'attention' is not offered" in note and "0.48" in note for note in about["notes"])


def test_the_number_that_is_explained_is_that_of_the_embedding(trained: Path) -> None:
    fold = cohort(trained).folds[0]
    slide = slide_of(trained, fold=fold, role="test")
    (found,) = explain_slides(load_config(trained), Wanted(names=[slide], asked=Asked(["agreement"])))
    table = load_embeddings(run_folder(load_config(trained).output, seed=0, fold=0).embeddings)
    row = list(table.obs_names).index(slide)
    one, other = table.obsm["X_align_slide"][row], table.obsm["X_align_expression"][row]
    cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert found.layers[0]["value"] == pytest.approx(cosine, abs=1e-5)


def test_beside_every_heat_stands_how_well_its_head_judges(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `mirror evaluate` finds of the same head on the same patients; in words, too, where chance gives as much."""
    config, held = load_config(trained), cohort(trained)
    fold = held.folds[0]
    slide = slide_of(trained, fold=fold, role="test")
    table = patient_table(held, load_embeddings(run_folder(config.output, seed=0, fold=0).embeddings))
    judged = evaluate_fold(table, fold, config.evaluation, seed=0, representations=["fused"]).scores
    found = {(one.protocol, one.metric): one.value for one in judged}
    captions = list[Caption]()
    drawn = overlay.draw_overlay
    monkeypatch.setattr(overlay, "draw_overlay", lambda *given: (captions.append(given[-1]), drawn(*given))[1])
    (told,) = explain_slides(config, Wanted(names=[slide]))
    heads = {layer["name"]: layer["head"] for layer in told.layers}
    assert heads["agreement"] is heads["embedding"] is None
    for name, protocol, metric in (("class:B", "linear", "auroc"), ("risk", "cox", "c_index")):
        head = heads[name]
        assert head["metric"] == metric and 0 < head["patients"] <= len(fold.test)
        assert head["value"] == pytest.approx(found[protocol, metric], abs=1e-6)
        unsure = next((note for note in told.notes if note.startswith(f"UNSURE: the head of {name}")), "")
        assert bool(unsure) == (head["low"] <= 0.5)
        (caption,) = [one for one in captions if one.title == f"{slide}: {name}"]
        interval = f"{head['value']:.2f} ({head['low']:.2f} to {head['high']:.2f})"
        assert any(line.startswith("head: ") and interval in line for line in caption.lines)
        assert interval in unsure or not unsure
    assert any(head is not None and head["low"] <= 0.5 for head in heads.values())  # twelve patients are few


def test_a_head_that_no_test_patient_can_judge_is_called_unsure_with_its_reason(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, held = load_config(trained), cohort(trained)
    fold = held.folds[0]
    slide = slide_of(trained, fold=fold, role="test")
    times = held.slides["time"].mask(held.slides["patient"].isin(fold.test))
    captions, drawn = list[Caption](), overlay.draw_overlay
    monkeypatch.setattr(overlay, "draw_overlay", lambda *given: (captions.append(given[-1]), drawn(*given))[1])
    wanted = Wanted(names=[slide], asked=Asked(["risk"]), output=tmp_path)
    (told,) = explain_slides(config, wanted, cohort=replace(held, slides=held.slides.assign(time=times)))
    why = f"not judged: no outcome is known of any of {len(fold.test)} test patients"
    (layer,) = read_relevance_file(told.folder / "relevance.json").layers
    unsure = next(one for one in layer.warnings if one.kind == "UNSURE")
    assert layer.head is None and unsure.short == f"the head is {why}" and unsure.note in told.notes
    assert f"UNSURE: the head of risk is {why}; " in unsure.note
    assert f"UNSURE: the head is {why}" in captions[0].warnings


def test_what_warns_of_a_layer_is_the_same_in_notes_pictures_and_json(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    captions, drawn = list[Caption](), overlay.draw_overlay
    monkeypatch.setattr(overlay, "draw_overlay", lambda *given: (captions.append(given[-1]), drawn(*given))[1])
    (told,) = explain_slides(load_config(trained), Wanted(names=[slide], asked=Asked(unproven=True)))
    layers = read_json(told.folder / "relevance.json")["layers"]
    kinds = {layer["name"]: [one["kind"] for one in layer["warnings"]] for layer in layers}
    assert all("FEW" in kinds[name] for name in ("class:B", "risk"))  # this job has fewer patients than the exams
    assert kinds["attention"] == ["UNPROVEN"] and not {"UNSURE", "FEW"} & {*kinds["agreement"], *kinds["embedding"]}
    for layer, caption in zip(layers, captions, strict=True):
        assert [one["note"] in told.notes for one in layer["warnings"]] == [True] * len(layer["warnings"])
        assert list(caption.warnings) == [f"{one['kind']}: {one['short']}" for one in layer["warnings"]]
        (few,) = [one for one in layer["warnings"] if one["kind"] == "FEW"] or [None]
        assert few is None or f"fitted on {layer['fitted_on']} patients, those of the exams on 191 to" in few["short"]
    # Who reads the file knows all that who writes it says.
    assert [one.told for one in read_relevance_file(told.folder / "relevance.json").layers] == layers


def test_a_target_that_there_is_not_is_answered_with_all_that_can_be_asked_for(trained: Path) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    for asked in (["nothing"], ["attention", "class:Z"]):
        with pytest.raises(ConfigError, match=r"class:A, class:B, risk, agreement, embedding, attention$"):
            explain_slides(load_config(trained), Wanted(names=[slide], asked=Asked(asked)))


def test_contributions_add_up_to_the_number(trained: Path, tmp_path: Path) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    asked = Asked(["class:B", "risk"], "contributions", unproven=True)
    (found,) = explain_slides(load_config(trained), Wanted(names=[slide], asked=asked, output=tmp_path))
    table = pd.read_parquet(found.folder / "relevance.parquet")
    for layer in found.layers:
        assert table[layer["name"]].sum() == pytest.approx(layer["value"] - layer["at_mean_tile"], abs=1e-4)
        assert f'"{layer["name"]} (UNPROVEN)":' in (found.folder / "relevance.geojson").read_text()
        assert layer["sum"] == pytest.approx(table[layer["name"]].sum(), abs=1e-4)
        remedy = "no method passed" if layer["name"] == "class:B" else "take pattern"
        assert "'contributions' is not offered" in layer["unproven"] and remedy in layer["unproven"]
    assert any(note.startswith("UNPROVEN: 'contributions'") for note in found.notes)


def test_a_run_of_other_folds_is_not_called_blind_to_whom_it_was_trained_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, held = load_config(trained), cohort(trained)
    turned = replace(held, folds=tuple(Fold(fold.number, fold.test, fold.train) for fold in held.folds))
    with pytest.raises(LeakError, match=r"was trained on test patients of fold 0 \(\d+ of \d+\)"):
        explained_run(config, turned, RunName(0, 0))
    with monkeypatch.context() as patched, pytest.raises(LeakError, match="was trained on test patients of fold 0"):
        patched.setattr(evaluate, "prepare_cohort", lambda *_, **__: turned)
        evaluate.evaluate_runs(config)
    with monkeypatch.context() as patched, pytest.raises(LeakError, match="was trained on test patients of fold 0"):
        patched.setattr(Cohort, "load", lambda _: turned)
        with view(trained, slides=None):
            pass
    slide = slide_of(trained, fold=held.folds[0], role="train")
    tiles = Bag(held.paths[SlideId(slide)]).read()
    torch.save(torch.from_numpy(1.01 * tiles), tmp_path / f"{slide}.pt")  # extracted anew: not the same to the bit
    wanted = Wanted(asked=Asked(["risk"]), features=tmp_path, output=tmp_path / "out", run=RunName(0, 0))
    (found,) = explain_slides(config, wanted)
    assert any("has a slide of this name" in note and "train of seed0/fold0" in note for note in found.notes)


def test_a_run_in_an_archive_that_cannot_be_written_to_is_explained_elsewhere(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(trained)
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    before = {path: path.stat().st_mtime_ns for path in config.output.rglob("*")}
    monkeypatch.setattr("mirror.workflow.cohort.inputs_stamp", lambda *_, **__: "as when the run was moved")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK or config.output not in (path, *path.parents))
    wanted = Wanted(names=[slide], asked=Asked(["risk"]), output=tmp_path)
    assert explain_slides(config, wanted)[0].slide == slide
    assert {path: path.stat().st_mtime_ns for path in config.output.rglob("*")} == before
    monkeypatch.undo()
    with monkeypatch.context() as patched, pytest.raises(MirrorError, match=r"could not remove .*relevance\.json"):
        patched.setattr(Path, "unlink", refuse)
        explain_slides(config, wanted)


@pytest.mark.parametrize("what", ["slide", "expression", "prototypes"])
def test_what_cannot_be_written_is_told_with_the_option_that_names_another_place(
    trained: Path, tmp_path: Path, what: str
) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["explain", what, str(trained), "--output", str(tmp_path / "file" / "below")])
    said = " ".join(done.stderr.split())
    assert done.exit_code == 1 and "error: could not " in said, done.output
    assert said.endswith("Not a directory; free space or choose another --output") and "`output`" not in said


@pytest.mark.parametrize(("what", "run"), [("expression", []), ("prototypes", ["--run", "seed0/fold1"])])
def test_a_run_is_explained_elsewhere_by_the_files_it_would_have_and_stays_as_it_was(
    trained: Path, tmp_path: Path, what: str, run: list[str]
) -> None:
    config = shutil.copytree(trained.parent, tmp_path / "copy") / trained.name
    config.write_text(config.read_text().replace(str(trained.parent), str(config.parent)))
    output = load_config(config).output
    assert output.is_relative_to(tmp_path)
    shutil.rmtree(output / "explain", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    command = ["explain", what, str(config), *run]
    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "there")])
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    assert CliRunner().invoke(app, command).exit_code == 0
    own = output / "explain" / "seed0" / "fold1" if run else output / "explain"
    wanted = {path.relative_to(own) for path in own.rglob("*") if path.is_file()}
    found = {path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*") if path.is_file()}
    assert found == wanted and found


def test_to_explain_a_run_leaves_the_folds_that_it_was_trained_by(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(trained)
    held = cohort(trained)
    turned = replace(held, folds=tuple(Fold(fold.number, fold.test, fold.train) for fold in held.folds))
    monkeypatch.setattr("mirror.workflow.cohort.inputs_stamp", lambda *_, **__: "as after a table has changed")
    monkeypatch.setattr("mirror.workflow.cohort.build_cohort", lambda *_, **__: turned)
    before = {path: path.stat().st_mtime_ns for path in config.output.rglob("*")}
    with pytest.raises(LeakError):
        explain_slides(config, Wanted(run=RunName(0, 0), output=tmp_path))
    assert {path: path.stat().st_mtime_ns for path in config.output.rglob("*")} == before
    monkeypatch.setattr("mirror.workflow.cohort.build_cohort", lambda *_, **__: held)  # the same: it is not built again
    explain_slides(config, Wanted(names=[str(held.slides["slide"].iloc[0])], asked=Asked(["risk"]), output=tmp_path))
    monkeypatch.setattr("mirror.workflow.cohort.build_cohort", refuse)
    explain_slides(config, Wanted(names=[str(held.slides["slide"].iloc[0])], asked=Asked(["risk"]), output=tmp_path))


def refuse(self: Path, **_: bool) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(self))


def test_where_no_method_passed_each_is_refused_by_its_figure_and_shown_when_asked_for(
    simulated: Path, tmp_path: Path
) -> None:
    config = load_config(write_config(simulated, tmp_path / "published"))
    embedded(config)
    slide = str(Cohort.load(cohort_folder(config)).slides["slide"].iloc[0])
    with pytest.raises(ConfigError) as caught:
        explain_slides(config, Wanted(names=[slide]))
    heading, *lines = str(caught.value).split("\n")
    assert heading == "nothing of this slide can be explained:" and all("no method passed" in line for line in lines)
    named = [re.match(r"  - '(\S+)' is not offered for (\S+)", line) for line in lines]
    refused = [tuple(one.groups()) for one in named if one is not None]
    assert refused[:4] == [("pattern", name) for name in ("class", "risk", "agreement", "embedding")]
    assert len(refused) == 5 and refused[4][0] == "attention"
    (found,) = explain_slides(config, Wanted(names=[slide], asked=Asked(["risk"], unproven=True)))
    assert any(note.startswith("UNPROVEN") and "removal" in note for note in found.notes)
    with view(tmp_path / "published" / "job.yaml", slides=None) as contents:
        assert not contents.offered  # the page does not offer what this command refuses


def test_who_was_trained_on_is_said_aloud(trained: Path) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="train")
    command = ["explain", "slide", str(trained), "--slide", slide, "--run", "seed0/fold0", "--target", "risk"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "of patients whom the model was trained on" in " ".join(result.output.split())


def test_new_slides_are_explained_and_those_without_coordinates_get_a_table_alone(
    trained: Path, tmp_path: Path
) -> None:
    bag = Bag(next(iter(cohort(trained).paths.values())))
    (tmp_path / "features").mkdir()
    torch.save(torch.from_numpy(bag.read()) + 100.0, tmp_path / "features" / "new.pt")
    wanted = Wanted(asked=Asked(["risk"]), features=tmp_path / "features", output=tmp_path / "out")
    (found,) = explain_slides(load_config(trained), wanted)
    assert (found.role, found.files) == ("new", ("relevance.parquet", "relevance.json"))
    assert found.layers[0]["representation"] == "slide"
    assert any("no coordinates" in note for note in found.notes)
    assert any("unlike those the model knows" in note for note in found.notes)
    table = pd.read_parquet(found.folder / "relevance.parquet")
    assert list(table.columns) == ["tile", "risk"] and len(table) == bag.tiles
    with pytest.raises(ConfigError, match="needs expression, which this patient has not"):
        explain_slides(load_config(trained), wanted._replace(asked=Asked(["risk"], representation="fused")))
    (every,) = explain_slides(load_config(trained), wanted._replace(asked=Asked()))
    assert "no agreement: this patient has no expression" in every.notes


def test_new_slides_are_held_against_the_model_by_what_any_of_them_says(trained: Path, tmp_path: Path) -> None:
    tiles = Bag(next(iter(cohort(trained).paths.values()))).read()
    write_bag(tmp_path / "features" / "a.h5", tiles)
    write_bag(tmp_path / "features" / "b.h5", tiles, facts=BagFacts(mpp=1.0))
    wanted = Wanted(asked=Asked(["risk"]), features=tmp_path / "features", output=tmp_path / "out")
    with pytest.raises(DataError, match=r"saw 1 um/px, the model was trained at 0\.5 um/px"):
        explain_slides(load_config(trained), wanted)


def test_a_slide_whose_tiles_have_no_known_width_gets_a_table_and_stops_no_other(trained: Path, tmp_path: Path) -> None:
    bag = Bag(next(iter(cohort(trained).paths.values())))
    coords = bag.coords()
    assert coords is not None
    tiles, facts = bag.read(), BagFacts(encoder=bag.encoder)
    write_bag(tmp_path / "features" / "one.h5", tiles[:1], coords=coords[:1], facts=facts)
    write_bag(tmp_path / "features" / "other.h5", tiles, coords=coords, facts=facts)
    wanted = Wanted(asked=Asked(["risk"]), features=tmp_path / "features", output=tmp_path / "out")
    one, other = explain_slides(load_config(trained), wanted)
    assert (one.slide, one.files) == ("one", ("relevance.parquet", "relevance.json"))
    assert any("does not say how wide a tile is" in note and "a table, and no pictures" in note for note in one.notes)
    assert other.slide == "other" and "relevance.geojson" in other.files


def test_a_file_of_features_that_cannot_be_read_is_told_with_its_reason_and_stops_no_other(
    trained: Path, tmp_path: Path
) -> None:
    folder, lost = tmp_path / "features", tmp_path / "features" / "lost.h5"
    bag = Bag(next(iter(cohort(trained).paths.values())))
    write_bag(folder / "whole.h5", bag.read(), facts=BagFacts(encoder=bag.encoder))
    lost.write_bytes((folder / "whole.h5").read_bytes()[:200])
    broken = folder / "nan.pt"
    torch.save(torch.full((3, 12), torch.nan), broken)
    command = ["explain", "slide", str(trained), "--features", str(folder), "--target", "risk"]
    command += ["--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    said = done.stderr.replace("\n", " ")
    assert done.exit_code == 0 and "explain   1 of 3 slides" in said, done.output
    assert f"lost: left out: {lost} " in said and f"nan: left out: {broken} has NaN" in said and "on_bad" not in said
    assert [path.name for path in (tmp_path / "out" / "slides").iterdir()] == ["whole"]
    assert "earlier call" not in said
    # More than there are notes for are all named, each alone; a slide that was explained before is told as it is.
    more = [folder / f"lost{number}.h5" for number in range(MOST + 1)]
    for path in more:
        shutil.copy(lost, path)
    (tmp_path / "out" / "slides" / "lost3").mkdir()
    said = CliRunner().invoke(app, command).stderr.replace("\n", " ")
    assert all(f"{path.stem}: left out: {path} " in said for path in more)
    assert said.count("what an earlier call made of it") == 1 and "lost3: left out" in said
    for path in more:
        path.unlink()
    whole, *left = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert whole["slide"] == "whole" and whole["files"]
    assert [(one["slide"], one["layers"], one["files"]) for one in left] == [("lost", [], []), ("nan", [], [])]
    twice = CliRunner().invoke(app, [*command, "--slide", "whole", "--slide", "whole"])
    assert "explain   1 slides" in twice.stderr, twice.output
    for named in (["--slide", "lost"], ["--slide", "lost", "--slide", "nan"]):
        alone = CliRunner().invoke(app, [*command, *named])
        assert alone.exit_code == 1 and str(lost) in alone.stderr.replace("\n", "") and "on_bad" not in alone.stderr


def test_the_slide_file_is_drawn_where_it_is_found(trained: Path, tmp_path: Path) -> None:
    fold = cohort(trained).folds[0]
    slide = slide_of(trained, fold=fold, role="test")
    (tmp_path / "scans").mkdir()
    image = np.full((1024, 2048, 3), (230, 140, 220), dtype=np.uint8)
    write_bounded(tmp_path / "scans" / f"{slide}.scn", image, canvas=(5632, 5632), at=(512, 1536), mpp=0.25)
    wanted = Wanted(names=[slide], asked=Asked(["risk"]), slides=tmp_path / "scans", output=tmp_path / "out")
    (found,) = explain_slides(load_config(trained), wanted)
    assert "tiles-risk.png" in found.files and not any("slide file" in note for note in found.notes)
    assert (found.folder / "tiles-risk.png").read_bytes()[:4] == PNG
    # The table counts from the corner of the canvas, QuPath from where there are pixels.
    assert read_json(found.folder / "relevance.json")["geojson_origin"] == [512, 1536]
    corners = pd.read_parquet(found.folder / "relevance.parquet")[["x", "y"]].to_numpy()
    features = json.loads((found.folder / "relevance.geojson").read_text())["features"]
    told = np.array([one["geometry"]["coordinates"][0][0] for one in features])
    np.testing.assert_array_equal(told, corners - (512, 1536))


def test_layers_of_an_earlier_call_that_make_way_are_named(trained: Path, tmp_path: Path) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    config, wanted = load_config(trained), Wanted(names=[slide], output=tmp_path)

    def said(wanted: Wanted) -> list[str]:
        (told,) = explain_slides(config, wanted)
        return [note for note in told.notes if "made way" in note]

    assert said(wanted) == []
    (note,) = said(wanted._replace(asked=Asked(["risk"])))
    assert note.startswith("an earlier call's class:B, agreement, embedding made way")
    assert not list(tmp_path.rglob("overlay-class*.png"))
    assert said(wanted._replace(asked=Asked(["risk"]))) == []
    (path,) = tmp_path.rglob("relevance.json")
    path.write_text("{")
    assert said(wanted) == []


def test_a_slide_of_the_cohort_by_another_name_is_not_called_new(trained: Path, tmp_path: Path) -> None:
    known = cohort(trained)
    slide = slide_of(trained, fold=known.folds[0], role="train")
    (tmp_path / "new").mkdir()
    shutil.copy(known.paths[slide], tmp_path / "new" / "other.h5")
    wanted = Wanted(features=tmp_path / "new", run=RunName(0, 0), output=tmp_path / "out")
    (told,) = explain_slides(load_config(trained), wanted)
    assert (told.slide, told.role) == ("other", "train")
    owner = known.owners[slide]
    assert any(f"cohort's slide {slide}, of patient {owner} (train of seed0/fold0)" in note for note in told.notes)


def test_a_folder_of_slides_without_the_slide_is_told_with_what_it_has(trained: Path, tmp_path: Path) -> None:
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    write_scan(tmp_path / "mine.tif", np.full((64, 64, 3), 200, dtype=np.uint8), mpp=0.5)
    (told,) = explain_slides(load_config(trained), Wanted(names=[slide], slides=tmp_path, output=tmp_path / "out"))
    assert any(note.startswith(f"{tmp_path} has no slide '{slide}', but mine (names") for note in told.notes)
    assert not any("--slides FOLDER" in note for note in told.notes)


def test_a_patient_in_the_place_of_a_slide_is_answered_with_its_slides(trained: Path) -> None:
    slide, owner = next(iter(cohort(trained).owners.items()))
    assert slide != owner
    with pytest.raises(ConfigError, match=f"'{owner}' is a patient, with the slides .*{slide}"):
        explain_slides(load_config(trained), Wanted(names=[owner]))


def test_ctrl_c_says_that_finished_slides_are_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cohort(trained).slides.drop_duplicates("patient")["slide"].astype(str).tolist()[:2]
    read = explain_slide.layers_of
    calls: list[None] = []

    def stopped_at_the_second(*given: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(*given)

    monkeypatch.setattr(explain_slide, "layers_of", stopped_at_the_second)
    command = ["explain", "slide", str(trained), "--slide", first, "--slide", second, "--target", "risk"]
    done = CliRunner().invoke(app, [*command, "--run", "seed0/fold0", "--output", str(tmp_path)])
    assert done.exit_code == 130 and "slides that were finished are kept; --slide names the others" in done.stderr
    assert [path.parent.name for path in tmp_path.rglob("relevance.json")] == [first]


def test_one_of_several_slides_says_that_heads_are_judged_on_their_mean(trained: Path, tmp_path: Path) -> None:
    owners = cohort(trained).owners
    slides = {patient: [name for name, owner in owners.items() if owner == patient] for patient in owners.values()}
    names = [next(own[0] for own in slides.values() if (len(own) > 1) == several) for several in (True, False)]
    told = explain_slides(load_config(trained), Wanted(names=names, asked=Asked(["risk"]), output=tmp_path))
    for one in told:
        noted = any("on the mean over a patient's slides" in note for note in one.notes)
        assert noted == (len(slides[one.patient]) > 1)
    assert {len(slides[one.patient]) > 1 for one in told} == {True, False}


def test_a_folder_of_features_that_is_not_there_is_told_by_its_option(trained: Path, tmp_path: Path) -> None:
    for folder, says in (
        (tmp_path / "no", "there is no folder of tile features"),
        (tmp_path, "has no .pt or .h5 file"),
    ):
        told = CliRunner().invoke(app, ["explain", "slide", str(trained), "--features", str(folder)])
        error = " ".join(told.stderr.split())
        assert told.exit_code == 1 and says in error and "--features" in error and "features.path" not in error


def test_a_note_of_some_of_several_slides_names_them(trained: Path, tmp_path: Path) -> None:
    table = cohort(trained).slides.drop_duplicates("patient")
    known, lost = table["slide"].astype(str).tolist()[:2]
    (tmp_path / "scans").mkdir()
    image = np.full((1024, 2048, 3), (230, 140, 220), dtype=np.uint8)
    write_bounded(tmp_path / "scans" / f"{known}.scn", image, canvas=(5632, 5632), at=(512, 1536), mpp=0.25)
    command = ["explain", "slide", str(trained), "--slide", known, "--slide", lost, "--target", "risk"]
    told = CliRunner().invoke(
        app, [*command, "--slides", str(tmp_path / "scans"), "--output", str(tmp_path / "out"), "--run", "seed0/fold0"]
    )
    assert told.exit_code == 0, told.output
    assert re.search(rf"{lost}: \S+ has no slide '{lost}', but {known} ", told.stderr)
    assert f"{known}: " not in told.stderr


def test_notes_name_the_first_slides_and_say_how_many_more_there_are() -> None:
    notes = {f"S{number}": ["of all", *(["of some"] if number < 5 else []), *(["of S6"] if number == 6 else [])]
             for number in range(7)}  # fmt: skip
    assert told_notes(notes, slides=7) == ["all 7 slides: of all", "S0, S1, S2 and 2 more: of some", "S6: of S6"]
    assert told_notes({"S0": ["of it"]}, slides=1) == ["of it"]
    # Of prototypes only slides with a note are told.
    assert told_notes({"S0": ["of it"]}, slides=9) == ["S0: of it"]


def test_what_is_not_offered_or_not_there_is_refused_with_what_is(trained: Path) -> None:
    config = load_config(trained)
    slide = slide_of(trained, fold=cohort(trained).folds[0], role="test")
    with pytest.raises(ConfigError, match=r"'attention' is not offered .* AUROC of 0\.48.*--unproven"):
        explain_slides(config, Wanted(names=[slide], asked=Asked(["attention"])))
    with pytest.raises(ConfigError, match="no such slide in this cohort"):
        explain_slides(config, Wanted(names=["SLIDE-X"]))
    with pytest.raises(ConfigError, match="there is no fold 7"):
        explain_slides(config, Wanted(names=[slide], run=RunName(0, 7)))


HEAVY = (
    "anndata",
    "captum",
    "dask",
    "lazyslide",
    "lifelines",
    "scipy.stats",
    "sklearn",
    "spatialdata",
    "wsidata",
    "zarr",
)
"""Seconds of start-up, none of which a slide of a run that has explained one before needs, slide file and all."""


def test_a_second_call_says_the_same_and_fits_nothing_nor_imports_what_fits(trained: Path, tmp_path: Path) -> None:
    fold = cohort(trained).folds[0]
    slide = slide_of(trained, fold=fold, role="test")
    (tmp_path / "scans").mkdir()
    image = np.full((1024, 2048, 3), (230, 140, 220), dtype=np.uint8)
    write_bounded(tmp_path / "scans" / f"{slide}.scn", image, canvas=(5632, 5632), at=(512, 1536), mpp=0.25)
    out = tmp_path / "out"
    wanted = Wanted(names=[slide], slides=tmp_path / "scans", output=out)
    (found,) = explain_slides(load_config(trained), wanted)
    before = {name: (found.folder / name).read_bytes() for name in found.files}
    kept = (out / "fitted.safetensors").read_bytes()
    command = ["explain", "slide", str(trained), "--slide", slide, "--slides", str(tmp_path / "scans")]
    script = (
        f"import sys; sys.argv = ['mirror', *{[*command, '--output', str(out)]!r}]\n"
        "from mirror.cli.app import app\n"
        "app(standalone_mode=False)\n"
        f"print('imported:', *({set(HEAVY)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["imported:"]
    assert {name: (found.folder / name).read_bytes() for name in found.files} == before
    assert "tiles-risk.png" in before and (out / "fitted.safetensors").read_bytes() == kept


def test_kept_fits_are_those_of_these_outcomes_and_settings_alone(trained: Path, tmp_path: Path) -> None:
    config, known = load_config(trained), cohort(trained)
    run = explained_run(config, known, RunName(0, 0))
    slide = slide_of(trained, fold=run.fold, role="test")
    explain_slides(config, Wanted(names=[slide], asked=Asked(["risk"]), output=tmp_path))
    path = tmp_path / "fitted.safetensors"
    (head,) = run.targets(["risk"], "fused")
    kept = read_kept(path, mark_of(run))
    assert kept.tissue is not None and list(kept.heads) == [("fused", "risk")]
    again = kept.heads["fused", "risk"]
    np.testing.assert_array_equal(again.weights, head.weights)
    assert (again.offset, again.unit, again.fitted_on) == (head.offset, head.unit, head.fitted_on)
    for one, other in zip(kept.tissue, run.tissue(), strict=True):
        np.testing.assert_array_equal(one, other)

    moved = known.slides.assign(time=known.slides["time"] + 1.0)
    fewer = config.evaluation.model_copy(update={"inner_folds": config.evaluation.inner_folds + 1})
    for other in (
        run._replace(cohort=replace(known, slides=moved)),
        run._replace(config=config.model_copy(update={"evaluation": fewer})),
        explained_run(config, known, RunName(0, 1)),
    ):
        assert read_kept(path, mark_of(other)) == NOTHING
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0x80]))  # the sign of the last number
    assert read_kept(path, mark_of(run)) == NOTHING
    path.write_bytes(whole[:200])
    assert read_kept(path, mark_of(run)) == NOTHING
