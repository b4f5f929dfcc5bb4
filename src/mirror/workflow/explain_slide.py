"""Where on the slide: relevance of every tile for numbers of its patient, as a table, pictures and QuPath's GeoJSON."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mirror.artefacts import write_aside, write_json, write_text
from mirror.config import Config, FeaturesConfig
from mirror.data.cohort import Cohort
from mirror.data.feature_store import Bag, FeatureStore, find_bags
from mirror.data.places import TilePlaces, tile_places
from mirror.data.slide_table import ReadOwners, read_slides
from mirror.errors import ConfigError, DataError, raise_together
from mirror.explain import geojson, overlay
from mirror.explain.offered import default_method, require_offered
from mirror.explain.relevance import Method, Relevance, Subject, relevance
from mirror.explain.targets import AGREEMENT, CLASS, Target, target_names
from mirror.ids import SlideId
from mirror.tasks.trained import FeatureKind
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explained import ExplainedRun, RunName, explained_run, run_judging

if TYPE_CHECKING:
    from mirror.slides.looks import Looks
    from mirror.slides.manifest import SlideEntry

ATTENTION = "attention"
Fitted = dict[tuple[str, tuple[str, ...]], list[Target]]
"""Representation and names of targets -> the targets of a run, fitted once."""
EXAMPLES = 12
"""Tiles on the contact sheet, of most and of least relevance each."""


class Wanted(NamedTuple):
    """What to explain, None where all or the default is meant: slides, targets (`attention` among them), method,
    representation, run; `slides` where slide files are, `features` a folder of slides that are not the cohort's."""

    names: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    method: Method | None = None
    representation: str | None = None
    run: RunName | None = None
    slides: Path | None = None
    features: Path | None = None
    output: Path | None = None


class Layer(NamedTuple):
    """One column of relevance.parquet: what of, by which method, what came out, and between which numbers the training
    patients lie."""

    name: str
    target: Target | None
    method: Method
    found: Relevance
    usual: tuple[float, float] | None

    @property
    def shown(self) -> overlay.Shown:
        """As pictures take it."""
        if self.target is None:
            return overlay.Shown(self.name, self.found.values, "share of the slide's attention", signed=False)
        return overlay.Shown(self.name, self.found.values, f"{self.target.unit}, a tile's part", signed=True)


class ExplainedSlide(NamedTuple):
    """What was written of a slide. `notes` say what could not be, and why."""

    slide: str
    patient: str
    role: str
    run: str
    folder: Path
    layers: tuple[dict[str, Any], ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]


class _Item(NamedTuple):
    slide: str
    patient: str
    run: RunName


def explain_slides(config: Config, wanted: Wanted, *, progress: Progress = silent) -> list[ExplainedSlide]:
    """Explain slides of the cohort, each by a model that has not seen its patient, or new ones (`features`).

    Raises `ConfigError` for names that there are not, or a method that is not offered, `DataError` for features that do
    not fit the model.
    """
    cohort = prepare_cohort(config, progress=progress)
    store, items = _new(config, cohort, wanted) if wanted.features is not None else _of_cohort(config, cohort, wanted)
    scans = slide_entries(config, wanted.slides, wanted.features)
    found: list[ExplainedSlide] = []
    run: ExplainedRun | None = None
    fitted: Fitted = {}
    for number, item in enumerate(items):
        progress(number, len(items), item.slide)
        if run is None or run.name != item.run:
            run, fitted = explained_run(config, cohort, item.run), {}
            if wanted.features is not None:
                run.trained.check_fits(_kind(store, items))
        found.append(_explain(run, item, store.bag(item.slide), wanted, scans.get(SlideId(item.slide)), fitted))
    progress(len(items), len(items))
    return found


