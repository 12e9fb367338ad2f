"""The page notices a gateway that has vanished, and calls again."""

from __future__ import annotations

from tests.fakes import vanishing_path
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.page.chromium import Browser, Tab
from tests.page.test_modules import run, tab
from tests.page.user import ANSWERS, LISTENING, WATCH_PROBLEMS, ask, logged_in

__all__ = ["tab"]

# Ticks each 100 ms. Returns the seconds at which there was something to do, and what.
DEFINE = """const found = [], l = new m.Liveness(0);
    let tenths = 0;
    const until = (seconds) => {
        while (tenths < 10 * seconds) {
            const pulse = l.tick(++tenths / 10);
            if (pulse !== "wait") found.push([tenths / 10, pulse]);
        }
    };"""


async def test_vanished_gateway_is_lost_after_more_than_3_and_less_than_4_seconds(tab: Tab) -> None:
    found = await run(tab, "liveness.js", f"{DEFINE} l.heard(); until(4); return found;")
    assert found[0] == [0.5, "ping"]
    lost_at, pulse = found[1]
    assert pulse == "lost"
    assert 3.5 < lost_at < 4.0


async def test_gateway_that_answers_is_not_lost(tab: Tab) -> None:
    found = await run(
        tab,
        "liveness.js",
        f"{DEFINE} for (let i = 1; i <= 10; i++) {{ until(3 * i); l.heard(); }} return found;",
    )
    assert {pulse for _, pulse in found} == {"ping"}


async def test_page_that_stood_still_reads_what_has_arrived_first(tab: Tab) -> None:
    steps = "until(0.5); const after = l.tick(600); l.heard(); return [after, l.tick(600.1)];"
    found = await run(tab, "liveness.js", f"{DEFINE} {steps}")
    assert found == ["wait", "wait"]


async def test_call_goes_on_anew_after_its_gateway_has_vanished(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.", "It is Oslo.")) as gateway,
        vanishing_path(gateway.port) as path,
        browser.tab() as tab,
    ):
        await tab.open(f"http://localhost:{path.port}/")
        await logged_in(tab)
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        await tab.evaluate(WATCH_PROBLEMS)
        path.vanish()
        await tab.wait_for("shown.some((text) => text.includes('The connection was lost.'))")
        assert await tab.evaluate("shown.some((text) => text.includes('will not remember'))")
        await tab.wait_for(LISTENING)  # by itself
        await ask(tab, "What is the capital of Norway?")
        await tab.wait_for("document.querySelector('#captions').innerText.includes('Oslo')")
        assert tab.errors == []
        assert tab.violations == []


async def test_typed_question_is_asked_again_in_the_next_call(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    llm = ScriptedLLM("Let me think about it. " * 40, "It is Rome.")
    async with (
        make_gateway(llm) as gateway,
        vanishing_path(gateway.port) as path,
        browser.tab() as tab,
    ):
        await tab.open(f"http://localhost:{path.port}/")
        await logged_in(tab)
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for("document.querySelector('#captions').innerText.includes('think')")
        path.vanish()
        await tab.wait_for("document.querySelector('#captions').innerText.includes('Rome')")
        questions = [turns[-1].text for turns in gateway.llm.conversations]
        assert questions == ["What is the capital of Italy?"] * 2
