"""`mirror view` in a real browser, used as a person uses it: by mouse, by keyboard, at a desk and on a tablet."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from looked_at import BARE, EXPLAINED, GRID, NAKED, PASSED_ON, PICTURED, PLAIN, TILE_PX

pytest.importorskip("selenium", reason="selenium is not installed")

from reader import DESK, TABLET, Reader
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from served import served_here

from chromium import headless, needs_chromium
from mirror.artefacts import read_json, write_json
from mirror.errors import ConfigError
from mirror.explain import overlay
from mirror.explain.head_score import Unjudged
from mirror.explain.warned import few, incomplete, unlike, unproven, unsure
from mirror.explain.wording import meaning
from mirror.viewer.contents import Contents
from mirror.workflow.view import view

pytestmark = needs_chromium
LAPTOP = (1280, 800)
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
COLOURS = """
const pixels = document.getElementById('layer-scale').getContext('2d').getImageData(0, 6, 200, 1).data;
return arguments[0].map((place) => [...pixels.slice(4 * place, 4 * place + 3)]);
"""
"""Colours of the layer's scale at places along it, read at once: a browser warns of many readings."""
ROOM = """
const select = arguments[0], look = getComputedStyle(select), pen = new OffscreenCanvas(1, 1).getContext('2d');
pen.font = look.font;
const arrow = 20, room = select.clientWidth - parseFloat(look.paddingLeft) - parseFloat(look.paddingRight) - arrow;
return [room, pen.measureText(select.selectedOptions[0].textContent).width];
"""
"""Pixels that a choice has for its words, and those that they need."""


HEIGHTS = "return [arguments[0].clientHeight, arguments[0].scrollHeight]"
"""Pixels in sight of a box, and of what is in it."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless(tmp_path_factory.mktemp("profile"), browser="ALL", performance="ALL") as driver:
        driver.get("about:blank")  # away from the browser's own first page, which loads its own things
        yield driver


@pytest.fixture
def reader(browser: webdriver.Chrome, page: str) -> Iterator[Reader]:
    """At the end: nothing was logged, and nothing was asked of anybody but this page's own server."""
    browser.get_log("performance")
    browser.get_log("browser")
    yield Reader(browser, page)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked and [url for url in asked if not url.startswith((page, "about:blank"))] == []


def test_a_patient_is_found_by_typing_and_opened_without_a_mouse(reader: Reader) -> None:
    reader.open()
    find = reader.at("find")
    find.send_keys("0001")
    assert find.get_attribute("aria-expanded") == "true"
    find.send_keys(Keys.ARROW_DOWN)
    option = reader.at(find.get_attribute("aria-activedescendant") or "")
    assert option.get_attribute("aria-selected") == "true" and "SIM-0001" in option.text
    find.send_keys(Keys.ENTER)
    reader.until(
        lambda: reader.text("patient-title") == "Patient SIM-0001" and "Survival" in reader.text("patient-body")
    )
    assert reader.text("slide-title") == PICTURED[1]
    assert find.get_attribute("aria-expanded") == "false"
    for heading in ("Predicted label", "Survival", "Genes that stand out"):
        assert heading in reader.text("patient-body")
    reader.browser.back()
    reader.until(lambda: reader.text("slide-title") == PICTURED[0])


