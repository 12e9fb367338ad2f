"""Compare the page with `client say`: python -m tests.bench.page [--turns 10].

Both call the same gateway on engines that reply immediately, with the same recording, in turns. The
gateway measures both in the same way: from the true end of the user's speech to the client's report
that the reply has become audible. The delays of microphone and loudspeaker are not in it. The
conversations are in real time: with 10 turns in each call, it takes some 4 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.gpu_proof.record import percentile
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.wav import read_wav, write_wav
from client.wire import MIC_SAMPLE_RATE
from tests.bench.figures import machine, row, verdict
from tests.bench.gateway import gateway_on_instant_engines
from tests.e2e.appliance import QUESTIONS
from tests.page.chromium import Browser, Tab

TARGET_RATIO = 1.1
ROUNDS = 2
FIELD = '"heard_seconds":'  # in a line of the gateway's log: the turn's own, or a later one
TURN_SECONDS = 60  # at most, for a turn
REPLY = "It is the city of Paris."  # 1.4 s
SILENCE_SECONDS = 4  # after the question: longer than the reply and the time until it begins


class TurnLog:
    """The turns that the gateway logs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def heard_seconds(self) -> list[float]:
        """Return the heard latency of each turn so far."""
        lines = [line for line in self._path.read_text().splitlines() if FIELD in line]
        return [json.loads(line)["heard_seconds"] for line in lines]

    async def wait_for(self, turns: int) -> None:
        """Wait until there are this many turns. Raises TimeoutError if no turn is added."""
        while (heard := len(self.heard_seconds())) < turns:
            print(f"\r{heard} turns", end="", file=sys.stderr, flush=True)
            async with asyncio.timeout(TURN_SECONDS):
                while len(self.heard_seconds()) == heard:
                    await asyncio.sleep(0.2)


async def _say(config: Config, turns: int) -> None:
    """Hold a call as `client say` does."""
    pcm = read_wav(QUESTIONS[0])
    async with Conversation(await connect(config)) as conversation:
        for _ in range(turns):
            await conversation.finished(conversation.say(pcm))
            await asyncio.sleep(0.3)


async def _talk(browser: Browser, config: Config, log: TurnLog, turns: int) -> None:
    """Hold a call in the page, whose microphone hears the question again and again."""
    async with browser.tab() as tab:
        await tab.open(config.url.replace("ws://127.0.0.1", "http://localhost").removesuffix("/ws"))
        await _begin(tab, config.token)
        try:
            await log.wait_for(len(log.heard_seconds()) + turns)
        except TimeoutError:
            text = await tab.evaluate("document.body.innerText")
            raise RuntimeError(f"no turn for {TURN_SECONDS} s; page: {text}") from None
        await tab.click("#talk")


async def _begin(tab: Tab, token: str) -> None:
    await tab.click("#talk")
    await tab.wait_for("!document.querySelector('#login').hidden")
    await tab.fill("#token", token)
    await tab.click("#login button")
    await tab.wait_for("document.querySelector('#login').hidden")
    await tab.click("#talk")


def _lines(said: Sequence[float], talked: Sequence[float]) -> list[str]:
    ratio = percentile(talked, 0.5) / percentile(said, 0.5)
    return [
        "Voice to voice, as the gateway measures it, with engines that reply immediately",
        row("client say", said, "ms", 1000),
        row("page in Chromium", talked, "ms", 1000),
        verdict("page / client say, p50", ratio, TARGET_RATIO, ""),
    ]


async def measure(folder: Path, turns: int) -> list[str]:
    """Hold ROUNDS calls of each kind, by turns. Return the lines to print."""
    wav = folder / "question.wav"
    silence = bytes(2 * MIC_SAMPLE_RATE * SILENCE_SECONDS)
    write_wav(wav, read_wav(QUESTIONS[0]) + silence, MIC_SAMPLE_RATE)
    browser = Browser(wav)
    said: list[float] = []
    talked: list[float] = []
    try:
        async with gateway_on_instant_engines(folder / "run", REPLY) as gateway:
            log = TurnLog(folder / "run/appliance.log")
            for _ in range(ROUNDS):
                before = len(log.heard_seconds())
                await _say(gateway.config, turns)
                await log.wait_for(before + turns)
                await _talk(browser, gateway.config, log, turns)
                said += log.heard_seconds()[before : before + turns]
                talked += log.heard_seconds()[before + turns :]
    finally:
        browser.stop()
    return _lines(said, talked)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.page", description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="of each call (10)")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as folder:
        print("\n".join(asyncio.run(measure(Path(folder), args.turns))))


if __name__ == "__main__":
    main()
