"""Real calls of a client with a loudspeaker and no echo cancelling.

    python -m tests.voices.loudspeaker

The appliance runs with its real engines (profile cpu). What it sends is played into the microphone
through a filter like a room's, with a delay, and noise of -65 dBFS. Typed questions keep it
talking. Every spoken turn is then a turn of its own voice. After that, callers speak over it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr

from client.call import ClientCall, connect
from client.config import Config
from client.wav import read_wav
from client.wire import FRAME_SAMPLES, FRAME_SECONDS, AudioFrame, Interruption, RTVIMessage
from tests.e2e.appliance import QUESTIONS, Appliance

RATE = 16_000
PREBUFFER_SECONDS = 0.08
NOISE_DBFS = -65.0
CALLER_DBFS = -23.0
TYPED = (
    "What is a river?",
    "Tell me about Paris.",
    "Why is the sky blue?",
    "What do bees do?",
    "Tell me about the moon.",
    "What is a good breakfast?",
    "Tell me about the ocean.",
    "What is a mountain?",
)


def room_filter(seconds: float, seed: int = 1) -> np.ndarray:
    """A direct path, and noise of the same energy that decays by 60 dB in `seconds`."""
    size = round(seconds * RATE)
    tail = np.random.default_rng(seed).normal(0, 1, size) * 10 ** (-3 * np.arange(size) / size)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


@dataclass
class Room:
    """What the loudspeaker plays, and what the microphone hears of it. Times from the start."""

    gain_db: float
    delay_seconds: float
    reverberation_seconds: float = 0.25
    played: np.ndarray = field(default_factory=lambda: np.zeros(600 * RATE, np.float32))
    callers: np.ndarray = field(default_factory=lambda: np.zeros(600 * RATE, np.float32))
    plays_until: float = 0.0

    def __post_init__(self) -> None:
        self._filter = room_filter(self.reverberation_seconds) * 10 ** (self.gain_db / 20)
        self._noise = np.random.default_rng(7)
        self._resampler = soxr.ResampleStream(24_000, RATE, 1, dtype="float32")

    def play(self, pcm: bytes, now: float) -> None:
        """Play 24 kHz audio that arrives now."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        samples = self._resampler.resample_chunk(samples)
        if self.plays_until < now:
            self.plays_until = now + PREBUFFER_SECONDS
        start = round(self.plays_until * RATE)
        self.played[start : start + len(samples)] = samples
        self.plays_until += len(samples) / RATE

    def flush(self, now: float) -> None:
        """Play nothing more of what has arrived."""
        self.played[round(now * RATE) :] = 0
        self.plays_until = 0.0

    def microphone(self, frame: int) -> bytes:
        """Return a frame of 40 ms that ends at its number times 40 ms."""
        end = frame * FRAME_SAMPLES
        last = end - round(self.delay_seconds * RATE)
        first = last - FRAME_SAMPLES - len(self._filter)
        heard = np.zeros(last - first, np.float32)
        if last > 0:
            heard[max(0, -first) :] = self.played[max(0, first) : last]
        echo = np.convolve(heard, self._filter)[len(self._filter) : len(heard)]
        noise = self._noise.normal(0, 10 ** (NOISE_DBFS / 20), FRAME_SAMPLES)
        total = echo + noise + self.callers[end - FRAME_SAMPLES : end]
        return np.asarray((np.clip(total, -1, 1) * 32767).astype("<i2")).tobytes()


class LoudCall:
    """A call whose microphone hears the loudspeaker.

    spoken      reports of the spoken turns
    pauses      how often the bot paused
    bot_seconds how long the bot spoke
    """

    def __init__(self, call: ClientCall, room: Room) -> None:
        self._call, self.room = call, room
        self._began = time.monotonic()
        self.spoken: list[dict[str, object]] = []
        self.pauses = 0
        self.bot_seconds = 0.0
        self.reply_seconds = 0.0  # of the present reply

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    async def microphone(self) -> None:
        for frame in itertools.count(1):
            await asyncio.sleep(max(0.0, frame * FRAME_SECONDS - self.now))
            await self._call.send_audio(self.room.microphone(frame))

    async def receive(self) -> None:
        async for arrival in self._call.arrivals():
            match arrival.frame:
                case AudioFrame(pcm):
                    self.room.play(pcm, self.now)
                    self.bot_seconds += len(pcm) / 48_000
                    self.reply_seconds += len(pcm) / 48_000
                case Interruption():
                    self.room.flush(self.now)
                case RTVIMessage("server-message", dict() as data):
                    self.pauses += data["kind"] == "bot-paused"
                    if data["kind"] == "turn" and data["ended_by"]:
                        self.spoken.append(data)

    async def ask(self, text: str) -> None:
        """Ask a typed question; its reply has begun, or has failed, when this returns."""
        self.reply_seconds = 0.0
        await self._call.send_text(text)
        with_limit = time.monotonic() + 30
        while not self.reply_seconds and time.monotonic() < with_limit:
            await asyncio.sleep(0.05)

    async def silent(self) -> None:
        """Wait until the bot has been silent for a second."""
        while self.now < self.room.plays_until + 1.0:
            await asyncio.sleep(0.05)


