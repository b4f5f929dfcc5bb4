"""Tiles as QuPath reads them: a GeoJSON FeatureCollection of tile objects with measurements (File > Import objects).

The properties are those that QuPath itself writes and reads since 0.4: `objectType`, `name`, `color`, `classification`,
`measurements` (its `PathObjectTypeAdapters`, and docs/advanced/exporting_annotations of its documentation): positions
in pixels of the full resolution from its top left corner. That is the corner of what QuPath shows: of a slide whose
pixels fill only a part of the canvas (openslide.bounds-x, -y: MIRAX, Leica), it crops to that part unless the slide was
added with --no-crop (qupath/qupath#820, #1278; its `OpenslideImageServer`). Legend: T tiles.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirror.data.places import TilePlaces
from mirror.explain.wording import Meaning

NAMESPACE = uuid.UUID("5f3c1a52-6f0a-4a0e-9d8e-6f1d1c0b7a44")
"""Of the objects' ids: the same tile of the same slide has the same one in every file. On a second import QuPath asks
whether to update the ids, and adds duplicates if told not to."""


def tile_objects(
    slide: str,
    places: TilePlaces,
    layers: Mapping[str, NDArray[np.float32]],
    *,
    shown: str,
    colours: NDArray[np.uint8],
    meaning: Meaning | None,
    origin: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """A FeatureCollection, an object a tile in the order of the feature file.

    `layers` name -> values (T,), each a measurement. `shown` names the one that `colours` (T, 3) RGB are of, and by
    whose sign a tile is classified as the `meaning` says, None where there is none. `origin` (x, y): the level-0 px
    that QuPath counts from.
    """
    classes = [
        {"name": f"{does}, compared with {meaning.compared}", "color": colour}
        for does, colour in ((meaning.more, [178, 24, 43]), (meaning.less, [33, 102, 172]))
    ] if meaning is not None else []  # fmt: skip
    features: list[dict[str, Any]] = []
    for row, (x, y) in enumerate((places.coords - np.array(origin)).tolist()):
        right, bottom = x + places.side, y + places.side
        properties: dict[str, Any] = {
            "objectType": "tile",
            "name": f"tile {row}",
            "color": colours[row].tolist(),
            "measurements": {name: float(values[row]) for name, values in layers.items()},
        }
        if classes:
            properties["classification"] = classes[0 if layers[shown][row] >= 0 else 1]
        corners = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(NAMESPACE, f"{slide}/{row}")),
                "geometry": {"type": "Polygon", "coordinates": [corners]},
                "properties": properties,
            }
        )
    return {"type": "FeatureCollection", "features": features}


def as_text(collection: Mapping[str, Any]) -> str:
    """The file's text, a line an object."""
    lines = ",\n".join(json.dumps(feature, allow_nan=False) for feature in collection["features"])
    return f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'
