"""What goes wrong with a call, in Chromium: the words, their announcement, and the way out."""

from __future__ import annotations

import contextlib

import pytest

from appliance import errors, run_folder
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, free_port
from tests.page.chromium import Browser, Tab
from tests.page.strings import strings_of
from tests.page.user import (
    ANSWERS,
    LISTENING,
    NO_PROBLEM,
    PROBLEM,
    QUICK,
    WATCH_PROBLEMS,
    ask,
    call,
    logged_in,
    opened,
    signed_in,
)

STRINGS = strings_of("en")
# Before the page's scripts: nothing is heard until `beginLate` is called. Chromium reads the track
# of the microphone; other browsers connect it to an audio context.
LATE_TRACK = """
const begun = new Promise((resolve) => (globalThis.beginLate = resolve));
const {read} = ReadableStreamDefaultReader.prototype;
ReadableStreamDefaultReader.prototype.read = async function () {
  await begun;
  return read.call(this);
};
"""
LATE_CONTEXT = """
delete globalThis.MediaStreamTrackProcessor;
globalThis.AudioContext = class extends AudioContext {
  constructor(options) {
    super(options);
    if (options.sampleRate) return; // the loudspeaker
    this.suspend();
    this.resume = () => new Promise(() => {});
    globalThis.beginLate = () => super.resume();
  }
};
"""


async def assert_announced(tab: Tab, reason: str) -> None:
    """Assert that the page shows the words of a reason, and that a screen reader announces them."""
    title, advice = STRINGS["problems"][reason]
    await tab.wait_for(PROBLEM)
    assert await tab.text("#problem .title") == title
    assert await tab.text("#problem .advice") == advice
    announced = await tab.alert()
    assert title in announced
    assert advice in announced


def catalogue_words(error: errors.ApplianceError) -> str:
    """Return what the page shows to the people who run the appliance."""
    return f"{error.reason}: {error} {error.advice}"


async def test_blocked_microphone_can_be_allowed_during_the_call(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.")) as gateway,
        opened(speaking_browser, gateway) as tab,
    ):
        await tab.permit_microphone("denied")
        await logged_in(tab)
        await call(tab)
        await assert_announced(tab, "microphone_blocked")
        assert await tab.text("#status") == STRINGS["status"]["missing"]
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(f"{ANSWERS} === 1")
        await tab.click("#problem button")
        await assert_announced(tab, "microphone_blocked")
        await tab.permit_microphone("granted")
        await tab.wait_for(NO_PROBLEM)  # by itself
        await tab.wait_for(f"{ANSWERS} === 2")  # to the spoken question
        assert gateway.metric("voice_sessions_active") == 1


@pytest.mark.parametrize("late", [LATE_TRACK, LATE_CONTEXT], ids=["track", "context"])
async def test_microphone_that_begins_late_is_used(
    make_gateway: MakeGateway, speaking_browser: Browser, late: str
) -> None:
    """On a busy machine, or in Firefox until a loudspeaker is connected."""
    async with (
        make_gateway(ScriptedLLM("It is Paris.")) as gateway,
        signed_in(speaking_browser, gateway, QUICK + late) as tab,
    ):
        await call(tab)
        await assert_announced(tab, "microphone_failed")
        assert await tab.text("#status") == STRINGS["status"]["missing"]
        await tab.evaluate("beginLate()")
        await tab.wait_for(NO_PROBLEM)
        await tab.wait_for(ANSWERS)


async def test_missing_microphone_is_announced_and_questions_can_be_typed(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Rome.")) as gateway,
        signed_in(browser, gateway) as tab,
    ):
        await call(tab)
        await assert_announced(tab, "no_microphone")
        assert await tab.text("#status") == STRINGS["status"]["missing"]
        for control in ("#mute", "#hold"):  # of nothing
            assert not await tab.evaluate(f"document.querySelector('{control}').checkVisibility()")
        await ask(tab, "What is the capital of Italy?")
        await tab.wait_for(ANSWERS)
        await tab.click("#problem button")
        await assert_announced(tab, "no_microphone")


