"""axe-core on every state of the page: on a light desktop, and on a dark phone in German.

axe runs beside the page's scripts, so that the page's policy stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import MakeGateway
from tests.page.chromium import Browser
from tests.page.states import STATES, show
from tests.page.test_call import choose_language, opened
from tests.stock.node import package_file

# One run of axe for each takes a minute for all states, so each state is seen twice.
LOOKS = (("light", 1280, "en"), ("dark", 390, "de"))  # colour scheme, CSS pixels, language
NARROW = 320  # CSS pixels: WCAG 2.2, 1.4.10
OVERFLOW = """[...document.querySelectorAll("body, body *")]
    .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
      || (each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === "visible"
        && each.clientWidth && !each.matches(".visually-hidden")))
    .map((each) => `${each.tagName} ${each.id} ${each.className}`)"""
INSECURE_HOST = "appliance.test"  # not localhost, so without TLS it is no secure context
RUN = """axe.run(document, {resultTypes: ["violations"]}).then(({violations}) =>
    violations.map(({id, nodes}) => [id, ...nodes.map(({html}) => html)]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a microphone, which also knows the appliance by another name."""
    running = Browser(None, f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    return package_file("axe-core/axe.min.js").read_text()


async def test_axe_finds_what_is_wrong(
    make_gateway: MakeGateway, browser: Browser, axe: str
) -> None:
    """The check itself: a button without a name and grey on grey are found."""
    async with make_gateway(engines=()) as gateway, opened(browser, gateway) as tab:
        await tab.evaluate(
            """document.body.append(document.createElement("button"));
            document.querySelector("h1").style.color = "#ccc";"""
        )
        found = {rule for rule, *_ in await tab.isolated(axe, RUN)}
        assert {"button-name", "color-contrast"} <= found


async def test_nothing_is_wrong_in_any_state(
    make_gateway: MakeGateway, browser: Browser, axe: str
) -> None:
    """Not even minor findings, and nothing is cut off."""
    wrong = []
    async with make_gateway(engines=()) as gateway, opened(browser, gateway) as tab:
        for state in STATES:
            for scheme, width, language in LOOKS:
                await tab.prefer(scheme)
                await tab.resize(width)
                await tab.evaluate(
                    f"localStorage['voice-appliance'] = JSON.stringify({{language: '{language}'}})"
                )
                await tab.open(f"http://localhost:{gateway.port}/")
                await show(tab, state)
                found = await tab.isolated(axe, RUN)
                await tab.resize(NARROW)
                found += await tab.evaluate(OVERFLOW)
                wrong += [(state, scheme, width, language, each) for each in found]
    assert wrong == []


async def test_page_without_encryption(
    make_gateway: MakeGateway, browser: Browser, axe: str
) -> None:
    async with make_gateway(engines=()) as gateway, browser.tab() as tab:
        await tab.open(f"http://{INSECURE_HOST}:{gateway.port}/")
        await tab.wait_for("!document.querySelector('#problem').hidden")
        assert (await tab.text("#problem .title")).startswith("This page was opened without")
        assert await tab.evaluate("!document.querySelector('#problem .trust').hidden")
        assert await tab.isolated(axe, RUN) == []
        await choose_language(tab, "de")
        assert (await tab.text("#problem .title")).startswith("Diese Seite wurde ohne")
        assert (tab.errors, tab.violations) == ([], [])