def test_a_layer_is_chosen_faded_and_cut(reader: Reader) -> None:
    reader.open(f"slide={EXPLAINED}")
    reader.still()
    assert reader.heat() == (0, 0)
    layers = Select(reader.at("layer"))
    risk = next(option.text for option in layers.options if option.text.startswith("risk"))
    assert "patient unseen" in risk
    layers.select_by_visible_text(risk)
    reader.until(lambda: "log hazard" in reader.text("layer-said"))
    assert meaning("risk", "contributions").legend in reader.text("layer-said")  # as the overlay has it
    by = reader.text("layer-by").replace("\N{MINUS SIGN}", "-")
    parts = "which is 0.10 at the training patients' means, -0.50 from the slide and -0.33 from the expression"
    whole = f"number of slide and expression: -0.73 log hazard, {parts} (training patients -0.50 to 2.00)"
    assert "method contributions" in by and whole in by
    assert "head: c-index 0.64 (0.49 to 0.77) on 38 test patients" in by
    warned = reader.at("layer-warned").find_elements(By.TAG_NAME, "li")
    assert [one.text for one in warned] == [
        "UNSURE the head judges no better than chance may",
        "FEW the head was fitted on 80 patients, those of the exams on 191 to 400",
        "UNLIKE number -0.73 is outside training patients' -0.50 to +2.00",
    ]
    assert (warned[2].get_attribute("title") or "").endswith("and so is what it says of it")
    seen = reader.browser.execute_script(COLOURS, [0, 100, 199])
    ends = overlay.colours_of(overlay.Shown("risk", np.array([-1.0, 0.0, 1.0]), "", signed=True))
    np.testing.assert_allclose(seen, ends, atol=4)  # the colours of the overlay
    drawn, strongest = reader.heat()
    assert drawn > 0
    reader.pull("opacity", Keys.ARROW_LEFT * 6)
    assert reader.text("opacity-said") == "35 %"
    assert reader.heat()[0] == drawn and reader.heat()[1] < strongest
    reader.pull("cut", Keys.ARROW_RIGHT * 50)
    assert reader.text("cut-said") == "50 %"
    assert reader.heat()[0] == pytest.approx(drawn / 2, rel=0.06)
    attention = next(option.text for option in layers.options if option.text.startswith("attention"))
    reader.pull("cut", Keys.HOME)
    layers.select_by_visible_text(attention)  # it says something of half of the tiles
    reader.until(
        lambda: "has not seen this patient" in reader.text("layer-by") and "blue" not in reader.text("layer-said")
    )
    assert reader.heat()[0] == pytest.approx(drawn / 2, rel=0.06)
    (earlier,) = reader.at("layer-warned").find_elements(By.TAG_NAME, "li")  # its explanation knew of no warnings
    assert earlier.text == "made by an earlier version; mirror explain slide makes it anew"
    layers.select_by_index(0)
    reader.until(lambda: not reader.at("layer-warned").is_displayed())


def test_the_strongest_tiles_of_a_layer_are_listed_and_lead_to_their_place(reader: Reader) -> None:
    reader.open(f"slide={EXPLAINED}")
    Select(reader.at("layer")).select_by_index(1)
    reader.until(lambda: reader.at("layer-tiles").is_displayed())
    reader.at("layer-tiles").find_element(By.TAG_NAME, "summary").click()
    names = [button.text.split()[1] for button in reader.at("layer-list").find_elements(By.TAG_NAME, "button")]
    assert names[:3] == ["63", "62", "61"] and names[6:9] == ["0", "1", "2"]
    reader.at("layer-list").find_elements(By.TAG_NAME, "button")[1].click()
    reader.until(lambda: reader.state().get("tile") == "62")
    state = reader.still()
    assert int(state["x"]) == pytest.approx((62 % GRID + 0.5) * TILE_PX, abs=2)


