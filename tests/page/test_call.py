"""Calls from the page, in Chromium against the real gateway with instant engines."""

from __future__ import annotations

import asyncio

from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import TOKEN, MakeGateway
from tests.page.chromium import Browser
from tests.page.user import (
    ANSWERS,
    LISTENING,
    PROBLEM,
    SPEAKING,
    ask,
    captions,
    choose_language,
    log_in,
    opened,
    signed_in,
)


async def test_wrong_token_is_refused_in_words_and_the_right_one_logs_in(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with make_gateway() as gateway, opened(browser, gateway) as tab:
        await log_in(tab, "x" * 40)
        await tab.wait_for(PROBLEM)
        assert await tab.text("#problem .title") == "The access token is wrong."
        await tab.evaluate("document.querySelector('#token').value = ''")
        await tab.fill("#token", TOKEN)
        await tab.click("#login button")
        await tab.wait_for("document.querySelector('#login').hidden")
        stored = await tab.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert TOKEN not in stored
        assert "__Host" not in stored  # scripts cannot read the cookie
        assert TOKEN not in "".join(tab.requests)


async def test_spoken_question_is_answered_and_shown(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Paris.")) as gateway,
        signed_in(speaking_browser, gateway) as tab,
    ):
        await tab.evaluate(
            """globalThis.seen = [];
            new MutationObserver(() => seen.push(document.body.dataset.status))
                .observe(document.body, {attributes: true})"""
        )
        await tab.click("#talk")
        await tab.wait_for(ANSWERS)
        assert (await captions(tab))[-1] == "bot It is Paris."
        seen = await tab.evaluate("seen.filter((each, i) => each !== seen[i - 1])")
        assert seen[:4] == ["connecting", "listening", "thinking", "speaking"]
        await tab.wait_for(LISTENING)
        assert gateway.metric("voice_turn_heard_latency_seconds_count") == 1
        await tab.click("#talk")
        await gateway.wait_sessions_closed()
        assert await tab.text("#status") == "Ready"


async def test_typed_question_begins_a_call_without_a_microphone(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.")) as gateway,
        signed_in(browser, gateway) as tab,
    ):
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        assert await captions(tab) == ["user What is the capital of Italy?", "bot It is Rome."]
        assert await tab.text("#problem .title") == "No microphone was found."


async def test_interruption_stops_the_sound_and_keeps_what_was_heard(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    long_answer = "This is a long answer. " * 40
    async with (
        make_gateway(ScriptedLLM(long_answer, "Fine.")) as gateway,
        signed_in(browser, gateway) as tab,
    ):
        await ask(tab, "Tell me a story.")
        await tab.wait_for(SPEAKING)
        await asyncio.sleep(1.5)  # listen
        await ask(tab, "Stop. How are you?")
        await tab.wait_for("document.querySelectorAll('#captions .bot').length === 2")
        await tab.wait_for(
            "[...document.querySelectorAll('#captions .bot')].at(-1).textContent.includes('Fine.')"
        )
        question, answer, second, _ = await captions(tab)
        assert (question, second) == ("user Tell me a story.", "user Stop. How are you?")
        assert len(answer) < len(long_answer) / 2


async def test_retry_of_the_microphone_in_a_call_opens_no_second_call(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    llm = ScriptedLLM("It is Rome.", "Two million.")
    async with make_gateway(llm) as gateway, signed_in(browser, gateway) as tab:
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        await tab.click("#problem button")
        await tab.wait_for(PROBLEM)
        await ask(tab, "How many people live there?")
        await tab.wait_for("document.querySelectorAll('#captions .bot').length === 2")
        assert gateway.metric("voice_sessions_active") == 1


async def test_page_speaks_german_and_remembers_it(page_url: str, browser: Browser) -> None:
    async with browser.tab() as tab:
        await tab.open(page_url)
        await choose_language(tab, "de")
        assert await tab.text("#status") == "Bereit"
        await tab.open(page_url)
        assert await tab.text("#status") == "Bereit"
        assert await tab.evaluate("document.documentElement.lang") == "de"


async def test_next_user_reads_nothing_of_what_was_said(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.")) as gateway,
        signed_in(browser, gateway) as tab,
    ):
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        await tab.click("#logout")
        await gateway.wait_sessions_closed()
        await tab.wait_for("!document.querySelector('#login').hidden")
        await tab.fill("#token", TOKEN)
        await tab.click("#login button")
        await tab.wait_for("document.querySelector('#login').hidden")
        assert await captions(tab) == []
