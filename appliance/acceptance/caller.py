"""The test caller: its calls, transcripts of what it hears, and a count of what it did."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from appliance import run_folder
from appliance.acceptance.metrics import Activity
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.link.utterance import Utterance
from appliance.processes import GATEWAY, LLM, socket_path
from appliance.settings import Settings
from client.call import Arrival, ClientCall, connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer
from client.record import ClientTurnRecord
from client.wav import to_pcm
from client.wire import RTVIMessage

RETRY_SECONDS = 30.0  # retry a refused call for this long: the appliance may be full or restarting
# Timeout for an answer. A slow answer is failed by the latency check, not by this timeout.
ANSWER_SECONDS = 60.0
GREETING_SECONDS = 30.0  # timeout for the end of the bot's greeting
# Timeout for the test's own transcription, which is not timed.
STALL_SECONDS = 60.0
PADDING_SECONDS = 0.3  # recognizers miss words at the very edges of a recording
UNREPORTED_OUTCOMES = ("no_answer", "unfinished", "call_dropped")  # of turns without a turn report


@dataclass(frozen=True, slots=True)
class CallTarget(Config):
    """Address, token and certificate for calls to the appliance.

    certificate   PEM file of the appliance's own certificate; empty if it has none
    run           run folder of the appliance; what is in it lets this caller call it while it is
                  closed
    """

    certificate: str = ""
    run: Path | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the request for a call. A restarted gateway has a new secret."""
        secret = run_folder.read_acceptance_pass(self.run, GATEWAY) if self.run else ""
        return Config.headers(self) | ({run_folder.ACCEPTANCE_HEADER: secret} if secret else {})

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context.

        With a known certificate, trust only that one and skip the host name check: the certificate
        is issued for the host name that callers use, and the test may connect by another name.
        """
        if not (self.certificate and self.url.startswith("wss:")):
            return Config.tls(self)
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.add_certificate(context)
        return context


class ApplianceEar:
    """Transcribes with the appliance's own recognizer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def transcribe(self, pcm: bytes) -> str:
        """Return the transcript of mono int16 PCM at 24 kHz; empty for silence.

        Raises EngineFailed.
        """
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
        self._unreported += record.outcome in UNREPORTED_OUTCOMES
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
    """A call that counts turn reports and signals when the bot stops speaking."""

    def __init__(self, call: ClientCall, tally: CallTally) -> None:
        vars(self).update(vars(call))  # take over the connection of the established call
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
    config: Config, tally: CallTally, greeting: bool = False, retry_seconds: float = RETRY_SECONDS
) -> AsyncIterator[Conversation]:
    """Open a call. With `greeting`, wait for the end of the bot's greeting. Raises ClientError."""
    call = ObservedCall(await connect(config, retry_seconds=retry_seconds), tally)
    tally.call_started()
    async with Conversation(call, prebuffer_seconds=config.prebuffer_seconds) as talk:
        if greeting:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    await call.bot_stopped.wait()
            except TimeoutError as error:
                raise NoAnswer(
                    f"the bot did not finish its greeting within {GREETING_SECONDS:g} s;"
                    " check VOICE_LLM_GREETING and the log of tts"
                ) from error
        yield talk