def test_a_tile_is_picked_and_its_nearest_lead_to_other_slides(reader: Reader) -> None:
    reader.open(f"slide={EXPLAINED}")
    state = reader.still()
    zoom = reader.at("zoom")
    # 32 px right of and below the middle: the tile there follows from the state that is in the link.
    ActionChains(reader.browser).move_to_element_with_offset(zoom, 32, 32).click().perform()
    x, y = (float(state[axis]) + 32 / float(state["z"]) for axis in ("x", "y"))
    expected = int(y // TILE_PX) * GRID + int(x // TILE_PX)
    reader.until(lambda: reader.state().get("tile") == str(expected))
    near = reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    names = [re.fullmatch(r"(?:no picture )?(SIM-\S+) tile \d+ · .*cosine .*", one.accessible_name) for one in near]
    assert len(names) == 12 and EXPLAINED not in {name and name[1] for name in names}
    Select(reader.at("layer")).select_by_visible_text("similarity to the picked tile")
    reader.until(lambda: "cosine" in reader.text("layer-said"))
    assert reader.heat()[0] > 0
    assert names[0] is not None and all(names)
    other = names[0][1]
    near[0].send_keys(Keys.ENTER)
    reader.until(lambda: reader.text("slide-title") == other)
    assert reader.state()["slide"] == other and reader.browser.title.startswith(other)
    assert reader.browser.switch_to.active_element.get_attribute("id") == "slide-title"  # focus is not lost


def test_layers_are_made_when_a_reader_asks_for_them(reader: Reader) -> None:
    reader.open(f"slide={PICTURED[1]}")
    assert f"--slide {PICTURED[1]}" in reader.text("layer-said")
    reader.at("explain").click()
    reader.until(lambda: "has not seen this patient" in reader.text("layer-by"))
    layers = Select(reader.at("layer"))
    layers.select_by_visible_text(next(one.text for one in layers.options if one.text.startswith("class:B")))
    reader.until(lambda: meaning("class:B", "pattern").legend in reader.text("layer-said"))
    by = reader.text("layer-by")
    assert "method pattern" in by and "number of slide and expression: " in by and " from the expression (" in by
    names = [option.text.split(" — ")[0] for option in Select(reader.at("layer")).options]
    assert {"none", "risk"} <= set(names)
    assert reader.heat()[0] > 0 and reader.state()["layer"]


def test_a_link_shows_the_same_in_a_fresh_page(reader: Reader) -> None:
    reader.open(f"slide={EXPLAINED}")
    reader.still()
    for _ in range(2):
        reader.at("zoom-in").click()
    reader.until(lambda: reader.at("map-colour").find_elements(By.TAG_NAME, "option"))
    Select(reader.at("map-colour")).select_by_value("risk")
    Select(reader.at("map-view")).select_by_value("fused")
    Select(reader.at("layer")).select_by_index(1)
    reader.pull("opacity", Keys.ARROW_LEFT)
    reader.pull("cut", Keys.ARROW_RIGHT * 30)
    reader.browser.find_element(By.CSS_SELECTOR, ".openseadragon-canvas").send_keys(Keys.ARROW_RIGHT, Keys.ENTER)
    reader.until(lambda: "tile" in reader.state())
    state, said, drawn = reader.still(), reader.text("layer-said"), reader.heat()[0]
    link, before = reader.browser.current_url, reader.browser.current_window_handle
    reader.browser.switch_to.new_window("tab")
    try:
        metrics = {"width": DESK[0], "height": DESK[1], "deviceScaleFactor": 1, "mobile": False}
        reader.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        reader.browser.get(link)
        reader.until(lambda: reader.text("layer-said") == said)
        again = reader.still()
        for name in ("x", "y", "z"):
            assert float(again.pop(name)) == pytest.approx(float(state.pop(name)), abs=1e-3)
        assert again == state
        reader.until(lambda: "by risk" in (reader.at("map-canvas").get_attribute("aria-label") or ""))
        assert reader.at("map-colour").get_attribute("value") == "risk"
        assert reader.at("opacity").get_attribute("value") == "60" and reader.text("cut-said") == "30 %"
        assert reader.heat()[0] == pytest.approx(drawn, rel=0.05)
        assert reader.browser.get_log("browser") == []
    finally:
        reader.browser.close()
        reader.browser.switch_to.window(before)


@pytest.mark.parametrize("size", [LAPTOP, DESK], ids=["laptop", "desk"])
def test_a_link_that_is_handed_on_and_on_shows_the_same(reader: Reader, size: tuple[int, int]) -> None:
    place = {"x": 260.0, "y": 240.0, "z": 0.6}
    layer = told_layers(reader, size)[0]
    given: dict[str, str] = {"slide": EXPLAINED, "layer": layer, "tile": "9", **{k: str(v) for k, v in place.items()}}
    for _ in range(4):
        reader.open(urlencode(given), size)
        reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
        given = reader.still()
        assert {name: float(given[name]) for name in place} == pytest.approx(place, abs=1e-3)
    reader.resize((size[0] - 200, size[1] - 60))
    assert float(reader.still()["z"]) == pytest.approx(place["z"], abs=1e-3)
    zoom = reader.at("zoom")
    heat = reader.browser.execute_script("return document.querySelector('canvas.heat').width")
    assert heat == pytest.approx(zoom.size["width"], abs=3)  # it did follow


def told_layers(reader: Reader, size: tuple[int, int]) -> list[str]:
    reader.open(f"slide={EXPLAINED}", size)
    return [value for one in Select(reader.at("layer")).options if (value := one.get_attribute("value"))]


def test_the_map_is_coloured_by_a_gene_that_is_typed_and_by_prototype(reader: Reader, contents: Contents) -> None:
    table = contents.cohort.expression
    assert table is not None
    name = table.genes[4]
    reader.open(f"slide={EXPLAINED}")
    reader.until(lambda: reader.at("map-colour").find_elements(By.TAG_NAME, "option"))
    gene, canvas = reader.at("map-gene"), reader.at("map-canvas")
    gene.send_keys(name.lower())
    listed = "return [...document.querySelectorAll('#map-genes option')].map((one) => one.value)"
    reader.until(lambda: name in reader.browser.execute_script(listed))
    gene.send_keys(Keys.ENTER)
    reader.until(lambda: f"by {name}, {table.units}" in (canvas.get_attribute("aria-label") or ""))
    assert reader.text("map-legend").startswith("lowest fifth: ")
    assert reader.state()["colour"] == f"gene:{name}" and gene.get_attribute("value") == name
    reader.browser.refresh()
    reader.until(lambda: reader.text("map-legend").startswith("lowest fifth: "))
    gene = reader.at("map-gene")
    assert gene.get_attribute("value") == name
    gene.clear()
    gene.send_keys("no such gene", Keys.ENTER)
    reader.until(lambda: "no such gene" in (reader.at("said").get_attribute("textContent") or ""))
    assert reader.state()["colour"] == f"gene:{name}"
    Select(reader.at("map-colour")).select_by_value("prototype")
    reader.until(lambda: reader.text("map-legend").startswith("prototype "))


def test_nothing_is_cut_off_nor_moves_on_a_laptop(reader: Reader) -> None:
    layer = told_layers(reader, LAPTOP)[0]
    reader.open(urlencode({"slide": EXPLAINED, "layer": layer, "tile": "9"}), LAPTOP)
    near = reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    reader.until(lambda: reader.at("map-colour").find_elements(By.TAG_NAME, "option"))
    reader.still()
    panel = reader.at("slide").rect
    assert near[0].rect["y"] + near[0].rect["height"] <= panel["y"] + panel["height"] <= LAPTOP[1]
    for name in ("map-view", "map-run", "map-colour"):
        room, needed = reader.browser.execute_script(ROOM, reader.at(name))
        assert needed <= room, name
    top = reader.at("zoom").rect
    reader.pull("cut", Keys.END)
    assert reader.text("cut-said") == "99 %" and reader.at("zoom").rect == top


@pytest.mark.parametrize("size", [LAPTOP, TABLET], ids=["laptop", "tablet"])
def test_nothing_moves_with_what_warns_of_a_layer_and_all_of_that_is_in_sight(
    reader: Reader, size: tuple[int, int]
) -> None:
    risk, attention = told_layers(reader, size)[:2]
    layers = Select(reader.at("layer"))

    def places() -> list[float]:
        return [reader.at(name).rect["y"] for name in ("zoom", "layer-about", "near")]

    before = places()
    for layer, warned in ((risk, 3), (attention, 1), ("", 0)):
        layers.select_by_value(layer)
        own = (lambda: reader.at("layer-warned").find_elements(By.CSS_SELECTOR, "li")) if layer else list
        reader.until(lambda own=own, warned=warned: len(own()) == warned)
        assert places() == before, layer
        box = reader.at("layer-about").rect
        for one in own():
            assert one.rect["y"] + one.rect["height"] <= box["y"] + box["height"], one.text
            assert one.rect["x"] + one.rect["width"] <= box["x"] + box["width"], one.text
        if layer:
            reader.until(lambda: reader.text("layer-by"))
        high, whole = reader.browser.execute_script(HEIGHTS, reader.at("layer-about"))
        assert whole <= high, layer  # nor is there anything to scroll to, small print and all


def test_all_that_can_warn_of_a_layer_at_once_is_in_sight(
    browser: webdriver.Chrome, contents: Contents, tmp_path: Path
) -> None:
    shutil.copytree(contents.explained, tmp_path / "explain")
    (path,) = (tmp_path / "explain").rglob(f"{EXPLAINED}/relevance.json")
    told = read_json(path)
    why = Unjudged("none of the 38 test patients with a known outcome has what it reads")
    risk = (-0.73, (-0.5, 2.0))
    every = (
        unproven("not offered"),
        unsure("risk", why),
        few("risk", 80),
        unlike("risk", *risk),
        incomplete("risk", -1.5, -3.24),
    )
    told["layers"][0] |= {"head": None, "warnings": [one._asdict() for one in every]}
    write_json(path, {name: value for name, value in told.items() if name != "schema"})
    with served_here(replace(contents, explained=tmp_path / "explain")) as page:
        reader = Reader(browser, page)
        for size in (LAPTOP, TABLET):
            reader.open(urlencode({"slide": EXPLAINED, "layer": told_layers(reader, size)[0]}), size)
            items = reader.until(lambda: reader.at("layer-warned").find_elements(By.CSS_SELECTOR, "li"))
            box = reader.at("layer-about").rect
            assert [one.text for one in items] == [f"{one.kind} {one.short}" for one in every]
            assert all(one.rect["y"] + one.rect["height"] <= box["y"] + box["height"] for one in items), size
        assert browser.get_log("browser") == []


def test_an_address_that_nobody_wrote_so_opens_what_there_is(reader: Reader) -> None:
    reader.open(
        "slide=../../etc/passwd&run=seed9/fold9&layer=nothing&opacity=9000&cut=-3&x=a&tile=b&map=none&colour=zz"
    )
    state = reader.still()
    assert state["slide"] == PICTURED[0] and state["run"] == "seed0/fold0" and state["opacity"] == "100"
    assert "layer" not in state and "cut" not in state and "tile" not in state and "map" not in state
    assert "no slide ../../etc/passwd, no run seed9/fold9" in reader.text("notice")
    assert reader.at("notice").get_attribute("role") == "alert"
    reader.at("find").send_keys("0001", Keys.ENTER)
    reader.until(lambda: reader.text("slide-title") == PICTURED[1])
    assert not reader.at("notice").is_displayed()


def test_a_link_says_which_layer_tile_and_gene_are_not_here_and_what_is_shown(reader: Reader) -> None:
    asked = {"layer": "seed0/fold0:class:Z", "tile": "99999", "colour": "gene:NOPE", "opacity": "30", "map": "zz"}
    reader.open(urlencode({"slide": EXPLAINED, **asked}))
    reader.until(lambda: "NOPE" in reader.text("notice"))
    told = reader.text("notice")
    for gone in (
        "no map zz",
        "no layer class:Z of run seed0/fold0",
        f"no tile 99999 of {EXPLAINED} (it has 0 to {GRID * GRID - 1})",
        "no expression of a gene NOPE",
    ):
        assert gone in told
    for instead in ("No layer is shown; there are risk, attention.", "No tile is picked.", "is coloured by label."):
        assert instead in told
    state = reader.still()
    assert state["opacity"] == "30" and not {"layer", "tile", "colour", "map"} & set(state)
    reader.until(lambda: reader.text("near-said").startswith("Click a tile"))
    assert not reader.at("notice").find_elements(By.TAG_NAME, "button")  # there are layers, so none are computed
    Select(reader.at("layer")).select_by_index(1)  # what the reader chooses is no word of the link's any more
    reader.until(lambda: "class:Z" not in reader.text("notice"))
    assert "no tile 99999" in reader.text("notice")


def test_a_layer_of_another_run_is_not_taken_for_the_one_that_the_link_names(reader: Reader) -> None:
    own = told_layers(reader, DESK)[0]
    reader.open(urlencode({"slide": EXPLAINED, "layer": "seed7/fold0:risk"}))
    reader.until(lambda: reader.state().get("layer") == own)
    assert "no layer risk of run seed7/fold0" in reader.text("notice")
    assert f"The layer shown is risk of run {own.removesuffix(':risk')}." in reader.text("notice")
    reader.until(lambda: reader.heat()[0] > 0)
    reader.browser.execute_script("location.hash = arguments[0]", urlencode({"slide": EXPLAINED, "layer": own}))
    reader.until(lambda: not reader.at("notice").is_displayed())
    for gone, lost in (
        ("no tile -3", {"slide": EXPLAINED, "layer": own, "tile": "-3"}),
        ("no slide SIM-NOBODY", {"slide": "SIM-NOBODY", "tile": "2"}),
    ):
        reader.browser.execute_script("location.hash = arguments[0]", urlencode(lost))  # a link put into an open page
        reader.until(lambda gone=gone: gone in reader.text("notice"))
        reader.until(lambda: reader.text("near-said").startswith("Click a tile"))
    assert f"no slide SIM-NOBODY. This is {PICTURED[0]}" in reader.text("notice")


def test_a_layer_that_was_computed_for_the_sender_alone_is_offered_to_who_follows_the_link(
    reader: Reader, contents: Contents
) -> None:
    judged = contents.judged_in(contents.owners[PASSED_ON])
    assert judged is not None
    link = {"slide": PASSED_ON, "layer": f"{judged.name}:risk", "opacity": "30", "cut": "20", "tile": "4"}
    reader.open(urlencode(link))
    reader.until(lambda: f"no layer risk of run {judged.name}" in reader.text("notice"))
    assert "No layer is shown." in reader.text("notice") and "layer" not in reader.still()
    assert Select(reader.at("layer")).options[0].is_selected()  # nothing is computed by following a link
    reader.at("notice-explain").click()
    reader.until(lambda: meaning("risk", "pattern").legend in reader.text("layer-said"))
    assert not reader.at("notice").is_displayed()
    state = reader.still()
    assert {name: state[name] for name in link} == link
    assert reader.heat()[0] > 0


def test_no_key_turns_the_slide_away_from_its_layer(reader: Reader) -> None:
    reader.open(f"slide={EXPLAINED}")
    reader.still()
    canvas = reader.browser.find_element(By.CSS_SELECTOR, ".openseadragon-canvas")
    drawn = "return document.querySelector('.openseadragon-canvas canvas:not(.heat)').toDataURL()"
    before = reader.browser.execute_script(drawn)
    canvas.send_keys("r", "f", "R")
    reader.still()
    assert reader.browser.execute_script(drawn) == before


def test_the_map_is_walked_and_opened_from_the_keyboard(reader: Reader) -> None:
    reader.open()
    canvas = reader.at("map-canvas")
    reader.until(lambda: "24 " in (canvas.get_attribute("aria-label") or "") or canvas.get_attribute("aria-label"))
    said: set[str] = set()
    for key in (Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_RIGHT):
        canvas.send_keys(key)
        said.add(reader.at("said").get_attribute("textContent") or "")
    told = [one for one in said if one.startswith("SIM-")]
    assert len(told) > 1 and all("patient" in one and "label: " in one for one in told)
    last = reader.at("map-tip").text
    canvas.send_keys(Keys.ENTER)
    reader.until(lambda: reader.text("patient-title") == f"Patient {last.split(',')[0][:8]}")


def test_a_point_of_the_map_opens_what_it_stands_for(reader: Reader) -> None:
    reader.open("map=slide")
    canvas = reader.at("map-canvas")
    reader.until(lambda: canvas.get_attribute("aria-label"))
    size = canvas.size
    found = ""
    for across in range(-4, 5):  # a hand that looks for a point
        for down in range(-4, 5):
            place = (int(across * size["width"] / 11), int(down * size["height"] / 11))
            ActionChains(reader.browser, duration=0).move_to_element_with_offset(canvas, *place).perform()
            if reader.at("map-tip").is_displayed() and EXPLAINED not in reader.text("map-tip"):
                found = reader.text("map-tip").split(",")[0]
                ActionChains(reader.browser).click().perform()
                break
        if found:
            break
    assert found
    reader.until(lambda: reader.text("slide-title") == found)


@pytest.mark.parametrize("size", [DESK, TABLET], ids=["desk", "tablet"])
def test_everything_has_a_name_is_in_sight_and_shows_its_focus(reader: Reader, size: tuple[int, int]) -> None:
    reader.open(f"slide={EXPLAINED}&tile=9", size)
    Select(reader.at("layer")).select_by_index(1)
    reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    root = reader.browser.execute_script(
        "const e = document.documentElement; return [e.scrollWidth, e.clientWidth, e.scrollHeight, e.clientHeight]"
    )
    assert root[0] <= root[1]
    nodes = reader.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    asked = ("button", "combobox", "slider", "checkbox", "textbox", "application", "image", "listbox", "progressbar")
    shown = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in asked]
    assert {"button", "combobox", "slider", "checkbox", "application", "image"} <= {
        one["role"]["value"] for one in shown
    }
    assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == []
    stops: list[str] = []
    reader.browser.execute_script("arguments[0].focus()", reader.at("find"))
    for _ in range(80):
        told = reader.browser.execute_script(
            "const e = document.activeElement, look = getComputedStyle(e); "
            "return [e.id || e.className || e.tagName, look.outlineStyle, parseFloat(look.outlineWidth)]"
        )
        if told[0] in ("BODY", *stops[:1]):  # once around
            break
        assert told[1] != "none" and told[2] >= 2, told
        stops.append(told[0])
        reader.browser.switch_to.active_element.send_keys(Keys.TAB)
    order = [
        stops.index(name)
        for name in ("find", "link", "map-view", "map-canvas", "layer", "opacity", "near-others", "patient")
    ]
    assert order == sorted(order)
    assert any("openseadragon-canvas" in stop for stop in stops)