def slide_entries(config: Config, slides: Path | None, features: Path | None) -> Mapping[SlideId, SlideEntry]:
    """Where slide files are: as told, else as `mirror slides` left it beside the features; empty where nobody says."""
    told = slides
    if told is None:
        beside = (features or Path(config.cohort.features.path)).parent / "slides.jsonl"
        told = beside if beside.exists() else None
    if told is None or (slides is None and not _can_read()):
        return {}
    if not _can_read():
        raise ConfigError('reading slides needs the extra: pip install "mirror-pathology[slides]"')
    from mirror.slides.manifest import entries_of

    return entries_of(told)


def _can_read() -> bool:
    return importlib.util.find_spec("wsidata") is not None


def _of_cohort(config: Config, cohort: Cohort, wanted: Wanted) -> tuple[FeatureStore, list[_Item]]:
    owners = dict(zip(cohort.slides["slide"], cohort.slides["patient"].astype(str), strict=True))
    names = list(owners) if wanted.names is None else [SlideId(name) for name in wanted.names]
    strange = (f"'{name}'" for name in names if name not in owners)
    raise_together(ConfigError, "no such slide in this cohort (new ones are given with --features):", strange)
    judged = {patient for fold in cohort.folds for patient in fold.test}
    if wanted.names is None and wanted.run is None:
        names = [name for name in names if owners[name] in judged]
    items = [_Item(name, owners[name], wanted.run or run_judging(cohort, config, owners[name])) for name in names]
    return FeatureStore(cohort.paths, keep_open=1), sorted(items, key=lambda item: (item.run, item.slide))


def _new(config: Config, cohort: Cohort, wanted: Wanted) -> tuple[FeatureStore, list[_Item]]:
    """Slides of a folder of features; without expression, each is its own patient."""
    assert wanted.features is not None
    every = list(find_bags(wanted.features))
    names = every if wanted.names is None else [SlideId(name) for name in wanted.names]
    raise_together(
        ConfigError,
        f"{wanted.features} has no features of these slides:",
        (name for name in names if name not in every),
    )
    read = read_slides(
        ReadOwners({name: name for name in names}, (), len(names), str(wanted.features)),
        FeaturesConfig(path=wanted.features),
    )
    store = FeatureStore({row.slide: row.path for row in read.slides}, keep_open=1)
    run = wanted.run or RunName(config.seeds[0], cohort.folds[0].number)
    return store, [_Item(name, name, run) for name in names]


def _kind(store: FeatureStore, items: Sequence[_Item]) -> FeatureKind:
    bag = store.bag(items[0].slide)
    return FeatureKind(bag.width, bag.encoder, bag.scale)


def _explain(
    run: ExplainedRun,
    item: _Item,
    bag: Bag,
    wanted: Wanted,
    entry: SlideEntry | None,
    fitted: Fitted,
) -> ExplainedSlide:
    profile = run.profiles.get(item.patient) if run.role(item.patient) != "new" else None
    subject = Subject(bag.read(), profile, run.mean_tile)
    notes: list[str] = []
    layers = _layers(run, item.slide, subject, wanted, fitted, notes)
    places = tile_places(bag)
    if places is None:
        notes.append("the features have no coordinates of tiles in level-0 px: a table, and no pictures nor GeoJSON")
    folder = (wanted.output or run.output) / "slides" / item.slide
    table = pd.DataFrame({"tile": np.arange(bag.tiles, dtype=np.int32)})
    if places is not None:
        table["x"], table["y"] = places.coords.astype(np.int32).T
    for layer in layers:
        table[layer.name] = layer.found.values.astype(np.float32)
    _clear(folder)
    with write_aside(folder / "relevance.parquet") as aside:
        table.to_parquet(aside, index=False)
    files = ["relevance.parquet"]
    if places is not None:
        files += _drawn(folder, run, item, layers, places, entry, notes)
    facts = tuple(_facts(layer) for layer in layers)
    role = run.role(item.patient)
    about = {
        "slide": item.slide,
        "patient": item.patient,
        "role": role,
        "run": str(run.name),
        "model": run.trained.fingerprint,
        "preset": run.trained.preset,
        "tiles": bag.tiles,
        "tile_level0_px": None if places is None else places.side,
        "tile_level0_px_from": None if places is None else places.side_from,
        "mpp": None if places is None else places.mpp,
        "layers": facts,
        "files": files,
        "notes": notes,
    }
    # Last: it says that the others are complete.
    write_json(folder / "relevance.json", about)
    return ExplainedSlide(
        item.slide, item.patient, role, str(run.name), folder, facts, (*files, "relevance.json"), tuple(notes)
    )


