"""What is heard in a call, and a network that stops: in Chromium, at the end of the audio graph."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from appliance.link.engine import ToolCall
from client.wav import write_wav
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.page.chromium import Browser
from tests.page.user import ANSWERS, NO_PROBLEM, SPEAKING, ask, logged_in, signed_in

RATE = 16_000
SPEAKER_HZ = 24_000
QUESTION = "What is the capital of France?"
NOT_SPOKEN = "..."  # a reply without a sound: what is heard then is the one before
HEARD_WITHIN_SECONDS = 0.1  # of the audio's own clock: samples played after the frame arrived
STALL_SECONDS = 3.0
# Before the page's scripts: `tap` keeps the last 1.4 s of what is played, `last` what it kept when
# the loudspeaker was closed, `arrived` all frames. `interruptions` has the time of the audio's
# clock at which each such frame arrived. 0x2a is the tag of that frame.
TAP = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...more) {
  if (target instanceof AudioDestinationNode && target.context.sampleRate === 24000) {
    globalThis.tap = new AnalyserNode(target.context, {fftSize: 32768});
    connect.call(this, tap);
  }
  return connect.call(this, target, ...more);
};
const close = AudioContext.prototype.close;
AudioContext.prototype.close = function () {
  if (globalThis.tap?.context === this) {
    globalThis.last = new Float32Array(tap.fftSize);
    tap.getFloatTimeDomainData(last);
  }
  return close.call(this);
};
globalThis.interruptions = [];
globalThis.arrived = [];
globalThis.WebSocket = new Proxy(WebSocket, {construct(socket, parameters) {
  const made = new socket(...parameters);
  made.addEventListener("message", ({data}) => {
    arrived.push(new Uint8Array(data));
    if (new Uint8Array(data)[0] === 0x2a) interruptions.push(tap.context.currentTime);
  });
  return made;
}});
"""
# What was played since one second before the latest interruption: [samples until then, samples].
PLAYED = """(() => {
  const samples = new Float32Array(tap.fftSize);
  const now = tap.context.currentTime;
  tap.getFloatTimeDomainData(samples);
  const after = Math.round((now - interruptions.at(-1)) * tap.context.sampleRate);
  return [samples.length - after, [...samples.map((x) => Math.round(x * 32767))]];
})()"""
# What the page sends to its worklets arrives there later, as if much was buffered.
LATE = """
const post = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (...parameters) {
  setTimeout(() => post.apply(this, parameters), 500);
};
"""
# All samples that arrived, and the last that were played, both without silence.
ARRIVED_AND_LAST = """import("/page/frames.js").then(({decodeFrame}) => {
  const audio = arrived.map(decodeFrame).filter((frame) => frame?.kind === "audio");
  const samples = audio.flatMap(({pcm}) => [...new Int16Array(pcm.slice().buffer)]);
  return [samples, [...last].map((x) => Math.round(x * 32768))].map((all) => all.filter(Boolean));
})"""


class Relay:
    """A network between page and gateway that can stop: nothing is lost, nothing moves."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until both ends have closed it."""
        to_gateway, from_page = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, from_page), self._pass(to_gateway, writer))

    async def stop_for(self, seconds: float) -> None:
        """Pass nothing on for this long, in either direction."""
        self._flows.clear()
        await asyncio.sleep(seconds)
        self._flows.set()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(4096):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def relayed(gateway: RunningGateway) -> AsyncIterator[Relay]:
    """Serve a relay to the gateway."""
    relay = Relay(gateway.port)
    async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay


@pytest.fixture(scope="module")
def asking_browser(speak: Speak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears the same question every few seconds."""
    wav = tmp_path_factory.mktemp("microphone") / "questions.wav"
    write_wav(wav, np.zeros(2 * RATE, "<i2").tobytes() + speak(QUESTION), RATE)
    browser = Browser(wav)
    yield browser
    browser.stop()


def silent_after(samples: list[int], since: int) -> float:
    """Return the seconds after sample `since` until nothing is heard for 50 ms."""
    loud = np.abs(np.array(samples[since:])) > 100
    gap = round(0.05 * SPEAKER_HZ)
    quiet = (at for at in range(len(loud) - gap) if not loud[at : at + gap].any())
    return next(quiet, len(loud)) / SPEAKER_HZ


async def test_interruption_is_heard_within_100_ms_of_its_frame(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        # The whole answer arrives at once, so the bot is heard until the interruption, also where
        # this process is late.
        make_gateway(
            ScriptedLLM("This is a long answer. " * 40, NOT_SPOKEN), lead_seconds=600.0
        ) as gateway,
        signed_in(browser, gateway, TAP) as tab,
    ):
        await ask(tab, "Tell me a story.")
        await tab.wait_for(SPEAKING)
        before = await tab.evaluate("interruptions.length")
        await ask(tab, "Stop. How are you?")
        await tab.wait_for(f"interruptions.length > {before}")
        await tab.wait_for("tap.context.currentTime > interruptions.at(-1) + 0.4")
        since, samples = await tab.evaluate(PLAYED)
        assert max(samples[since - 2_400 : since]) > 1_000  # the bot was heard until then
        assert silent_after(samples, since) < HEARD_WITHIN_SECONDS


async def test_goodbye_of_the_bot_is_played_to_its_end(
    make_gateway: MakeGateway, browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM(ToolCall("end_call"), "Goodbye.")) as gateway,
        signed_in(browser, gateway, TAP + LATE) as tab,
    ):
        await ask(tab, "That was all.")
        await tab.wait_for("globalThis.last && document.body.dataset.status === 'idle'")
        assert gateway.metric("voice_sessions_total", outcome="hung_up") == 1
        arrived, played = await tab.evaluate(ARRIVED_AND_LAST)
        assert len(played) > 0.3 * SPEAKER_HZ
        assert played == arrived[-len(played) :]


async def test_call_survives_a_network_that_stops_for_three_seconds(
    make_gateway: MakeGateway, asking_browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Paris.")) as gateway,
        relayed(gateway) as relay,
        asking_browser.tab() as tab,
    ):
        await tab.open(f"http://localhost:{relay.port}/")
        await logged_in(tab)
        await tab.click("#talk")
        await tab.wait_for(ANSWERS)
        await relay.stop_for(STALL_SECONDS)
        before = await tab.evaluate(ANSWERS)
        await tab.wait_for(f"{ANSWERS} > {before} + 1")
        assert await tab.evaluate(NO_PROBLEM)
        assert gateway.metric("voice_sessions_active") == 1
        assert not gateway.log_lines("session ended")
        assert (tab.errors, tab.violations) == ([], [])
