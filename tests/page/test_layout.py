"""What is in view on a phone, and how numbers are written, in each language, in Chromium."""

from __future__ import annotations

import pytest

from tests.page.chromium import Browser, Tab
from tests.page.states import show
from tests.page.strings import LANGUAGES
from tests.page.user import choose_language

PHONE = (390, 844)  # CSS pixels
NOW_SPOKEN = "#captions li:last-child .words"
TEXT_FIELD = "#question"
MUTE = "#mute"
# Whether an element can be seen as a whole: in the viewport, and not scrolled away within a list.
IN_VIEW = """(() => {{
    const box = document.querySelector({selector!r}).getBoundingClientRect();
    if (!box.height || box.left < 0 || box.right > innerWidth) return false;
    const x = (box.left + box.right) / 2;
    return [box.top + 1, box.bottom - 1].every((y) => y >= 0 && y < innerHeight &&
        document.elementFromPoint(x, y)?.matches("{selector}, {selector} *, li:has({selector})"));
}})()"""


async def in_view(tab: Tab, selector: str) -> bool:
    seen: bool = await tab.evaluate(IN_VIEW.format(selector=selector))
    return seen


async def open_phone(tab: Tab, url: str, language: str, state: str) -> None:
    """Open the page on a phone in one of its states."""
    await tab.resize(*PHONE)
    await tab.open(url)
    await choose_language(tab, language)
    await show(tab, state)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_phone_shows_what_is_said_now_and_the_text_field(
    page_url: str, browser: Browser, language: str
) -> None:
    async with browser.tab() as tab:
        for state in ("speaking", "long", "push-to-talk-held"):
            await open_phone(tab, page_url, language, state)
            assert await in_view(tab, NOW_SPOKEN), state
            assert await in_view(tab, TEXT_FIELD), state
            assert await in_view(tab, "#status"), state


@pytest.mark.parametrize("language", LANGUAGES)
async def test_phone_without_a_microphone_shows_why_and_the_text_field(
    page_url: str, browser: Browser, language: str
) -> None:
    async with browser.tab() as tab:
        for state in ("blocked", "no-microphone"):
            await open_phone(tab, page_url, language, state)
            assert await in_view(tab, TEXT_FIELD), state
            assert await in_view(tab, "#problem .title"), state
            assert not await in_view(tab, MUTE), state


async def test_microphone_in_a_call_can_be_muted(page_url: str, browser: Browser) -> None:
    async with browser.tab() as tab:
        await open_phone(tab, page_url, "en", "speaking")
        assert await in_view(tab, MUTE)


async def test_last_caption_stays_in_view_when_a_problem_needs_room(
    page_url: str, browser: Browser
) -> None:
    async with browser.tab() as tab:
        await open_phone(tab, page_url, "en", "long")
        await tab.evaluate(
            """Promise.all(["view", "language"].map((name) => import(`/page/${name}.js`)))
            .then(([view, {LANGUAGES}]) => view.showProblem(
              {reason: "no_microphone", retrySeconds: null, detail: ""}, LANGUAGES.en))"""
        )
        assert await in_view(tab, NOW_SPOKEN)
        assert await in_view(tab, TEXT_FIELD)


async def test_last_caption_stays_in_view_when_a_phone_is_turned(
    page_url: str, browser: Browser
) -> None:
    painted = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    async with browser.tab() as tab:
        await open_phone(tab, page_url, "en", "long")
        for size in ((1280, 2400), PHONE):  # all captions fit, then not
            await tab.resize(*size)
            await tab.evaluate(painted)
        assert await in_view(tab, NOW_SPOKEN)


async def test_seconds_are_written_as_in_the_language(page_url: str, browser: Browser) -> None:
    async with browser.tab() as tab:
        for language, first, typical in (
            ("en", "Answer after 0.89 s", "Usual wait: 0.89 s"),
            ("de", "Antwort nach 0,89 s", "Übliche Wartezeit: 0,89 s"),
        ):
            await open_phone(tab, page_url, language, "speaking")
            assert await tab.text("#captions .latency:not(:empty)") == first
            assert await tab.text("#note") == typical
