"""What `mirror explain expression` and `mirror explain prototypes` leave behind, and that planted genes are in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from small_job import CANONICAL, embedded, write_config
from typer.testing import CliRunner

from mirror.artefacts import read_json
from mirror.cli.app import app
from mirror.cli.explain_prototypes import SHOWN
from mirror.config import Config, load_config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.errors import ConfigError, DataError
from mirror.evaluation.prototypes import unit_rows
from mirror.explain.gene_table import COLUMNS
from mirror.explain.genes import contributions
from mirror.explain.offered_genes import MEASURED, PASSED
from mirror.ids import SlideId
from mirror.nn.canonical import CanonicalMirror
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.planted_genes import planted_genes
from mirror.simulate.scans import write_scan
from mirror.slides.manifest import SlideEntry
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explain_expression import ExplainedExpression, explain_expression, profiles_of
from mirror.workflow.explain_prototypes import explain_prototypes
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.opened_prototypes import ExplainedPrototypes
from mirror.workflow.prototype_pictures import draw_prototypes
from mirror.workflow.prototype_tiles import NearTile, near_tiles

SIZES = SimulationSizes(patients=240, genes=200, tile_features=24, tiles=(12, 20), planted=20)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two folds and two seeds of the default preset on a cohort with planted genes; two epochs."""
    folder = tmp_path_factory.mktemp("planted")
    simulate_cohort(folder, seed=3, sizes=SIZES)
    form = {"preset": "mirror", "model": {"components": 16}, "pretraining": {"tiles": 12, "epochs": 2}}
    config = load_config(write_config(folder, folder / "out", form=form, seeds=[0, 1]))
    embedded(config)
    return config


@pytest.fixture(scope="module")
def truth() -> dict[str, tuple[str, ...]]:
    return planted_genes(20, genes=SIZES.genes, seed=3)


