"""The four commands that look inside, on a small cohort that has the two real slides beside the project."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import jsonschema
import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image
from shapely.geometry import shape
from typer.testing import CliRunner

from mirror.cli.app import app
from mirror.data.cohort import Cohort
from mirror.data.feature_store import Bag
from mirror.simulate.cohort import SimulationSizes
from mirror.simulate.scans import simulate_scans

pytest.importorskip("selenium", reason="selenium is not installed")

from reader import Reader
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from served import served

from chromium import headless, needs_chromium

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

REAL = {"CMU-1-Small-Region": None, "tcga-cr-7395-01a-01-ts1": 0.5}
"""Slide -> the resolution that its header lacks, um/px."""
SCHEMA = json.loads((Path(__file__).parents[1] / "explain" / "qupath_objects.schema.json").read_text())
TARGETS = ("class:B", "risk", "agreement")


def command(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (words, done.output, done.exception)


@pytest.fixture(scope="module")
def study(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a finished run; the real slides are second slides of its first patients."""
    folder = tmp_path_factory.mktemp("real")
    simulate_scans(folder, seed=0, sizes=SimulationSizes(patients=30, genes=40))
    scans, slides = pd.read_csv(folder / "scans.csv"), pd.read_csv(folder / "slides.csv")
    owners = slides["case_id"].unique()[1 : 1 + len(REAL)]
    rows = [{"slide": name, "path": shared / "slides" / f"{name}.svs", "mpp": mpp} for name, mpp in REAL.items()]
    pd.concat([scans, pd.DataFrame(rows)]).to_csv(folder / "scans.csv", index=False)
    owned = pd.DataFrame({"slide_id": list(REAL), "case_id": owners})
    pd.concat([slides, owned]).to_csv(folder / "slides.csv", index=False)
    config = folder / "demo.yaml"
    text = config.read_text().replace("components: 16", "components: 8").replace("count: 3", "count: 2")
    small = "evaluation: {components: [4], shots: 3, draws: 2, inner_folds: 2}"
    config.write_text(text.replace("{tiles: 48}", "{tiles: 24, epochs: 2}") + f"\n{small}\n")
    lost = CliRunner().invoke(app, ["slides", str(folder / "slides.yaml")])
    assert lost.exit_code == 1 and "SIM-LOST-DX1" in lost.output
    for stage in ("cohort", "pretrain", "embed", "evaluate"):
        command(stage, config)
    assert set(REAL) <= set(Cohort.load(folder / "run" / "cohort").owners)
    return config


@pytest.fixture(scope="module")
def explained(study: Path) -> dict[str, Path]:
    """Slide -> the folder of its explanation, by the run in which its patient is a test patient."""
    command("explain", "slide", study, *(word for name in REAL for word in ("--slide", name)))
    (_,) = {len(list((study.parent / "run" / "explain").glob(f"seed0/fold*/slides/{name}"))) for name in REAL}
    return {name: next((study.parent / "run" / "explain").glob(f"seed0/fold*/slides/{name}")) for name in REAL}


