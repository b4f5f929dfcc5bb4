"""Truths about feature files of other tools: what they are taken for, and what is taken from them."""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr

import feature_layouts as layouts
from feature_layouts import COORDS, FEATURES, GRID
from mirror.data.feature_file import BagFacts, read_facts
from mirror.data.feature_store import Bag
from mirror.data.importers.convert import Converted, Origin, convert
from mirror.data.importers.found import Asked, FoundBag, NoBag
from mirror.data.importers.recognise import recognise
from mirror.errors import DataError


@dataclass
class Ours:
    """A file after its import, its rows back in the order they were given in."""

    features: np.ndarray
    coords: np.ndarray | None
    as_given: np.ndarray | None
    facts: BagFacts
    converted: Converted
    layout: str


def imported(path: Path, *, slide_mpp: float | None = None, asked: Asked | None = None) -> Ours:
    """Recognise and convert one file."""
    asked = asked or Asked()
    found = recognise(path, asked)
    assert isinstance(found, FoundBag), found
    target = path.parents[0] / f"ours-{found.slide}.h5"
    converted = convert(found, target, asked=asked, slide_mpp=slide_mpp, made_of=Origin("S1", "stamp"))
    with h5py.File(target) as file:
        back = np.argsort(file["source_row"][()])
        as_given = file["coords_as_given"][()][back] if "coords_as_given" in file else None
    bag = Bag(target)
    coords = bag.coords()
    assert (found.tiles, found.width) == (bag.tiles, bag.width)
    return Ours(
        bag.read()[back],
        None if coords is None else coords[back],
        as_given,
        read_facts(target),
        converted,
        found.layout,
    )


@dataclass(frozen=True)
class Case:
    """A layout, and what of it arrives in our file. `coords_unit` None: it has no positions."""

    write: Callable[[Path], Path]
    layout: str
    encoder: str | None
    coords_unit: str | None
    tile_level0_px: float | None = None
    tile_px: int | None = None
    mpp: float | None = None
    magnification: float | None = None


CASES = [
    Case(layouts.trident, "TRIDENT", "uni_v1", "level0_px", 1024, 512, magnification=20),
    Case(layouts.clam, "CLAM", None, "level0_px", 1024, 256),
    Case(lambda folder: layouts.clam(folder, patches=False), "CLAM", None, "unknown"),
    Case(layouts.uni2h, "UNI2-h archive", None, "unknown"),
    Case(layouts.atlaspatch, "AtlasPatch", "uni_v2", "level0_px", 1024, 512),
    Case(layouts.slide2vec, "slide2vec", "virchow2", "level0_px", 1024, 224, 0.5),
    Case(lambda folder: layouts.slide2vec(folder, "npz"), "slide2vec", "virchow2", "level0_px", 1024, 224, 0.5),
    Case(layouts.tiatoolbox, "tiatoolbox", None, "unknown"),
    Case(lambda folder: layouts.tiatoolbox(folder, "features"), "tiatoolbox", None, "unknown"),
    Case(layouts.eva, "eva", None, None),
    Case(layouts.tangle, "TANGLE", "uni", None),
    Case(layouts.wsi_toolbox, "WSI-toolbox", "gigapath", "unknown", 512, 256, 0.5),
    Case(layouts.kronos, "Kronos", None, "unknown"),
    Case(lambda folder: layouts.bare(folder, "pt"), "bare .pt", None, None),
    Case(lambda folder: layouts.bare(folder, "npy"), "bare .npy", None, None),
    Case(lambda folder: layouts.bare(folder, "npz"), "bare .npz", None, None),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.layout}" for number, case in enumerate(CASES)])