@pytest.mark.slow
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: npm install --no-save axe-core@4, in the project's folder")
@pytest.mark.parametrize("size", [DESK, TABLET], ids=["desk", "tablet"])
def test_axe_finds_nothing_that_keeps_anybody_out(reader: Reader, size: tuple[int, int]) -> None:
    layer = told_layers(reader, size)[0]
    reader.open(urlencode({"slide": EXPLAINED, "layer": layer, "tile": "9"}), size)
    reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    reader.at("layer-tiles").find_element(By.TAG_NAME, "summary").click()
    reader.browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = reader.browser.execute_async_script(
        "axe.run(document, {rules: {'label-content-name-mismatch': {enabled: true}}}).then(arguments[0])"
    )
    assert len(found["passes"]) > 20
    bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], node["html"]) for one in bad for node in one["nodes"]] == []


def test_tiles_are_drawn_where_there_is_no_slide_and_their_absence_is_said(reader: Reader) -> None:
    reader.open(f"slide={BARE}")
    reader.still()
    assert "no slide file" in reader.text("slide-about") and reader.heat()[0] > 0
    reader.browser.find_element(By.CSS_SELECTOR, ".openseadragon-canvas").send_keys(Keys.ENTER)
    reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    for slide in (NAKED, PLAIN):
        reader.open(urlencode({"slide": slide, "layer": "seed0/fold0:risk"}))
        assert "no coordinates" in reader.text("slide-note")
        assert "can be had as a table of its tiles" in reader.text("layer-said")
        assert f"--slide {slide}" in reader.text("layer-said")
        assert "No layer can be drawn here: the tiles of this slide have no coordinates." in reader.text("notice")
        reader.until(lambda: reader.text("near-said").startswith("No tile of this slide can be picked"))
        for name in ("layer-controls", "layer-scale", "layer-tiles"):  # nothing is offered that cannot be shown
            assert not reader.at(name).is_displayed()
        assert not reader.browser.find_elements(By.CSS_SELECTOR, "#explain, #notice-explain")
        assert "Survival" in reader.text("patient-body")
    reader.open(f"slide={PLAIN}&tile=4&layer=similar")  # as the nearest tiles of another slide lead here
    reader.until(lambda: reader.at("near-list").find_elements(By.TAG_NAME, "button"))
    assert not reader.at("layer-scale").is_displayed()
    reader.open(f"slide={PLAIN}")
    reader.still()
    assert "The slide alone is shown" in reader.text("slide-note") and "no coordinates" in reader.text("slide-note")
    assert "no slide file" not in reader.text("slide-about") and reader.heat() == (0, 0)