@pytest.mark.parametrize("name", REAL)
def test_relevance_lies_on_tissue_and_within_the_slide(
    study: Path, explained: dict[str, Path], shared: Path, name: str
) -> None:
    folder = explained[name]
    about, table = json.loads((folder / "relevance.json").read_text()), pd.read_parquet(folder / "relevance.parquet")
    bag = Bag(study.parent / "extracted" / "features" / f"{name}.h5")
    assert len(table) == bag.tiles > 50 and about["role"] == "test"
    layers = [one["name"] for one in about["layers"]]
    assert set(layers) >= set(TARGETS) and np.isfinite(table[layers].to_numpy()).all()
    side = round(about["tile_level0_px"])
    with openslide.OpenSlide(shared / "slides" / f"{name}.svs") as slide:
        width, height = slide.dimensions
        assert table["x"].min() >= 0 and table["y"].min() >= 0
        assert table["x"].max() + side <= width and table["y"].max() + side <= height
        thumbnail = np.asarray(slide.get_thumbnail((width // 8, height // 8)).convert("HSV"))[..., 1].astype(float)
        by = thumbnail.shape[1] / width
        ink = [
            thumbnail[int(y * by) : int((y + side) * by) + 1, int(x * by) : int((x + side) * by) + 1].mean()
            for x, y in zip(table["x"], table["y"], strict=True)
        ]
    glass = np.percentile(thumbnail, 2)
    assert np.mean(np.array(ink) > glass + 8) == 1.0  # stain: no tile is glass
    for layer in layers:
        assert table[layer].std() > 0, layer


@pytest.mark.parametrize("name", REAL)
def test_pictures_and_qupath_objects_are_of_the_whole_slide(
    explained: dict[str, Path], shared: Path, name: str
) -> None:
    folder = explained[name]
    with openslide.OpenSlide(shared / "slides" / f"{name}.svs") as slide:
        width, height = slide.dimensions
    pictures = sorted(folder.glob("overlay-*.png"))
    layers = {one["name"] for one in json.loads((folder / "relevance.json").read_text())["layers"]}
    assert len(pictures) == len(layers) and len(list(folder.glob("tiles-*.png"))) == len(layers)
    for path in pictures:
        drawn = np.asarray(Image.open(path).convert("RGB"), dtype=float)
        panel = 560 / 72 * 110 / max(width, height)  # px of the picture per px of the slide: 560 points at 110 dpi
        assert drawn.shape[1] == pytest.approx(2 * panel * width, rel=0.15)
        assert drawn.shape[0] == pytest.approx(panel * height + 240, rel=0.15)
        middle = drawn[drawn.shape[0] // 3 : 2 * drawn.shape[0] // 3]
        left, right = np.array_split(middle, 2, axis=1)
        assert left.std() > 5 and right.std() > 5 and path.stat().st_size > 20_000
    told = json.loads((folder / "relevance.geojson").read_text())
    jsonschema.validate(told, SCHEMA)
    table = pd.read_parquet(folder / "relevance.parquet")
    squares = [shape(one["geometry"]) for one in told["features"]]
    assert len(squares) == len(table)
    for square, x, y in zip(squares, table["x"], table["y"], strict=True):
        assert square.is_valid and square.bounds[:2] == (x, y)
        assert square.bounds[2] <= width and square.bounds[3] <= height
    for one, row in zip(told["features"], table.to_dict("records"), strict=True):
        assert set(one["properties"]["measurements"]) == layers
        assert one["properties"]["measurements"]["risk"] == pytest.approx(row["risk"], rel=1e-4, abs=1e-6)


def test_genes_and_prototypes_are_explained_beside_real_slides(study: Path) -> None:
    command("explain", "expression", study)
    command("explain", "prototypes", study)
    folder = study.parent / "run" / "explain"
    genes = pd.read_parquet(folder / "expression.parquet")
    assert {"class:B", "risk", "agreement"} <= set(genes["target"]) and genes["gene"].nunique() == 40
    found = list(folder.glob("seed0/fold*/prototypes.json"))
    assert len(found) == 2
    slides = {slide for path in found for one in json.loads(path.read_text())["prototypes"] for slide in one["slides"]}
    assert set(REAL) & slides


@pytest.fixture(scope="module")
def page(study: Path, explained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert explained
    with served(study, study.parent / "scans.csv", tmp_path_factory.mktemp("made")) as address:
        yield address


@needs_chromium
@pytest.mark.parametrize("name", REAL)
def test_the_page_shows_a_real_slide_its_heat_and_its_own_tiles(
    page: str, study: Path, shared: Path, tmp_path: Path, name: str
) -> None:
    with headless(tmp_path, browser="ALL") as browser:
        reader = Reader(browser, page)
        reader.open(f"slide={name}")
        reader.still()
        bag = Bag(study.parent / "extracted" / "features" / f"{name}.h5")
        assert f"{bag.tiles} tiles" in reader.text("slide-about") and "µm/px" in reader.text("slide-about")
        risk = next(option.text for option in Select(reader.at("layer")).options if option.text.startswith("risk"))
        Select(reader.at("layer")).select_by_visible_text(risk)
        reader.until(lambda: "blue" in reader.text("layer-said"))
        assert reader.heat()[0] > 0
        reader.at("layer-tiles").find_element(By.TAG_NAME, "summary").click()
        reader.at("layer-list").find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "img"))
        tile = int(reader.still()["tile"])
        table = pd.read_parquet(next((study.parent / "run/explain").glob(f"seed0/fold*/slides/{name}/*.parquet")))
        assert tile == int(table["risk"].idxmax())
        assert browser.get_log("browser") == []
    with urlopen(f"{page}picture/tile?slide={name}&tile={tile}") as answer:
        seen = Image.open(io.BytesIO(answer.read())).convert("RGB")
    about = json.loads(
        next((study.parent / "run/explain").glob(f"seed0/fold*/slides/{name}/relevance.json")).read_text()
    )
    side = round(about["tile_level0_px"])
    with openslide.OpenSlide(shared / "slides" / f"{name}.svs") as slide:
        own = slide.read_region((int(table["x"][tile]), int(table["y"][tile])), 0, (side, side)).convert("RGB")
    both = [np.asarray(one.resize(seen.size).convert("L"), dtype=float).ravel() for one in (seen, own)]
    assert np.corrcoef(both)[0, 1] > 0.97  # the rest is JPEG's
