"""axe-core on every state of the page: on a light desktop, and on a dark phone in German.

axe runs beside the page's scripts, so that the page's policy stays as it is.
"""

from __future__ import annotations

import pytest

from tests.page.chromium import Browser
from tests.page.conftest import INSECURE_HOST
from tests.page.states import STATES, show
from tests.page.user import choose_language
from tests.stock.node import package_file

# All eight would take a minute, so each state is seen in two.
LOOKS = (("light", 1280, "en"), ("dark", 390, "de"))  # colour scheme, CSS pixels, language
NARROW = 320  # CSS pixels: WCAG 2.2, 1.4.10
OVERFLOW = """[...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(({tagName, id, className}) => `${tagName} ${id} ${className}`)"""
# axe loads all style sheets once more for one experimental rule, which is off: not here.
RUN = """axe.run(document, {resultTypes: ["violations"], preload: {assets: ["media"]}})
    .then(({violations}) =>
        violations.map(({id, nodes}) => [id, ...nodes.map(({html}) => html)]))"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    return package_file("axe-core/axe.min.js").read_text()


async def test_axe_finds_what_is_wrong(page_url: str, browser: Browser, axe: str) -> None:
    """The check itself: a button without a name and grey on grey are found."""
    async with browser.tab() as tab:
        await tab.add_isolated(axe)
        await tab.open(page_url)
        await tab.evaluate(
            """document.body.append(document.createElement("button"));
            document.querySelector("h1").style.color = "#ccc";"""
        )
        found = {rule for rule, *_ in await tab.isolated(RUN)}
        assert {"button-name", "color-contrast"} <= found


async def test_nothing_is_wrong_in_any_state(page_url: str, browser: Browser, axe: str) -> None:
    """Not even minor findings, and nothing is cut off."""
    wrong = []
    async with browser.tab() as tab:
        await tab.add_isolated(axe)
        await tab.open(page_url)
        for state in STATES:
            for scheme, width, language in LOOKS:
                await tab.prefer(scheme)
                await tab.resize(width)
                await tab.evaluate(
                    f"localStorage['voice-appliance'] = JSON.stringify({{language: '{language}'}})"
                )
                await tab.open(page_url)
                await show(tab, state)
                found = await tab.isolated(RUN)
                await tab.resize(NARROW)
                found += await tab.evaluate(OVERFLOW)
                wrong += [(state, scheme, width, language, each) for each in found]
        assert (tab.errors, tab.violations) == ([], [])
    assert wrong == []


async def test_page_without_encryption(page_url: str, browser: Browser, axe: str) -> None:
    async with browser.tab() as tab:
        await tab.add_isolated(axe)
        await tab.open(page_url.replace("localhost", INSECURE_HOST))
        await tab.wait_for("!document.querySelector('#problem').hidden")
        assert (await tab.text("#problem .title")).startswith("This page was opened without")
        assert await tab.evaluate("!document.querySelector('#problem .trust').hidden")
        assert await tab.isolated(RUN) == []
        await choose_language(tab, "de")
        assert (await tab.text("#problem .title")).startswith("Diese Seite wurde ohne")
        assert (tab.errors, tab.violations) == ([], [])