def test_a_run_that_is_not_evaluated_says_so_and_by_which_command_it_is(
    browser: webdriver.Chrome, contents: Contents
) -> None:
    with served_here(replace(contents, predictions=None)) as page:
        reader = Reader(browser, page)
        reader.open(f"slide={EXPLAINED}")
        told = reader.text("patient-body")
        assert "Neither label nor risk is predicted here: no run is evaluated yet." in told
        assert f"mirror evaluate {contents.config}" in told and "Survival" in told
        assert browser.get_log("browser") == []


def test_a_slide_whose_explanation_is_damaged_is_opened_and_says_which_file_it_is(
    browser: webdriver.Chrome, run: Path, tmp_path: Path
) -> None:
    with view(run, slides=run.parent / "scans") as whole:
        shutil.copytree(whole.explained, tmp_path / "explain")
        (damaged,) = (tmp_path / "explain").rglob(f"{EXPLAINED}/relevance.json")
        damaged.write_bytes(damaged.read_bytes()[:40])
        with served_here(replace(whole, explained=tmp_path / "explain")) as page:
            reader = Reader(browser, page)
            reader.open(f"slide={EXPLAINED}", TABLET)
            reader.still()
            told = reader.text("damaged")
            assert f"because {damaged} cannot be read" in told and f"--slide {EXPLAINED} --run seed" in told
            assert "tiles of 64 px" in reader.text("slide-about") and not reader.at("slide-note").is_displayed()
            reader.at("damaged-explain").click()
            reader.until(lambda: reader.heat()[0] > 0)
            assert "method pattern" in reader.text("layer-by") and str(damaged) in reader.text("damaged")
            assert not reader.browser.find_elements(By.ID, "damaged-explain")
            assert browser.get_log("browser") == []


