"""axe-core on every state of the page: in both colour schemes, on a desktop and on a phone.

axe runs beside the page's scripts, so that the page's policy stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import MakeGateway, ScriptedLLM
from tests.page.chromium import Browser, Tab
from tests.page.test_call import ask, choose_language, log_in, logged_in, opened
from tests.stock.node import package_file

SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)  # CSS pixels: a desktop, a phone
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


async def check(tab: Tab, axe: str) -> None:
    """Assert that axe finds nothing, not even minor, and that nothing is cut off on a phone."""
    for scheme in SCHEMES:
        await tab.prefer(scheme)
        for width in WIDTHS:
            await tab.resize(width)
            found = await tab.isolated(axe, RUN)
            assert found == [], (scheme, width)
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert await tab.evaluate(overflow) <= 0, (scheme, width)


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


async def test_login_and_wrong_token(make_gateway: MakeGateway, browser: Browser, axe: str) -> None:
    async with make_gateway(engines=()) as gateway, opened(browser, gateway) as tab:
        await check(tab, axe)  # idle
        await tab.click("#talk")
        await tab.wait_for("!document.querySelector('#login').hidden")
        await check(tab, axe)
        await tab.fill("#token", "x" * 40)
        await tab.click("#login button")
        await tab.wait_for("!document.querySelector('#problem').hidden")
        await check(tab, axe)


async def test_call_and_settings(make_gateway: MakeGateway, browser: Browser, axe: str) -> None:
    llm = ScriptedLLM("This is a long answer. " * 40)
    async with make_gateway(llm) as gateway, opened(browser, gateway) as tab:
        await logged_in(tab)
        await ask(tab, "Tell me a story.")
        await tab.wait_for("document.body.dataset.status === 'speaking'")
        await tab.wait_for("!!document.querySelector('#captions .bot')")
        await check(tab, axe)
        await tab.click("#mute")
        await tab.click("#settings summary")
        await check(tab, axe)
        await tab.click("#push-to-talk")
        await check(tab, axe)
        await tab.click("#talk")
        await tab.wait_for("document.body.dataset.status === 'idle'")
        await check(tab, axe)


async def test_full_and_reconnecting(make_gateway: MakeGateway, browser: Browser, axe: str) -> None:
    async with make_gateway(max_sessions=1) as gateway:
        await gateway.connect()
        async with opened(browser, gateway) as tab:
            await log_in(tab)
            await tab.wait_for("document.querySelector('#login').hidden")
            await tab.click("#talk")
            await tab.wait_for("document.querySelector('.countdown').textContent")
            await check(tab, axe)


async def test_problems_in_every_language(
    make_gateway: MakeGateway, browser: Browser, axe: str
) -> None:
    """The longest words, and that a conversation was lost."""
    async with make_gateway(engines=()) as gateway, opened(browser, gateway) as tab:
        for language in ("en", "de"):
            await tab.evaluate(
                f"""(async () => {{
                  const {{showProblem, setLanguage}} = await import("/page/view.js");
                  const {{LANGUAGES}} = await import("/page/language.js");
                  const strings = LANGUAGES["{language}"];
                  const length = (words) => words.join(" ").length;
                  const [reason] = Object.entries(strings.problems)
                    .sort(([, a], [, b]) => length(b) - length(a))[0];
                  setLanguage(strings, "{language}");
                  showProblem({{reason, retrySeconds: null, detail: ""}}, strings, true);
                }})()"""
            )
            await check(tab, axe)


async def test_page_without_encryption(
    make_gateway: MakeGateway, browser: Browser, axe: str
) -> None:
    async with make_gateway(engines=()) as gateway, browser.tab() as tab:
        await tab.open(f"http://{INSECURE_HOST}:{gateway.port}/")
        await tab.wait_for("!document.querySelector('#problem').hidden")
        assert (await tab.text("#problem .title")).startswith("This page was opened without")
        assert await tab.evaluate("!document.querySelector('#problem .trust').hidden")
        await check(tab, axe)
        await choose_language(tab, "de")
        assert (await tab.text("#problem .title")).startswith("Diese Seite wurde ohne")
        assert (tab.errors, tab.violations) == ([], [])
