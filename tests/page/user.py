"""What a user does in the page: opens it, logs in, calls, asks; and what can be waited for then."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tests.gateway.running_gateway import TOKEN, RunningGateway
from tests.page.chromium import Browser, Tab
from tests.page.tab import BrowserTab

# Conditions of the page, in JavaScript.
LISTENING = "document.body.dataset.status === 'listening'"
SPEAKING = "document.body.dataset.status === 'speaking'"
ANSWERS = "document.querySelectorAll('#captions .bot .latency:not(:empty)').length"
PROBLEM = "!document.querySelector('#problem').hidden"
NO_PROBLEM = "document.querySelector('#problem').hidden"
# From now on `shown` has all that the page says about a problem.
WATCH_PROBLEMS = """globalThis.shown = [];
new MutationObserver(() => shown.push(document.querySelector("#problem").innerText))
    .observe(document.body, {attributes: true, childList: true, subtree: true,
        characterData: true}); 0"""


@contextlib.asynccontextmanager
async def opened(browser: Browser, gateway: RunningGateway, script: str = "") -> AsyncIterator[Tab]:
    """Open the page, whose scripts run after `script`.

    At the end: no error, no violation, and no request to another server.
    """
    async with browser.tab() as tab:
        await tab.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        await tab.open(f"http://localhost:{gateway.port}/")
        yield tab
        assert tab.errors == []
        assert tab.violations == []
        assert {urlsplit(url).netloc for url in tab.requests} == {f"localhost:{gateway.port}"}


@contextlib.asynccontextmanager
async def signed_in(
    browser: Browser, gateway: RunningGateway, script: str = ""
) -> AsyncIterator[Tab]:
    """Open the page, see `opened`, and log in."""
    async with opened(browser, gateway, script) as tab:
        await logged_in(tab)
        yield tab


async def log_in(tab: BrowserTab, token: str = TOKEN) -> None:
    """Press the button, and give the token that the page asks for."""
    await tab.click("#talk")
    await tab.wait_for("!document.querySelector('#login').hidden")
    await tab.fill("#token", token)
    await tab.click("#login button")


async def logged_in(tab: BrowserTab, token: str = TOKEN) -> None:
    """Log in, and wait until it is done."""
    await log_in(tab, token)
    await tab.wait_for("document.querySelector('#login').hidden")


async def call(tab: BrowserTab) -> None:
    """Begin a call, and wait until the page listens."""
    await tab.click("#talk")
    await tab.wait_for(LISTENING)


async def ask(tab: BrowserTab, question: str) -> None:
    """Type a question and send it."""
    await tab.fill("#question", question)
    await tab.click("#type button")


async def choose_language(tab: BrowserTab, tag: str) -> None:
    """Choose one of the page's languages."""
    await tab.evaluate(
        f"""const select = document.querySelector("#language");
        select.value = "{tag}"; select.dispatchEvent(new Event("change"))"""
    )


async def captions(tab: BrowserTab) -> list[str]:
    """Return "class words" of each caption."""
    found: list[str] = await tab.evaluate(
        """[...document.querySelectorAll("#captions li")].map(
            (item) => `${item.className} ${item.querySelector(".words").textContent}`)"""
    )
    return found