def test_every_layout_arrives_with_its_features_positions_and_what_it_says_of_itself(case, tmp_path):
    ours = imported(case.write(tmp_path))
    assert (ours.layout, ours.facts.encoder, ours.converted.coords_unit) == (
        case.layout,
        case.encoder,
        case.coords_unit,
    )
    np.testing.assert_array_equal(ours.features, FEATURES)
    expected = COORDS if case.coords_unit == "level0_px" else None
    np.testing.assert_array_equal(ours.coords, expected)
    np.testing.assert_array_equal(ours.as_given, COORDS if case.coords_unit == "unknown" else None)
    about = (ours.facts.tile_level0_px, ours.facts.tile_px, ours.facts.mpp, ours.facts.source)
    assert about == (case.tile_level0_px, case.tile_px, case.mpp, case.layout)
    assert ours.facts.target_magnification == case.magnification


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.layout}" for number, case in enumerate(CASES)])
def test_what_a_file_does_not_say_is_said_to_the_user(case, tmp_path):
    said = " ".join(imported(case.write(tmp_path)).converted.notes)
    assert ("no encoder is named" in said) == (case.encoder is None)
    assert ("unit of positions is not said" in said) == (case.coords_unit == "unknown")


@pytest.mark.parametrize("version", ["2.3.0", "2.0"])
def test_micrometres_of_stamp_become_pixels_by_the_resolution_of_the_slide(version, tmp_path):
    path = layouts.stamp(tmp_path, version=version)
    ours = imported(path, slide_mpp=0.25)
    # its rows are in any order: joined by position
    expected = {tuple(place): row for place, row in zip(COORDS.tolist(), FEATURES, strict=True)}
    assert ours.coords is not None and len(ours.coords) == 30
    for place, row in zip(ours.coords.tolist(), ours.features, strict=True):
        np.testing.assert_array_equal(row, expected[tuple(place)])
    assert (ours.layout, ours.facts.encoder, ours.facts.slide_mpp) == ("STAMP", "uni2", 0.25)
    assert ours.facts.tile_level0_px == 1024
    assert ours.facts.mpp == (256 / 224 if version == "2.3.0" else None)


def test_micrometres_stay_micrometres_and_are_said_so_where_the_resolution_is_not_known(tmp_path):
    ours = imported(layouts.stamp(tmp_path))
    assert ours.coords is None and ours.converted.coords_unit == "um"
    assert {tuple(place) for place in ours.as_given} == {tuple(place) for place in COORDS * 0.25}
    assert "--slide-mpp" in ours.converted.notes[-1]


def test_stamp_1_is_known_by_its_grid_of_224_and_nothing_else_is(tmp_path):
    path = layouts.stamp(tmp_path, version="1")
    ours = imported(path, slide_mpp=0.5)
    assert {tuple(place) for place in ours.coords} == {tuple(place) for place in GRID * 512}
    assert ours.facts.tile_level0_px == 512 and ours.facts.encoder == "uni2"
    with h5py.File(path, "a") as file:
        file["coords"][0] = [100, 100]
    assert imported(path, slide_mpp=0.5).converted.coords_unit == "unknown"


def test_a_store_that_lazyslide_wrote_arrives_with_its_tiles(tmp_path):
    path = layouts.lazyslide(tmp_path)
    ours = imported(path)
    np.testing.assert_allclose(ours.features, np.load(tmp_path / "x.npy"), rtol=1e-3, atol=1e-6)
    # tissue is a disc of radius 700 around (1000, 1000); tiles of 256 px touch it
    assert ours.coords.shape == (20, 2) and (ours.coords % 256 == ours.coords[0] % 256).all()
    assert (np.hypot(*(ours.coords + 128 - 1000).T) < 700 + 256).all()
    facts = ours.facts
    assert (facts.encoder, facts.mpp, facts.slide_mpp, facts.tile_px, facts.tile_level0_px) == (
        "uni",
        0.5,
        0.5,
        256,
        256,
    )
    assert facts.overlap_px == 0


