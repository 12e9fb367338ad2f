"""The page's controls in a call, in Chromium: devices, volume, mute, push-to-talk, the screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client.wav import write_wav
from client.wire import MIC_SAMPLE_RATE
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.page.chromium import Browser, Tab
from tests.page.strings import strings_of
from tests.page.user import NO_PROBLEM, SPEAKING, ask, call, signed_in

STATUS = strings_of("en")["status"]
LONG_REPLY = "This is a long answer. " * 40
FRAMES = 25  # 1 s of the microphone
# Before the page's scripts: what it asks the browser for, and whether each frame that it sends of
# the microphone is silent. A frame of silence has hardly any byte but zeros.
SPY = """
globalThis.spied = {tracks: [], speakers: [], locks: [], loud: [], duringReplies: []};
const wrap = (type, name, seen) => {
  const original = type.prototype[name];
  type.prototype[name] = function (...parameters) {
    const result = original.apply(this, parameters);
    seen(this, parameters, result);
    return result;
  };
};
wrap(MediaDevices, "getUserMedia", (_, __, stream) =>
  stream.then((it) => spied.tracks.push(...it.getTracks()), () => {}));
wrap(WakeLock, "request", (_, __, lock) => lock.then((it) => spied.locks.push(it), () => {}));
wrap(AudioNode, "connect", (node, [target]) => {
  if (!(target instanceof AudioDestinationNode)) return;
  spied.speakers.push(target.context);
  spied.tap = new AnalyserNode(target.context, {fftSize: 32768});
  node.connect(spied.tap);
});
wrap(WebSocket, "send", (_, [data]) => {
  const bytes = new Uint8Array(data);
  if (bytes.length < 1280) return;
  spied.loud.push(bytes.filter(Boolean).length > 100);
  if (document.body.dataset.status === "speaking") spied.duringReplies.push(spied.loud.at(-1));
});
globalThis.peak = () => { // of the last 0.1 s that was played
  const samples = new Float32Array(spied.tap.fftSize);
  spied.tap.getFloatTimeDomainData(samples);
  return Math.max(...samples.slice(-2400).map(Math.abs));
};
"""


@pytest.fixture(scope="module")
def chatty_browser(speak: Speak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears somebody who never stops."""
    wav = tmp_path_factory.mktemp("microphone") / "chatter.wav"
    pcm = speak("one two three four five six seven eight nine ten eleven twelve thirteen")
    write_wav(wav, pcm, MIC_SAMPLE_RATE)
    running = Browser(wav)
    yield running
    running.stop()


async def change(tab: Tab, selector: str, value: object, event: str = "change") -> None:
    """Choose a value in a control, as a user does."""
    await tab.evaluate(
        f"""(() => {{ const control = document.querySelector({selector!r});
        control.value = {value!r}; control.dispatchEvent(new Event({event!r})); }})()"""
    )


async def frames_from_now(tab: Tab) -> list[bool]:
    """Return of the next frames of the microphone whether they are loud."""
    since = await tab.evaluate("spied.loud.length")
    await tab.wait_for(f"spied.loud.length >= {since + FRAMES}")
    found: list[bool] = await tab.evaluate(f"spied.loud.slice({since + 1})")
    return found


async def options(tab: Tab, selector: str) -> list[str]:
    """Return the values that can be chosen."""
    found: list[str] = await tab.wait_for(
        f"""(() => {{ const all = [...document.querySelectorAll("{selector} option")];
        return all.length > 2 && all.map(({{value}}) => value); }})()"""
    )
    return found


