"""The test caller: its voice, its calls, and a count of what it did."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import soxr

from appliance.acceptance.metrics import Activity
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE, Utterance
from appliance.processes import LLM, TTS, socket_path
from appliance.settings import Settings
from client.call import Arrival, ClientCall, connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer
from client.record import ClientTurnRecord
from client.wav import to_pcm
from client.wire import RTVIMessage

BUSY_SECONDS = 30.0  # retry a refused call for this long: the appliance may be full or restarting
ANSWER_SECONDS = 60.0  # wait this long for an answer; a slow one fails by its latency instead
GREETING_SECONDS = 30.0  # until the bot has finished its greeting
STALL_SECONDS = 60.0  # for synthesis and recognition of the test, which are not timed
PADDING_SECONDS = 0.3  # recognizers miss words at the very edges of a recording
NOT_REPORTED = ("no_answer", "unfinished", "broke_off")  # outcomes of turns without a turn report


@dataclass(frozen=True, slots=True)
class CallTarget(Config):
    """Where and how to call. `certificate`: PEM file of the appliance's own certificate."""

    certificate: str = ""

    def tls(self) -> ssl.SSLContext | None:
        """As for any caller; but if the certificate is known, require it, under any host name.

        The certificate is made out to the name that callers use, which may not be the name used
        here.
        """
        if not (self.certificate and self.url.startswith("wss:")):
            return Config.tls(self)
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


class ApplianceVoice:
    """Speaks and transcribes with the appliance's engines. Every method raises EngineFailed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spoken: dict[str, bytes] = {}

    async def say(self, text: str) -> bytes:
        """Return the speech of a text, mono int16 PCM at 16 kHz; synthesized only once."""
        if text not in self._spoken:
            tts = self._settings.tts
            client = EngineClient(TTS, socket_path(self._settings.paths.run, TTS), STALL_SECONDS)
            try:
                parts = client.speak(text, tts.voice, tts.speed, urgent=False)
                self._spoken[text] = to_input_rate(b"".join([part async for part in parts]))
            finally:
                await client.close()
        return self._spoken[text]

    async def transcribe(self, pcm: bytes) -> str:
        """Return the transcript of mono int16 PCM at 24 kHz; empty for silence."""
        if not pcm:
            return ""
        padding = bytes(2 * round(PADDING_SECONDS * INPUT_SAMPLE_RATE))
        utterance = Utterance(1)
        utterance.pcm += padding + to_input_rate(pcm) + padding
        utterance.complete = True
        client = EngineClient(LLM, socket_path(self._settings.paths.run, LLM), STALL_SECONDS)
        try:
            client.add(utterance)
            return await client.transcribe(utterance.id)
        finally:
            await client.close()


def to_input_rate(pcm: bytes) -> bytes:
    """Resample mono int16 PCM from 24 kHz to 16 kHz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    return to_pcm(soxr.resample(samples, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE))


class CallTally:
    """Counts the activity of the test caller."""

    def __init__(self) -> None:
        self._calls = 0
        self._turn_reports = 0
        self._unreported = 0
        self._answers = 0
        self._interruptions = 0

    def call_started(self) -> None:
        self._calls += 1

    def turn_reported(self) -> None:
        self._turn_reports += 1

    def turn_ended(self, record: ClientTurnRecord) -> None:
        self._unreported += record.outcome in NOT_REPORTED
        self._answers += record.heard.first_audible_at is not None
        self._interruptions += record.interrupted

    def activity(self) -> Activity:
        return Activity(
            calls=self._calls,
            turns=self._turn_reports,
            unreported=self._unreported,
            answers=self._answers,
            interruptions=self._interruptions,
        )


class ObservedCall(ClientCall):
    """A call whose turn reports are counted, and whose greeting can be awaited."""

    def __init__(self, call: ClientCall, tally: CallTally) -> None:
        vars(self).update(vars(call))  # takes over the connection of the established call
        self._tally = tally
        self.bot_stopped = asyncio.Event()

    async def arrivals(self) -> AsyncIterator[Arrival]:
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, RTVIMessage):
                self._observe(arrival.frame)
            yield arrival

    def _observe(self, message: RTVIMessage) -> None:
        if message.type == "bot-stopped-speaking":
            self.bot_stopped.set()
        data = message.data if message.type == "server-message" else None
        if isinstance(data, dict) and data.get("kind") == "turn":
            self._tally.turn_reported()


@asynccontextmanager
async def open_call(
    config: Config, tally: CallTally, greeting: bool = False, patience_seconds: float = BUSY_SECONDS
) -> AsyncIterator[Conversation]:
    """Open a call; with `greeting`, wait until the bot has spoken it. Raises ClientError."""
    call = ObservedCall(await connect(config, retry_seconds=patience_seconds), tally)
    tally.call_started()
    async with Conversation(call, prebuffer_seconds=config.prebuffer_seconds) as talk:
        if greeting:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    await call.bot_stopped.wait()
            except TimeoutError as problem:
                raise NoAnswer(
                    f"the bot did not say its greeting within {GREETING_SECONDS:g} s;"
                    " see VOICE_LLM_GREETING and the log of tts"
                ) from problem
        yield talk