def test_two_sets_of_tiles_of_one_encoder_are_told_apart_and_never_picked(tmp_path):
    path = layouts.lazyslide(tmp_path)
    (table,) = (path / "tables").glob("*_tiles")
    shutil.copytree(table, table.with_name(f"{table.name}10x"))
    shutil.copytree(path / "shapes" / "tiles", path / "shapes" / "tiles10x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the store holds files which are not zarr's
        store = zarr.open_group(path, mode="a", use_consolidated=False)
        store[f"tables/{table.name}10x/uns/spatialdata_attrs"].attrs["region"] = "tiles10x"
        zarr.consolidate_metadata(path)
    for asked in (Asked(), Asked(encoder="uni")):
        assert "has features of uni_tiles, uni_tiles10x; name one with --encoder" in str(recognise(path, asked))
    for name in ("uni_tiles", "uni_tiles10x"):
        assert recognise(path, Asked(encoder=name)).encoder == "uni"


@pytest.mark.skipif(importlib.util.find_spec("wsidata") is None, reason="needs wsidata (extra `slides`)")
def test_positions_are_what_wsidata_itself_reads(tmp_path):
    import geopandas

    path = layouts.lazyslide(tmp_path)
    bounds = geopandas.read_parquet(path / "shapes" / "tiles" / "shapes.parquet").bounds
    np.testing.assert_array_equal(imported(path).coords, bounds[["minx", "miny"]])


@pytest.mark.parametrize("index", ["npz", "npy"])
def test_centres_of_slideflow_become_corners_by_the_resolution_of_the_slide(index, tmp_path):
    path = layouts.slideflow(tmp_path, index)
    assert isinstance(recognise(tmp_path / f"S1.index.{index}", Asked()), NoBag)
    ours = imported(path, slide_mpp=0.125)
    np.testing.assert_array_equal(ours.features, FEATURES)
    np.testing.assert_array_equal(ours.coords, COORDS)  # tiles of 128 um are 1,024 px wide
    facts = ours.facts
    assert (ours.layout, facts.encoder, facts.tile_px, facts.mpp) == ("slideflow", "RetCCLFeatures", 256, 0.5)
    assert (facts.tile_level0_px, facts.slide_mpp) == (1024, 0.125)


def test_centres_are_never_taken_for_corners(tmp_path):
    ours = imported(layouts.slideflow(tmp_path), asked=Asked(coords_unit="level0_px"))
    assert (ours.coords, ours.converted.coords_unit) == (None, "unknown")
    np.testing.assert_array_equal(ours.as_given, COORDS + 512)
    assert "centres" in " ".join(ours.converted.notes)


def test_features_that_were_still_being_written_are_no_features(tmp_path):
    path = layouts.wsi_toolbox(tmp_path)
    with h5py.File(path, "a") as file:
        file["gigapath/features"].attrs["writing"] = True
    assert "still being written" in str(recognise(path, Asked()))
    path = layouts.atlaspatch(tmp_path, encoders=("uni_v2", "__tmp_conch"))
    assert imported(path).facts.encoder == "uni_v2"


def test_what_slide2vec_makes_of_regions_and_slides_is_not_taken_for_tiles(tmp_path):
    layouts.slide2vec(tmp_path)
    for place, shape in (
        ("slide_latents", (4, 8)),
        ("hierarchical_embeddings", (1, 30, 8)),
        ("slide_embeddings", (8,)),
    ):
        (tmp_path / place).mkdir()
        torch.save(torch.ones(shape), tmp_path / place / "S1.pt")
        if place != "slide_latents":
            meta = {"artifact_type": place, "encoder_name": "virchow2"}
            (tmp_path / place / "S1.meta.json").write_text(json.dumps(meta))
        found = recognise(tmp_path / place / "S1.pt", Asked())
        assert isinstance(found, NoBag)
        assert found.reason == f"{place}, not tiles"
    assert isinstance(recognise(tmp_path / "tile_embeddings" / "S1.pt", Asked()), FoundBag)


def test_a_damaged_description_is_named_and_not_the_features_beside_it(tmp_path):
    path = layouts.slide2vec(tmp_path)
    for damaged in (b'{"encoder_name": "virch', b"\xff\xfe\x00"):
        path.with_name("S1.meta.json").write_bytes(damaged)
        found = recognise(path, Asked())
        assert isinstance(found, DataError)
        assert str(found).startswith(f"{path.with_name('S1.meta.json')} is damaged") and "S1.pt" not in str(found)


def test_a_file_with_the_marks_of_several_tools_is_the_first_in_the_order_of_the_questions(tmp_path):
    path = tmp_path / "S1.h5"
    with h5py.File(path, "w") as file:
        file["model/features"] = FEATURES
        for name in ("patch_embeddings", "coords", "imgs"):
            file[name] = COORDS if name == "coords" else FEATURES
    with h5py.File(path, "a") as file:
        del file["patch_embeddings"]
    assert recognise(path, Asked()).layout == "WSI-toolbox"
    for name, key in (("Kronos", "patch_embeddings"), ("AtlasPatch", "features/uni"), ("STAMP", "feats")):
        with h5py.File(path, "a") as file:
            file[key] = FEATURES
        assert recognise(path, Asked()).layout == name
    with h5py.File(path, "a") as file:
        del file["feats"], file["features"]
        file["features"] = FEATURES
    assert recognise(path, Asked()).layout == "CLAM"


def test_a_zarr_folder_with_shapes_is_lazyslides_whatever_else_is_in_it(tmp_path):
    path = layouts.lazyslide(tmp_path)
    zarr.open_group(path, mode="a").create_array("features", data=FEATURES)
    zarr.open_group(path, mode="a").create_array("coordinates", data=np.hstack([COORDS, COORDS]))
    assert recognise(path, Asked()).layout == "LazySlide"


def test_an_encoder_may_be_called_extractor_and_units_may_be_bytes(tmp_path):
    path = layouts.clam(tmp_path, patches=False)
    with h5py.File(path, "a") as file:
        file.attrs["extractor"] = "ctranspath"
        file.attrs["unit"] = np.bytes_(b"um")
    ours = imported(path)
    assert (ours.facts.encoder, ours.converted.coords_unit) == ("ctranspath", "um")


def test_the_smallest_step_is_one_of_tiles_in_a_row_and_not_of_grids_beside_each_other(tmp_path):
    path = layouts.uni2h(tmp_path)
    with h5py.File(path, "a") as file:
        file["coords"][0, 15:] = COORDS[15:] + 7  # the other piece of tissue has a grid of its own
    ours = imported(path, asked=Asked(coords_unit="level0_px"))
    assert ours.facts.tile_level0_px == 1024


def test_deepzoom_addresses_become_pixels_by_the_metadata_beside_them(tmp_path):
    ours = imported(layouts.owkin(tmp_path))
    np.testing.assert_array_equal(ours.features, FEATURES)
    np.testing.assert_array_equal(ours.coords, GRID * 448)
    assert (ours.facts.encoder, ours.facts.mpp, ours.facts.tile_level0_px) == ("phikon", 0.5, 448)
    assert (tmp_path / "S1.svs" / "ours-S1.h5").exists()


@pytest.mark.parametrize("unit", ["unknown", "level0_px"])
def test_deepzoom_addresses_without_metadata_are_no_pixels_whatever_is_said(unit, tmp_path):
    ours = imported(layouts.owkin(tmp_path, metadata=False), asked=Asked(coords_unit=unit))
    assert ours.coords is None
    np.testing.assert_array_equal(ours.as_given, GRID)
    assert "deepzoom addresses at level 16" in ours.converted.notes[0]


def test_trident_that_does_not_know_its_encoder_has_it_in_the_folder(tmp_path):
    for number, encoder in enumerate(("None", None)):
        path = layouts.trident(tmp_path / str(number), encoder=encoder, folder="features_conch_v15")
        assert imported(path).facts.encoder == "conch_v15"


@pytest.mark.parametrize("folder", ["brca_features", "cohort-20240101", "features_tiles"])
def test_a_folder_named_for_something_else_names_no_encoder(folder, tmp_path):
    (tmp_path / folder).mkdir()
    assert imported(layouts.bare(tmp_path / folder, "pt")).facts.encoder is None


def test_of_several_encoders_in_one_file_the_user_names_one(tmp_path):
    path = layouts.atlaspatch(tmp_path, encoders=("a", "b"))
    assert "features of a, b; name one with --encoder" in str(recognise(path, Asked()))
    np.testing.assert_allclose(imported(path, asked=Asked("b")).features, FEATURES + 1, rtol=1e-2, atol=1e-3)


def test_the_user_may_say_the_unit_where_the_file_does_not_and_never_against_it(tmp_path):
    asked = Asked(coords_unit="level0_px")
    ours = imported(layouts.uni2h(tmp_path), asked=asked)
    np.testing.assert_array_equal(ours.coords, COORDS)
    assert ours.facts.tile_level0_px == 1024 and "smallest step" in " ".join(ours.converted.notes)
    assert imported(layouts.stamp(tmp_path), asked=asked).converted.coords_unit == "um"


def test_positions_that_differ_from_the_patches_file_are_not_said_to_be_its(tmp_path):
    path = layouts.clam(tmp_path)
    with h5py.File(path, "a") as file:
        file["coords"][0] = [5, 5]
    ours = imported(path)
    assert ours.converted.coords_unit == "unknown" and "was not used" in ours.converted.notes[0]


def test_files_beside_the_features_are_known_for_what_they_are(tmp_path):
    layouts.trident(tmp_path / "t")
    layouts.clam(tmp_path / "c")
    (tmp_path / "s").mkdir()
    layouts.slideflow(tmp_path / "s")
    reasons = {
        "t/20.0x_512px_0px_overlap/patches/S1_patches.h5": "positions only",
        "t/20.0x_512px_0px_overlap/slide_features_titan/S1.h5": "vector, not tiles",
        "c/patches/S1.h5": "positions only",
        "s/S1.index.npz": "positions",
        "s/bags_config.json": "no feature file",
    }
    for name, reason in reasons.items():
        found = recognise(tmp_path / name, Asked())
        assert isinstance(found, NoBag) and reason in found.reason


def test_tiles_at_one_place_twice_are_said(tmp_path):
    path = layouts.trident(tmp_path)
    with h5py.File(path, "a") as file:
        file["coords"][1] = file["coords"][0]
    assert "1 tiles have the position of another one" in imported(path).converted.notes


def test_numbers_that_happen_to_be_whole_are_no_addresses(tmp_path):
    np.save(tmp_path / "a.npy", np.hstack([np.zeros((30, 1)), GRID, np.ones((30, 5))]).astype(np.float32))
    assert recognise(tmp_path / "a.npy", Asked()).layout == "bare .npy"


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def evil_pt(folder: Path) -> Path:
    torch.save(Evil(folder / "executed"), folder / "a.pt")
    return folder / "a.pt"


def evil_npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.array([Evil(folder / "executed")], dtype=object), allow_pickle=True)
    return folder / "a.npy"