async def test_chosen_devices_are_used_and_remembered(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    microphone = "spied.tracks.at(-1)?.getSettings().deviceId"
    loudspeaker = "spied.speakers.at(-1)?.sinkId"
    async with make_gateway() as gateway, signed_in(speaking_browser, gateway, SPY) as tab:
        await call(tab)
        for selector, used in (("#microphone", microphone), ("#loudspeaker", loudspeaker)):
            chosen = (await options(tab, selector))[-1]
            assert await tab.evaluate(used) != chosen
            await change(tab, selector, chosen)
            await tab.wait_for(f"{used} === {chosen!r}")
        assert await tab.evaluate("spied.tracks.map(({readyState}) => readyState)") == [
            "ended",
            "live",
        ]
        before = [await tab.evaluate(used) for used in (microphone, loudspeaker)]
        await tab.click("#talk")
        await tab.wait_for("spied.tracks.at(-1).readyState === 'ended'")
        await tab.open(f"http://localhost:{gateway.port}/")
        await call(tab)
        assert [await tab.evaluate(used) for used in (microphone, loudspeaker)] == before


async def test_echo_is_cancelled_unless_the_user_wears_headphones(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    cancelled = "spied.tracks.at(-1)?.getSettings().echoCancellation"
    async with make_gateway() as gateway, signed_in(speaking_browser, gateway, SPY) as tab:
        await call(tab)
        assert await tab.evaluate(cancelled) is True
        await tab.click("#headphones")
        await tab.wait_for(f"{cancelled} === false")
        await tab.click("#talk")
        await tab.open(f"http://localhost:{gateway.port}/")
        await call(tab)
        assert await tab.evaluate(cancelled) is False
        assert await tab.evaluate("document.querySelector('#headphones').checked")


async def test_call_uses_another_microphone_if_the_chosen_one_is_gone(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    async with make_gateway() as gateway, signed_in(speaking_browser, gateway, SPY) as tab:
        await tab.evaluate(
            "localStorage.setItem('voice-appliance', JSON.stringify({microphone: 'unplugged'}))"
        )
        await tab.open(f"http://localhost:{gateway.port}/")
        await call(tab)
        assert await tab.evaluate(NO_PROBLEM)
        assert await tab.evaluate("spied.tracks.at(-1).readyState") == "live"


async def test_volume_changes_what_is_played(make_gateway: MakeGateway, browser: Browser) -> None:
    async with (
        make_gateway(ScriptedLLM(LONG_REPLY)) as gateway,
        signed_in(browser, gateway, SPY) as tab,
    ):
        await ask(tab, "Tell me a story.")
        await tab.wait_for(SPEAKING)
        loud = await tab.wait_for("peak() > 0.01 && peak()")
        await change(tab, "#volume", "0.5", "input")
        await tab.wait_for(f"peak() > {0.2 * loud} && peak() < {0.3 * loud}")  # a quarter
        await change(tab, "#volume", "0", "input")
        await tab.wait_for("peak() < 1e-4")


async def test_muted_microphone_sends_silence_until_it_is_opened(
    make_gateway: MakeGateway, chatty_browser: Browser
) -> None:
    async with make_gateway() as gateway, signed_in(chatty_browser, gateway, SPY) as tab:
        await tab.click("#mute")
        await call(tab)
        assert await tab.text("#status") == STATUS["muted"]
        assert not any(await frames_from_now(tab))
        await tab.click("#mute")
        await tab.wait_for("spied.loud.at(-1)")


async def center(tab: Tab, selector: str) -> tuple[float, float]:
    """Return the middle of an element."""
    x, y = await tab.evaluate(
        f"""(() => {{ const element = document.querySelector({selector!r});
        element.scrollIntoView({{block: "center"}});
        const {{x, y, width, height}} = element.getBoundingClientRect();
        return [x + width / 2, y + height / 2]; }})()"""
    )
    return x, y


async def test_push_to_talk_and_half_duplex_decide_what_is_sent(
    make_gateway: MakeGateway, chatty_browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("This is an answer of some seconds. " * 3)) as gateway,
        signed_in(chatty_browser, gateway, SPY) as tab,
    ):
        await tab.click("#push-to-talk")
        await tab.click("#half-duplex")
        await call(tab)
        assert await tab.text("#status") == STATUS["released"]
        assert not any(await frames_from_now(tab))
        await ask(tab, "Tell me something.")
        await tab.wait_for(SPEAKING)
        x, y = await center(tab, "#hold")
        await tab.mouse("mousePressed", x, y)
        await tab.wait_for("spied.loud.at(-1)")  # held, and the bot speaks no more
        during_replies = await tab.evaluate("spied.duringReplies")
        assert during_replies
        assert not any(during_replies)
        await tab.mouse("mouseMoved", x + 300, y + 300)
        assert await tab.evaluate("document.querySelector('#hold').ariaPressed") == "true"
        await tab.mouse("mouseReleased", x + 300, y + 300)
        assert await tab.evaluate("document.querySelector('#hold').ariaPressed") == "false"
        assert not any(await frames_from_now(tab))


async def test_button_of_push_to_talk_is_held_by_keys_and_released_when_they_are_lost(
    page_url: str, browser: Browser
) -> None:
    pressed = "document.querySelector('#hold').ariaPressed === 'true'"

    async def press(where: str, code: str, key: str) -> Any:
        await tab.evaluate(where)
        await tab.key("keyDown", code, key)
        return await tab.evaluate(pressed)

    on_button, on_page = "document.querySelector('#hold').focus()", "document.activeElement.blur()"
    async with browser.tab() as tab:
        await tab.open(page_url)
        assert not await press(on_page, "Space", " ")  # not push-to-talk
        await tab.key("keyUp", "Space", " ")
        await tab.click("#push-to-talk")
        for where, code, key in (
            (on_page, "Space", " "),
            (on_button, "Space", " "),
            (on_button, "Enter", "Enter"),
        ):
            assert await press(where, code, key)
            await tab.key("keyUp", code, key)
            assert not await tab.evaluate(pressed)
        assert not await press("document.querySelector('#question').focus()", "Space", " ")
        await tab.key("keyUp", "Space", " ")
        for lost in (
            "dispatchEvent(new Event('blur'))",  # another window is chosen
            "document.querySelector('#hold').blur()",
        ):
            assert await press(on_button, "Space", " ")
            await tab.evaluate(lost)
            assert not await tab.evaluate(pressed)
            await tab.key("keyUp", "Space", " ")


async def test_screen_stays_on_during_a_call_only(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    held = "spied.locks.filter(({released}) => !released).length"
    async with make_gateway() as gateway, signed_in(browser, gateway, SPY) as tab:
        assert await tab.evaluate(held) == 0
        await call(tab)
        await tab.wait_for(f"{held} === 1")
        # The browser releases the lock of a page that is hidden, for example of a phone that rings.
        await tab.evaluate("spied.locks[0].release()")
        await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await tab.wait_for(f"spied.locks.length === 2 && {held} === 1")
        await tab.click("#talk")
        await tab.wait_for(f"{held} === 0")
        await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await call(tab)
        await tab.wait_for(f"spied.locks.length === 3 && {held} === 1")


async def test_screen_may_go_off_while_the_page_waits(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with make_gateway(max_sessions=1) as gateway, signed_in(browser, gateway, SPY) as tab:
        await gateway.connect()
        await tab.click("#talk")
        await tab.wait_for("document.querySelector('.countdown').textContent")
        await tab.wait_for("spied.locks.length && spied.locks.every(({released}) => released)")


async def test_nothing_moves_for_users_who_prefer_that(page_url: str, browser: Browser) -> None:
    async with browser.tab() as tab:
        await tab.open(page_url)
        await tab.evaluate("document.body.dataset.view = 'call'")
        await tab.evaluate("document.body.dataset.word = 'thinking'")
        for motion, moving in (("no-preference", True), ("reduce", False)):
            await tab.prefer("light", motion)
            assert await tab.evaluate("document.getAnimations().length > 0") is moving