async def own_voice(config: Config, room: Room, seconds: float) -> LoudCall:
    """Let the bot talk for some seconds."""
    call = await connect(config, retry_seconds=60)
    loud = LoudCall(call, room)
    tasks = [asyncio.create_task(job()) for job in (loud.microphone, loud.receive)]
    for question in itertools.cycle(TYPED):
        if loud.bot_seconds > seconds or loud.now > 5 * seconds:
            break
        await loud.ask(question)
        await loud.silent()
    await asyncio.sleep(2)
    await call.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return loud


async def callers(config: Config, room: Room, count: int) -> tuple[int, list[str]]:
    """Let callers speak over the bot. Return how many were heard, and what was heard."""
    call = await connect(config, retry_seconds=60)
    loud = LoudCall(call, room)
    tasks = [asyncio.create_task(job()) for job in (loud.microphone, loud.receive)]
    heard, texts = 0, []
    sentences = [np.frombuffer(read_wav(path), "<i2") / 32768 for path in QUESTIONS]
    await asyncio.sleep(1)
    for number in range(count):
        await loud.ask(TYPED[number % len(TYPED)])
        await asyncio.sleep(1.0 + 0.1 * number)
        samples = sentences[number % len(sentences)]
        loud_part = samples[np.abs(samples) > 0.01]
        level = 10 ** (CALLER_DBFS / 20) / float(np.sqrt(np.mean(loud_part**2)))
        before, start = len(loud.spoken), round((loud.now + 0.1) * RATE)
        room.callers[start : start + len(samples)] = samples * level
        was_speaking = loud.now < loud.room.plays_until
        limit = loud.now + len(samples) / RATE + 20
        while len(loud.spoken) == before and loud.now < limit:
            await asyncio.sleep(0.05)
        new = [str(each.get("user_text") or "") for each in loud.spoken[before:]]
        heard += any(new)
        texts.append(f"{'over the bot' if was_speaking else 'after it'}: {new}")
        await loud.silent()
    await call.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return heard, texts


async def measure(appliance: Appliance, args: argparse.Namespace) -> None:
    config = Config(url=appliance.url, token=appliance.token)
    conditions = [(gain, delay) for delay in args.delays for gain in args.levels]
    places = asyncio.Semaphore(args.calls)

    async def one(gain: float, delay: float) -> None:
        async with places:
            loud = await own_voice(config, Room(gain, delay, args.room), args.seconds)
        minutes = loud.bot_seconds / 60
        outcomes = [each["outcome"] for each in loud.spoken]
        answered = sum(each in ("answered", "interrupted") for each in outcomes)
        print(
            f"delay {delay:.2f} s, {gain:4.0f} dB: {loud.bot_seconds:5.1f} s of bot,"
            f" {len(outcomes) / minutes:5.1f} spoken turns a minute, {answered / minutes:5.1f}"
            f" answered, {loud.pauses / minutes:5.1f} pauses;"
            f" {[each.get('user_text') for each in loud.spoken]}",
            flush=True,
        )

    await asyncio.gather(*(one(*each) for each in conditions))
    for gain in args.caller_levels:
        room = Room(gain, args.delays[0], args.room)
        heard, texts = await callers(config, room, args.callers)
        print(f"callers over an echo at {gain:.0f} dB: heard {heard} of {args.callers}", flush=True)
        print(*(f"    {text}" for text in texts), sep="\n", flush=True)


def main() -> None:
    """Measure, and print a line for each condition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="speech of the bot, each")
    parser.add_argument("--delays", type=float, nargs="*", default=[0.0, 0.1, 0.25, 0.5])
    parser.add_argument("--levels", type=float, nargs="*", default=[0.0, -10.0, -20.0, -30.0])
    parser.add_argument("--room", type=float, default=0.25, help="reverberation, seconds")
    parser.add_argument("--calls", type=int, default=2, help="at the same time")
    parser.add_argument("--callers", type=int, default=10)
    parser.add_argument("--caller-levels", type=float, nargs="*", default=[-20.0])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings")
    args = parser.parse_args()
    settings = dict(each.split("=", 1) for each in args.set)
    with tempfile.TemporaryDirectory() as folder:
        appliance = Appliance(Path(folder), settings).start()
        try:
            asyncio.run(measure(appliance, args))
        finally:
            appliance.stop()


if __name__ == "__main__":
    main()