async def test_drain_lets_a_call_go_on_and_refuses_the_next_one_in_words(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with make_gateway(ScriptedLLM("Good.")) as gateway, signed_in(browser, gateway) as tab:
        await ask(tab, "How are you?")
        await tab.wait_for(f"{ANSWERS} === 1")
        run_folder.begin_drain(gateway.run)  # voicectl drain
        await ask(tab, "And now?")
        await tab.wait_for(f"{ANSWERS} === 2")
        await tab.click("#talk")
        await gateway.wait_sessions_closed()
        await tab.click("#talk")
        await assert_announced(tab, "draining")
        assert await tab.text("#problem .detail") == catalogue_words(errors.Draining())
        assert await tab.text("#status") == STRINGS["status"]["waiting"]
        await tab.wait_for("document.querySelector('.countdown').textContent")
        run_folder.end_drain(gateway.run)
        await tab.click("#problem button")
        await tab.wait_for(LISTENING)


async def test_restart_of_an_engine_is_waited_for(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with make_gateway() as gateway, signed_in(browser, gateway, QUICK) as tab:
        await gateway.llm_process.kill()
        await gateway.wait_until(lambda: not gateway.server.control.state().ready)
        await tab.click("#talk")
        await assert_announced(tab, "not_ready")
        refusal = errors.NotReady(waiting_for="llm")
        assert await tab.text("#problem .detail") == catalogue_words(refusal)
        await gateway.llm_process.start()
        await tab.wait_for(LISTENING)  # by itself


async def test_restart_of_the_gateway_is_announced_and_the_call_begun_again(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        async with make_gateway(ScriptedLLM("Good."), port=port) as gateway:
            tab = await stack.enter_async_context(opened(browser, gateway, QUICK))
            await logged_in(tab)
            await ask(tab, "How are you?")
            await tab.wait_for(ANSWERS)
            await tab.evaluate(WATCH_PROBLEMS)
        title, advice = STRINGS["problems"]["shutdown"]
        for words in (title, advice, STRINGS["forgets"]):
            await tab.wait_for(f"shown.some((text) => text.includes({words!r}))")
        await tab.wait_for(PROBLEM)
        assert await tab.text("#status") == STRINGS["status"]["waiting"]
        async with make_gateway(port=port):
            await tab.wait_for(LISTENING)


async def test_full_appliance_is_waited_for_until_the_user_cancels(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with make_gateway(max_sessions=1) as gateway, opened(browser, gateway, QUICK) as tab:
        other = await gateway.connect()
        await logged_in(tab)
        await tab.click("#talk")
        await assert_announced(tab, "full")
        assert await tab.text("#problem .detail") == catalogue_words(errors.Full(limit=1))
        await tab.wait_for(
            "/^Trying again in [0-9]+ s$/.test(document.querySelector('.countdown').textContent)"
        )
        assert await tab.text("#talk-label") == STRINGS["cancel"]
        await tab.click("#talk")
        assert await tab.text("#status") == STRINGS["status"]["idle"]
        assert not await tab.evaluate(PROBLEM)
        await ask(tab, "Are you there?")  # begins a call, too
        await assert_announced(tab, "full")
        await other.disconnect()
        await tab.wait_for(LISTENING)  # by itself
        await tab.wait_for(
            "document.querySelector('#captions').textContent.includes('Are you there?')"
        )


async def test_waiting_page_announces_the_same_words_once(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    """A refusal like the one before changes nothing that a screen reader would read again."""
    async with make_gateway(max_sessions=1) as gateway, opened(browser, gateway, QUICK) as tab:
        await gateway.connect()
        await logged_in(tab)
        await tab.click("#talk")
        await assert_announced(tab, "full")
        await tab.evaluate(
            """globalThis.changes = [];
            const quiet = (node) =>
              (node instanceof Element ? node : node.parentElement).closest("[aria-live=off]");
            const isSame = ({target, attributeName, oldValue}) =>
              attributeName && target.getAttribute(attributeName) === oldValue;
            const note = (records) => changes.push(...records
              .filter((record) => !quiet(record.target) && !isSame(record))
              .map(({target, attributeName}) => `${target.nodeName} ${attributeName}`));
            for (const selector of ["#alert", "#status"])
              new MutationObserver(note).observe(document.querySelector(selector),
                {subtree: true, childList: true, characterData: true, attributeFilter: ["hidden"],
                  attributeOldValue: true});
            0"""
        )
        before = gateway.metric("voice_sessions_rejected_total", reason="full")
        await gateway.wait_until(
            lambda: gateway.metric("voice_sessions_rejected_total", reason="full") > before
        )
        await tab.wait_for("/in [0-9]+ s/.test(document.querySelector('.countdown').textContent)")
        assert await tab.evaluate("changes") == []


async def test_page_whose_modules_were_not_loaded_is_loaded_again(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    """A browser drops what it loads when its network changes."""
    async with make_gateway() as gateway, browser.tab() as tab:
        await tab.command("Network.setBlockedURLs", urls=["*/page/call.js"])
        await tab.open(f"http://localhost:{gateway.port}/")
        assert await tab.text("#status") == ""
        await tab.command("Network.setBlockedURLs", urls=[])
        ready = STRINGS["status"]["idle"]
        await tab.wait_for(f"document.querySelector('#status').textContent === {ready!r}")
        assert (tab.errors, tab.violations) == ([], [])