def _clear(folder: Path) -> None:
    """Remove what an earlier call left of a slide, so that pictures are always those of the table beside them."""
    for pattern in ("relevance.json", "relevance.geojson", "overlay-*.png", "tiles-*.png"):
        for path in folder.glob(pattern):
            path.unlink()


def _layers(
    run: ExplainedRun,
    slide: str,
    subject: Subject,
    wanted: Wanted,
    fitted: Fitted,
    notes: list[str],
) -> list[Layer]:
    representation = wanted.representation or _default_representation(run, subject)
    names = [*_every_target(run), ATTENTION] if wanted.targets is None else list(wanted.targets)
    numbers = tuple(name for name in names if name != ATTENTION)
    if (representation, numbers) not in fitted:
        fitted[representation, numbers] = run.targets(numbers, representation)
    targets: list[Target | None] = [*fitted[representation, numbers], *([None] if ATTENTION in names else [])]
    layers: list[Layer] = []
    for target in targets:
        name = ATTENTION if target is None else target.name
        if target is not None and target.name == AGREEMENT and subject.profile_G is None:
            notes.append("no agreement: this patient has no expression")
            continue
        try:
            method = wanted.method or default_method(run.trained.model, target)
            require_offered(run.trained.model, target, method)
        except ConfigError as error:
            if wanted.targets is not None:
                raise
            notes.append(str(error))  # of all there are, those that can be explained
            continue
        found = relevance(run.trained.model, subject, target, method)
        usual = None if target is None else run.usual(target)
        layers.append(Layer(name, target, method, found, usual))
        if target is not None and usual is not None and not usual[0] <= found.value <= usual[1]:
            notes.append(
                f"{target.name} of {slide} is {found.value:+.2f}, training patients have {usual[0]:+.2f} to "
                f"{usual[1]:+.2f}: the slide is unlike those the model knows, and so is what it says of it"
            )
    if not layers:
        raise ConfigError("nothing of this slide can be explained: " + "; ".join(notes))
    return layers


def _every_target(run: ExplainedRun) -> list[str]:
    """All there are, but of two classes the second alone: the other's log-odds are the same with the other sign."""
    names = list(target_names(run.table))
    classes = [name for name in names if name.startswith(CLASS)]
    return [name for name in names if len(classes) != 2 or name != classes[0]]


def _default_representation(run: ExplainedRun, subject: Subject) -> str:
    return "fused" if subject.profile_G is not None and "fused" in run.table.views else "slide"


def _facts(layer: Layer) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if np.isnan(value) else value

    target = layer.target
    return {
        "name": layer.name,
        "target": None if target is None else target.name,
        "method": layer.method,
        "unit": layer.shown.unit,
        "signed": layer.shown.signed,
        "representation": None if target is None else target.representation,
        "fitted_on": 0 if target is None else len(target.fitted_on),
        "value": number(layer.found.value),
        "at_mean_tile": number(layer.found.baseline),
        "sum": float(layer.found.values.sum()),
        "training_patients": layer.usual,
    }