def evil_npz(folder: Path) -> Path:
    np.savez(folder / "a.npz", features=np.array([Evil(folder / "executed")], dtype=object))
    return folder / "a.npz"


def evil_zarr(folder: Path) -> Path:
    path = folder / "a.zarr"
    (path / "probabilities").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": 0, "order": "C"}
    for name in ("probabilities", "coordinates"):
        (path / name).mkdir(exist_ok=True)
        (path / name / ".zarray").write_text(json.dumps({**array, "compressor": None, "filters": [{"id": "pickle"}]}))
        (path / name / "0").write_bytes(pickle.dumps([Evil(folder / "executed")]))
    return path


@pytest.mark.parametrize("write", [evil_pt, evil_npy, evil_npz, evil_zarr])
def test_a_file_that_would_execute_something_is_refused_and_executes_nothing(write, tmp_path):
    found = recognise(write(tmp_path), Asked())
    assert isinstance(found, DataError)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("case", CASES[:1] + CASES[5:6] + CASES[13:], ids=lambda case: case.layout)
def test_a_file_cut_anywhere_is_an_error_and_never_half_a_bag(case, tmp_path):
    path = case.write(tmp_path)
    whole = path.read_bytes()
    for length in np.random.default_rng(0).integers(0, len(whole) - 1, 25):
        path.write_bytes(whole[:length])
        found = recognise(path, Asked())
        if isinstance(found, FoundBag):
            with pytest.raises(Exception, match=""):
                convert(found, tmp_path / "ours.h5", asked=Asked(), slide_mpp=None, made_of=Origin("", ""))
        assert not (tmp_path / "ours.h5").exists()
