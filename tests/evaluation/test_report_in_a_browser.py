"""The report in a real browser: every control does what it says, at the width of a desk and of a phone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_inputs import complete_inputs

from mirror.evaluation.report.page import render_report

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from chromium import headless, needs_chromium

pytestmark = needs_chromium

WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(complete_inputs(patients=60, classes=4)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(params=WIDTHS)
def opened(request: pytest.FixtureRequest, browser: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    width = WIDTHS[request.param]
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    return browser


def radios(within: WebElement | webdriver.Chrome) -> list[WebElement]:
    return within.find_elements(By.CSS_SELECTOR, ".pick input[type=radio]")


def shown(browser: webdriver.Chrome, elements: list[WebElement]) -> list[bool]:
    """Which of the elements take up room on the page, asked in one go."""
    return browser.execute_script("return arguments[0].map(e => e.getClientRects().length > 0)", elements)


def use(browser: webdriver.Chrome, control: WebElement) -> None:
    """Click what a reader clicks: the label around the radio button."""
    label = control.find_element(By.XPATH, "./..")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", label)
    label.click()


def test_nothing_is_logged_nothing_is_loaded_and_nothing_sticks_out(opened: webdriver.Chrome):
    assert opened.get_log("browser") == []
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    width = opened.execute_script("return document.documentElement.clientWidth")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    # Nor does a picture or a table, unless it lies in a box that scrolls.
    stuck = opened.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('svg') && "
        "e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert stuck == []


def test_every_tab_shows_its_own_panel_and_no_other(opened: webdriver.Chrome):
    boxes = opened.find_elements(By.CSS_SELECTOR, ".tabs")
    used = 0
    for box in boxes:
        controls = radios(box)
        panels = box.find_elements(By.CSS_SELECTOR, ":scope > .panel")
        assert len(controls) == len(panels)
        for place, control in enumerate(controls):
            if len(controls) > 1:
                use(opened, control)
            assert shown(opened, panels) == [place == at for at in range(len(panels))]
            assert panels[place].text.strip() or panels[place].find_elements(By.CSS_SELECTOR, "svg")
            used += 1
    # Subtypes of the ROC, two confusion matrices, two times the queries, prototypes, metrics of both tasks.
    assert len(boxes) == 7
    assert used == len(radios(opened)) - len(opened.find_elements(By.CSS_SELECTOR, "#map .pick input"))
    assert opened.get_log("browser") == []


def test_every_colouring_of_the_map_paints_the_points_and_shows_its_legend(opened: webdriver.Chrome):
    controls = radios(opened.find_element(By.ID, "map"))
    assert [control.get_attribute("value") for control in controls] == ["label", "fold", "site", "risk"]
    seen: list[list[str]] = []
    for control in controls:
        use(opened, control)
        legends = opened.find_elements(By.CSS_SELECTOR, "#map .legend")
        chosen = [legend for legend, there in zip(legends, shown(opened, legends), strict=True) if there]
        assert [legend.get_attribute("class").split("legend-")[1] for legend in chosen] == [
            control.get_attribute("value")
        ]
        colours = opened.execute_script(
            "return [...document.querySelectorAll('#map svg .p')].map(e => getComputedStyle(e).fill)"
        )
        named = opened.execute_script(
            "return [...arguments[0].querySelectorAll('.dot')].map(e => getComputedStyle(e).backgroundColor)", chosen[0]
        )
        assert len(named) > 1 and set(colours) == set(named)
        seen.append(colours)
    assert all(one != other for at, one in enumerate(seen) for other in seen[:at])


def test_the_keyboard_alone_is_enough(opened: webdriver.Chrome):
    for box in opened.find_elements(By.CSS_SELECTOR, ".pick"):
        own = box.find_elements(By.CSS_SELECTOR, "input[type=radio]")
        if len(own) == 1:
            assert not box.is_displayed()
            continue
        own[0].send_keys(Keys.ARROW_RIGHT)
        assert own[1].is_selected() and not own[0].is_selected()
        assert opened.switch_to.active_element == own[1]
        outline = opened.execute_script("return getComputedStyle(arguments[0].parentNode).outlineStyle", own[1])
        assert outline == "solid"
    for region in opened.find_elements(By.CSS_SELECTOR, ".scroll"):
        assert region.get_attribute("tabindex") == "0" and region.get_attribute("aria-label")


def test_what_is_folded_opens_and_every_link_of_the_contents_leads_to_its_section(opened: webdriver.Chrome):
    for control in radios(opened.find_element(By.ID, "prototypes")):
        use(opened, control)
        summaries = opened.find_elements(By.CSS_SELECTOR, "#prototypes summary")
        (summary,) = [one for one, there in zip(summaries, shown(opened, summaries), strict=True) if there]
        summary.click()
        names = summary.find_element(By.XPATH, "./..").find_elements(By.CSS_SELECTOR, "li")
        assert names and all(shown(opened, names))
    for summary in opened.find_elements(By.CSS_SELECTOR, "#patients summary, #run summary"):
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
        summary.click()
        assert summary.find_element(By.XPATH, "./..").get_attribute("open") is not None
    links = opened.find_elements(By.CSS_SELECTOR, "nav a")
    assert len(links) == 11
    for link in links:
        opened.execute_script("window.scrollTo(0, 0)")
        link.click()
        target = opened.find_element(By.CSS_SELECTOR, link.get_attribute("href").split("html")[1])
        assert (
            target.is_displayed() and opened.execute_script("return location.hash") == f"#{target.get_attribute('id')}"
        )


def test_on_paper_every_panel_is_there_and_no_control(browser: webdriver.Chrome, page: Path):
    browser.get(page.as_uri())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    style = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e).display)"
    assert "none" not in browser.execute_script(style, ".panel")
    assert set(browser.execute_script(style, ".pick, nav")) == {"none"}
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