def test_where_no_method_has_passed_the_page_offers_no_button_and_names_what_shows_what_there_is(
    browser: webdriver.Chrome, contents: Contents
) -> None:
    with served_here(replace(contents, offered=False)) as page:
        reader = Reader(browser, page)
        reader.open(urlencode({"slide": BARE, "layer": "seed0/fold0:risk"}))
        told = reader.text("layer-said")
        assert told.startswith("No method has passed for models of this kind (docs/explain.md)")
        assert told.endswith(f"--slide {BARE} --unproven")
        assert not reader.browser.find_elements(By.CSS_SELECTOR, "#explain, #notice-explain, #damaged-explain")
        assert browser.get_log("browser") == []


def test_what_cannot_be_computed_is_told_in_one_line(browser: webdriver.Chrome, contents: Contents) -> None:
    def explain(_: str) -> object:
        raise ConfigError("nothing of this slide can be explained:\n  - one\n  - another")

    with served_here(replace(contents, explain=explain)) as page:
        reader = Reader(browser, page)
        reader.open(f"slide={BARE}")
        reader.at("explain").click()
        reader.until(lambda: "cannot be computed" in reader.text("layer-said"))
        told = reader.text("layer-said")
        assert told.startswith(
            "This cannot be computed: nothing of this slide can be explained. More is said by mirror "
        )
        assert "another" not in told and "one\n" not in told
        assert all("409" in one["message"] for one in browser.get_log("browser"))


def test_a_patient_without_expression_is_shown_with_what_there_is(reader: Reader, contents: Contents) -> None:
    people = contents.cohort.patients
    patient = str(people.index[~people["has_expression"].to_numpy(dtype=bool)][0])
    reader.open(f"patient={patient}")
    told = reader.text("patient-body")
    assert "no expression profile of this patient" in told and "Cox on slide" in told
