"""Tiles as QuPath reads them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from shapely.geometry import shape

from mirror.data.places import TilePlaces
from mirror.explain.geojson import as_text, tile_objects
from mirror.explain.wording import Meaning, meaning

SCHEMA = json.loads((Path(__file__).parent / "qupath_objects.schema.json").read_text())
PLACES = TilePlaces(np.array([[0, 0], [512, 0], [512, 1024]]), 512.0, "file", 0.5)
LAYERS = {"class:B": np.array([0.5, -0.25, 0.0], dtype=np.float32), "risk": np.array([1, 2, 3], dtype=np.float32)}

MEANING = meaning("class:B", "pattern")


def written(**changes: object) -> dict:
    told = {"shown": "class:B", "colours": np.full((3, 3), 200, dtype=np.uint8), "meaning": MEANING, **changes}
    return json.loads(as_text(tile_objects("S1", PLACES, LAYERS, **told)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("told", [MEANING, None])
def test_the_file_is_what_qupath_documents(told: Meaning | None) -> None:
    jsonschema.validate(written(meaning=told), SCHEMA)


def test_the_schema_takes_no_other_names_and_no_text_for_numbers() -> None:
    for name, value in (("object_type", "tile"), ("measurements", {"risk": "high"}), ("color", [1, 2])):
        wrong = written()
        wrong["features"][0]["properties"][name] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_tiles_are_closed_squares_in_level_0_pixels_with_all_their_numbers() -> None:
    features = written()["features"]
    for feature, corner in zip(features, PLACES.coords, strict=True):
        square = shape(feature["geometry"])
        assert square.is_valid and square.bounds == (*corner, *(corner + 512))
        assert square.area == 512**2
    assert [one["properties"]["measurements"]["risk"] for one in features] == [1, 2, 3]
    classes = [one["properties"]["classification"]["name"] for one in features]
    more, less = (f"{does}, compared with {MEANING.compared}" for does in MEANING[:2])
    assert classes == [more, less, more]


def test_a_tile_keeps_its_id_and_no_two_share_one() -> None:
    ids = [one["id"] for one in written()["features"]]
    assert len(set(ids)) == 3 and ids == [one["id"] for one in written(meaning=None)["features"]]