def _drawn(
    folder: Path,
    run: ExplainedRun,
    item: _Item,
    layers: Sequence[Layer],
    places: TilePlaces,
    entry: SlideEntry | None,
    notes: list[str],
) -> list[str]:
    """Write GeoJSON, overlays and contact sheets; their names."""
    shown = [layer.shown for layer in layers]
    collection = geojson.tile_objects(
        item.slide,
        places,
        {one.name: one.values.astype(np.float32) for one in shown},
        shown=shown[0].name,
        colours=overlay.colours_of(shown[0]),
        signed=shown[0].signed,
    )
    files = ["relevance.geojson"]
    write_text(folder / files[0], geojson.as_text(collection))
    chosen = [_examples(one) for one in shown]
    looks = _looks(entry, places, [row for pair in chosen for part in pair for row in part], notes)
    if looks is None:
        canvas = overlay.empty_canvas(places)
    else:
        canvas = overlay.Canvas(looks.image, looks.size, places.mpp or looks.mpp)
    seen = "has not seen this patient" if run.role(item.patient) != "train" else "was TRAINED on this patient"
    for layer, one, name, rows in zip(layers, shown, file_names(shown), chosen, strict=True):
        title = f"{item.slide}: {layer.name}"
        note = f"{layer.method}; model {run.name}, which {seen}{_value(layer)}"
        files.append(f"overlay-{name}.png")
        _write(folder / files[-1], overlay.draw_overlay(canvas, places, one, title=title, note=note))
        if looks is not None:
            top, bottom = (_pictured(part, looks, places, one) for part in rows)
            side = None if canvas.mpp is None else places.side * canvas.mpp
            files.append(f"tiles-{name}.png")
            _write(folder / files[-1], overlay.draw_examples(top, bottom, one, title=title, side_um=side))
    return files


def _value(layer: Layer) -> str:
    if layer.target is None:
        return ""
    return f"; {layer.found.value:+.2f}, at the mean tile {layer.found.baseline:+.2f}"


class _Rows(NamedTuple):
    """Rows of the tiles to show."""

    top: list[int]
    bottom: list[int]


def _examples(shown: overlay.Shown) -> _Rows:
    """The highest tiles and as many of the lowest, no tile twice; with a sign, those above zero and those below."""
    order = np.argsort(-shown.values, kind="stable").tolist()
    each = min(EXAMPLES, len(order) // 2)
    top, bottom = order[:each], order[::-1][:each]
    if not shown.signed:
        return _Rows(top, bottom)
    return _Rows([row for row in top if shown.values[row] > 0], [row for row in bottom if shown.values[row] < 0])


def _looks(entry: SlideEntry | None, places: TilePlaces, rows: Iterable[int], notes: list[str]) -> Looks | None:
    """What the slide file shows, or None with a note."""
    if entry is None:
        notes.append(
            "the slide file is not known (--slides FOLDER, or slides.jsonl beside the features): the heat is drawn on "
            "an empty map, and there are no pictures of tiles"
        )
        return None
    from mirror.slides.looks import look_at

    corners = [(int(x), int(y)) for x, y in places.coords[sorted(set(rows))]]
    try:
        return look_at(entry, mpp=places.mpp, tiles=corners, side=places.side, px=overlay.PICTURE_PX)
    except DataError as error:
        notes.append(f"{error}: the heat is drawn on an empty map, and there are no pictures of tiles")
        return None


def _pictured(rows: Iterable[int], looks: Looks, places: TilePlaces, shown: overlay.Shown) -> list[overlay.Example]:
    def corner(row: int) -> tuple[int, int]:
        return int(places.coords[row, 0]), int(places.coords[row, 1])

    return [overlay.Example(looks.tiles[corner(row)], row, float(shown.values[row])) for row in rows]


def file_names(shown: Sequence[overlay.Shown]) -> list[str]:
    """A name fit for a file for each layer, no two alike."""
    names: list[str] = []
    for one in shown:
        plain = re.sub(r"[^\w.-]+", "-", one.name)
        names.append(plain if plain not in names else f"{plain}-{len(names)}")
    return names


def _write(path: Path, content: bytes) -> None:
    with write_aside(path) as aside:
        aside.write_bytes(content)