@pytest.fixture(scope="module")
def gene_sets(truth: dict[str, tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted sets, each with a gene that no panel has, 200 random ones and one that is too small."""
    carrying = {gene for genes in truth.values() for gene in genes}
    others = [f"GENE{number:04d}" for number in range(SIZES.genes) if f"GENE{number:04d}" not in carrying]
    rng = np.random.default_rng(0)
    sets = {name: [*genes, "NOWHERE"] for name, genes in truth.items()}
    sets |= {f"random{number}": rng.choice(others, 20, replace=False).tolist() for number in range(200)}
    path = tmp_path_factory.mktemp("sets") / "sets.gmt"
    lines = ["\t".join([name, "", *genes]) for name, genes in (sets | {"small": others[:2]}).items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def found(planted: Config, gene_sets: Path) -> ExplainedExpression:
    return explain_expression(planted, gene_sets=gene_sets)


@pytest.fixture(scope="module")
def run(planted: Config) -> Iterator[ExplainedRun]:
    yield explained_run(planted, prepare_cohort(planted), RunName(0, 0))


CARRIED = {
    "class:B": ("shared_subtype",),
    "risk": ("shared_survival",),
    "agreement": ("shared_subtype", "shared_survival"),
}


@pytest.mark.parametrize("target", list(CARRIED))
def test_planted_genes_lead(found: ExplainedExpression, truth: dict[str, tuple[str, ...]], target: str) -> None:
    (own,) = (one for one in found.targets if one.name == target)
    wanted = {gene for name in CARRIED[target] for gene in truth[name]}
    leading = set(own.genes["gene"].head(len(wanted)))
    assert len(wanted & leading) / len(wanted) >= PASSED
    assert own.error < 0.02 and own.method == ("integrated gradients" if target == "agreement" else "exact")
    sets = {one.name: one for one in own.sets}
    assert all(sets[name].missing == ("NOWHERE",) for name in CARRIED[target])
    assert all(sets[name].q < 0.05 for name in CARRIED[target])
    random = [one for name, one in sets.items() if name.startswith("random")]
    assert sum(one.q < 0.05 for one in random) <= 1
    assert np.isnan(sets["small"].q)


def test_heads_on_both_modalities_have_genes_of_what_only_the_expression_shows_too(
    planted: Config, truth: dict[str, tuple[str, ...]]
) -> None:
    name = RunName(0, 0)
    found = explain_expression(planted, run=name, targets=["class:B"], representation="fused")
    table = found.targets[0].genes
    for coordinate in ("shared_subtype", "expression_subtype"):
        assert len(set(truth[coordinate]) & set(table["gene"].head(40))) >= 10, coordinate  # by chance 4
    assert read_json(found.folder / "expression.json")["representation"] == "fused"
    one = explained_run(planted, prepare_cohort(planted), name)
    (target,) = one.targets(["class:B"], "fused")
    told = pd.read_parquet(found.folder / "expression_patients.parquet").set_index("patient")
    rows = one.table.rows(list(told.index))
    said = target.value({"X_fused": torch.from_numpy(one.table.views["fused"][rows])}).numpy()
    np.testing.assert_allclose(told["value"], said)
    genes = told[[name for name in told if name.startswith("GENE")]]
    np.testing.assert_allclose(genes.sum(axis=1) + told["at_mean"], said, atol=1e-4)


@pytest.mark.parametrize("target", ["class:B", "agreement"])
def test_leading_genes_are_needed_and_random_weights_have_others(run: ExplainedRun, target: str) -> None:
    (one,) = run.targets([target], "expression")
    profiles, mean = profiles_of(run, one)
    given = contributions(run.trained.model, one, profiles, mean)
    order = np.argsort(-np.abs(given.effect))

    def spread_without(genes: np.ndarray) -> float:
        kept = np.setdiff1d(np.arange(len(order)), genes)
        return float(np.abs(given.contributions[:, kept].sum(axis=1)).mean())

    rng = np.random.default_rng(0)
    random = [spread_without(rng.choice(order[20:], 20, replace=False)) for _ in range(20)]
    assert spread_without(order[:20]) < 0.8 * np.mean(random)

    model = run.trained.model
    axes, tail = model.gene_axes.clone(), model.tail_axes.clone()
    shuffle = torch.Generator().manual_seed(0)
    try:
        for tensor in (model.gene_axes, model.tail_axes):
            tensor.copy_(tensor.flatten()[torch.randperm(tensor.numel(), generator=shuffle)].view_as(tensor))
        again = contributions(model, one, profiles, mean)
    finally:
        model.gene_axes.copy_(axes)
        model.tail_axes.copy_(tail)
    assert abs(spearmanr(np.abs(given.effect), np.abs(again.effect)).statistic) < 0.4


def test_files_say_what_was_found(planted: Config, found: ExplainedExpression) -> None:
    folder = planted.output / "explain"
    table = pd.read_parquet(folder / "expression.parquet")
    assert tuple(table.columns) == COLUMNS
    assert set(table["target"]) == {"class:B", "risk", "agreement"}
    assert set(table["folds"]) == {2} and set(table["runs"]) == {4} and table["low"].notna().all()
    patients = pd.read_parquet(folder / "seed0" / "fold1" / "expression_patients.parquet")
    cohort = prepare_cohort(planted)
    assert set(patients["patient"]) <= set(cohort.folds[1].test)
    genes = [name for name in patients if name.startswith("GENE")]
    added = patients[genes].sum(axis=1) + patients["at_mean"]
    np.testing.assert_allclose(added, patients["value"], atol=1e-3)
    account = read_json(folder / "expression.json")
    assert account["runs"] == ["seed0/fold0", "seed0/fold1", "seed1/fold0", "seed1/fold1"]
    assert "Nadeau" in account["interval"] and account["gene_sets"]["sets"] == 205
    assert {one["target"] for one in account["targets"]} == {one.name for one in found.targets}
    for name in ("class-B", "risk", "agreement"):
        assert (folder / f"expression-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_one_run_is_explained_beside_the_study(planted: Config) -> None:
    one = explain_expression(planted, run=RunName(1, 1), targets=["risk"])
    assert one.folder == planted.output / "explain" / "seed1" / "fold1"
    assert one.targets[0].genes["low"].isna().all() and set(one.targets[0].genes["folds"]) == {1}


@pytest.fixture(scope="module")
def prototypes(planted: Config) -> ExplainedPrototypes:
    return explain_prototypes(planted)


def test_prototypes_are_opened(planted: Config, prototypes: ExplainedPrototypes) -> None:
    found = prototypes
    cohort = prepare_cohort(planted)
    everyone = set(cohort.patients.index)
    for one in found.runs:
        assert {name for opened in one.prototypes for name in opened.found.patients} == everyone
        assert one.rand_seeds is not None and one.rand_folds is not None
        assert one.coverage.in_use == len(one.prototypes)
    first = found.runs[0].prototypes[0]
    owner = dict(zip(cohort.slides["slide"], cohort.slides["patient"], strict=True))
    assert {owner[slide] for slide in first.slides} == set(first.found.patients)
    values = [tile.closeness for tile in first.tiles]
    assert values == sorted(values, reverse=True)
    # By hand: the nearest tile, taken for a whole slide, is that near.
    run = explained_run(planted, cohort, found.runs[0].run)
    bag = FeatureStore(cohort.paths).bag(first.tiles[0].slide)
    tile = torch.from_numpy(bag.read())[first.tiles[0].tile]
    model = run.trained.model
    with torch.no_grad():
        nothing = torch.full((1, model.expression_width), torch.nan)
        view = model.views(model.embed_slide(tile[None, None]), nothing)["X_align_slide"].double().numpy()
    direction = model.prototypes.weight.detach().double().numpy()[first.found.number][None]
    assert float((unit_rows(view) @ unit_rows(direction).T)[0, 0]) == pytest.approx(values[0], abs=1e-5)
    assert (first.tiles[0].x, first.tiles[0].y) == tuple(bag.coords()[first.tiles[0].tile])
    for shares in found.parts.values():
        assert [one.of for one in shares] == ["representation", "class:B", "risk"]
        assert all(sum(one.shares.values()) == pytest.approx(1.0) for one in shares)
    content = read_json(planted.output / "explain" / "seed0" / "fold0" / "prototypes.json")
    assert len(content["prototypes"]) == found.runs[0].coverage.in_use
    assert {test["among"] for test in content["tests"]} == {"all", "test"}
    # Twenty genes were planted for each factor: a prototype has more that differ than a table would name.
    assert max(len(one["genes"]) for one in content["prototypes"]) > 12
    assert all(gene["q"] < 0.05 for one in content["prototypes"] for gene in one["genes"])


def test_tiles_of_prototypes_are_drawn_with_their_slides_and_what_cannot_be_is_told(
    planted: Config, prototypes: ExplainedPrototypes, tmp_path: Path
) -> None:
    sheet = planted.output / "explain" / "seed0" / "fold0" / "prototypes.png"
    assert not sheet.exists() and prototypes.runs[0].run == RunName(0, 0)
    slides = prototypes.runs[0].prototypes[0].slides
    coords = FeatureStore(prepare_cohort(planted).paths).bag(slides[0]).coords()
    assert coords is not None
    image = np.full((*(coords.max(axis=0)[::-1] + 1024), 3), 200, dtype=np.uint8)
    write_scan(tmp_path / f"{slides[0]}.tif", image, mpp=0.25)
    write_scan(tmp_path / f"{slides[1]}.tif", image[:16, :16], mpp=0.25)
    (tmp_path / f"{slides[2]}.tif").write_bytes(b"II*\0")
    command = ["explain", "prototypes", str(planted.output / "job.yaml"), "--run", "seed0/fold0", "--json"]
    told = CliRunner().invoke(app, [*command, "--slides", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert sheet.exists()
    assert re.search(rf"{slides[1]}: \d+ of \d+ tiles lie outside .*{slides[1]}.tif, which has 16 x 16 px", told.stderr)
    assert re.search(rf"{slides[2]}: .*breaks off or is damaged.*there are no pictures of its tiles", told.stderr)
    assert f"{slides[0]}: " not in told.stderr
    content = json.loads(told.stdout)
    assert content["parts"]["seed0/fold0"] and set(content["notes"]) == set(slides[1:3])


def test_a_slide_whose_tiles_have_no_width_has_no_pictures_and_stops_no_other(
    planted: Config, prototypes: ExplainedPrototypes, tmp_path: Path
) -> None:
    cohort = prepare_cohort(planted)
    one = prototypes.runs[0]
    shown, without = (SlideId(slide) for slide in one.prototypes[0].slides[:2])
    store = FeatureStore(cohort.paths)
    copy = Path(shutil.copy(cohort.paths[without], tmp_path / f"{without}.h5"))
    with h5py.File(copy, "r+") as file:
        file["coords"][:] = np.arange(len(file["coords"]))[:, None] * np.array([700, 900])  # no two are neighbours
        file.attrs.pop("tile_level0_px", None)
        file["coords"].attrs.pop("patch_size_level0", None)
    coords = store.bag(shown).coords()
    assert coords is not None
    image = np.full((*(coords.max(axis=0)[::-1] + 1024), 3), 200, dtype=np.uint8)
    entries: dict[SlideId, SlideEntry] = {}
    for slide in (shown, without):
        write_scan(tmp_path / f"{slide}.tif", image, mpp=0.25)
        entries[slide] = SlideEntry(slide, tmp_path / f"{slide}.tif", None)
    files = cohort.slides["path"].mask(cohort.slides["slide"] == without, str(copy))
    damaged = replace(cohort, slides=cohort.slides.assign(path=files))
    told = draw_prototypes(tmp_path / "prototypes.png", one, entries, damaged, "planted")
    assert (tmp_path / "prototypes.png").exists()
    assert set(told) == {without}
    assert re.search(r"does not say how wide a tile is.*: there are no pictures of its tiles$", told[without][0])
    assert all(tile.x is None for tile in near_tiles_alone(planted, damaged, without))


def near_tiles_alone(config: Config, cohort: Cohort, slide: SlideId) -> list[NearTile]:
    """Of one slide, those nearest to the first prototype of the first run."""
    run = explained_run(config, cohort, RunName(0, 0))
    model = run.trained.model
    assert isinstance(model, CanonicalMirror)
    direction = model.prototypes.weight.detach().double().numpy()[0]
    return near_tiles(model, FeatureStore(cohort.paths), [slide], direction)


def test_the_commands_print_tables_or_json(planted: Config, gene_sets: Path) -> None:
    config = str(planted.output / "job.yaml")
    runner = CliRunner()
    told = runner.invoke(app, ["explain", "expression", config, "--run", "seed0/fold0", "--target", "risk"])
    assert told.exit_code == 0 and "log hazard" in told.stdout and "GENE" in told.stdout
    sets = ["--gene-sets", str(gene_sets), "--target", "class:B", "--run", "seed0/fold0", "--json"]
    told = runner.invoke(app, ["explain", "expression", config, *sets])
    content = json.loads(told.stdout)
    assert content["targets"][0]["sets"][0]["name"] == "shared_subtype" and len(content["genes"]) == SIZES.genes
    told = runner.invoke(app, ["explain", "prototypes", config, "--run", "seed0/fold1"])
    assert told.exit_code == 0 and "seed0/fold1" in told.stdout and "Rand" in told.stdout
    content = read_json(planted.output / "explain" / "seed0" / "fold1" / "prototypes.json")
    # One numbering: rows of the terminal by the numbers of the file.
    first = re.findall(r"^│\s*(\d+) │\s+(\d+) │\s+\d+ │", told.stdout, flags=re.MULTILINE)
    assert first == [(str(one["number"]), str(len(one["patients"]))) for one in content["prototypes"][:SHOWN]]
    assert f"the {SHOWN} largest; {len(content['prototypes']) - SHOWN} more" in told.stdout
    surest = min(content["tests"], key=lambda test: test["p"])
    assert re.search(rf"seed0/fold1, +{surest['prototype']} │ +{surest['outcome']}", told.stdout)
    told = runner.invoke(app, ["explain", "expression", config, "--target", "class:C"])
    assert told.exit_code == 1 and "there are class:A" in told.stderr


def test_presets_without_prototypes_or_parts_say_so(simulated: Path, tmp_path: Path) -> None:
    random = {**CANONICAL, "preset": "alignment-only"}
    with pytest.raises(ConfigError, match="never learned"):
        explain_prototypes(load_config(write_config(simulated, tmp_path / "a", form=random)))
    with pytest.raises(ConfigError, match="drawn at random"):
        explain_prototypes(load_config(write_config(simulated, tmp_path / "b")))
    without = {**CANONICAL, "model": {**CANONICAL["model"], "private": 0.0}}
    config = load_config(write_config(simulated, tmp_path / "c", form=without))
    embedded(config)
    found = explain_prototypes(config)
    assert not found.parts and found.no_parts is not None and "does not tell" in found.no_parts


def test_heads_of_networks_are_explained_on_either_representation(simulated: Path, tmp_path: Path) -> None:
    config = load_config(write_config(simulated, tmp_path / "published"))
    embedded(config)
    for representation in ("expression", "fused"):
        found = explain_expression(config, targets=["class:B", "risk"], representation=representation)
        assert [one.name for one in found.targets] == ["class:B", "risk"] and not found.not_offered
        assert all(one.method == "integrated gradients" and one.error < 0.02 for one in found.targets)


def test_what_failed_on_planted_genes_is_refused_with_its_figure(
    planted: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [one._replace(recall=0.35) if one.target == "class" else one for one in MEASURED]
    monkeypatch.setattr("mirror.explain.offered_genes.MEASURED", tuple(figures))
    with pytest.raises(ConfigError, match=r"0\.35 are found among as many leading ones, 0\.8 is asked for"):
        explain_expression(planted, run=RunName(0, 0), targets=["class:B"])
    found = explain_expression(planted, run=RunName(0, 0))
    assert [one.name for one in found.targets] == ["risk", "agreement"] and "0.35" in found.not_offered[0]


def test_bad_gene_sets_stop_before_anything_is_computed(planted: Config, tmp_path: Path) -> None:
    path = tmp_path / "bad.gmt"
    path.write_text("A only spaces\n")
    with pytest.raises(DataError, match="line 1"):
        explain_expression(planted, gene_sets=path)
