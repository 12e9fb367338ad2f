"""Calls as a user makes them, by the real client, with what the server tells of turns counted."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from appliance.acceptance.metrics import Made
from client.call import Arrival, Call, connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer
from client.record import TurnRecord
from client.wire import Message

BUSY_SECONDS = 30.0  # how long a call is tried for when the house is full or has just restarted
ANSWER_SECONDS = 60.0  # an answer that is slow is judged by its time and not taken for none
GREETING_SECONDS = 30.0  # until the bot has said what it says first
UNTOLD = ("no_answer", "unfinished", "broke_off")  # the client's words for a turn without an end


@dataclass(frozen=True, slots=True)
class Door(Config):
    """Where to call. `certificate` is the appliance's own, where it is at hand."""

    certificate: str = ""

    def tls(self) -> ssl.SSLContext | None:
        """As for any caller; but a certificate at hand is the one that has to be shown, to whatever
        name it is made out, for callers know the appliance by another name than we do here."""
        if not (self.certificate and self.url.startswith("wss:")):
            return Config.tls(self)
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


class Overheard(Call):
    """A call that was set up, with what arrives in it noted."""

    def __init__(self, call: Call, tally: Tally) -> None:
        vars(self).update(vars(call))  # The same connection: whatever a call can do, this one can.
        self._tally = tally
        self.fell_silent = asyncio.Event()

    async def arrivals(self) -> AsyncIterator[Arrival]:
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, Message):
                self._note(arrival.frame)
            yield arrival

    def _note(self, message: Message) -> None:
        if message.type == "bot-stopped-speaking":
            self.fell_silent.set()
        told = message.data
        if message.type == "server-message" and isinstance(told, dict):
            self._tally.told += told.get("kind") == "turn"


class Tally:
    """What we did so far, for comparison with the appliance's own counters."""

    def __init__(self) -> None:
        self.told = 0
        self._of: Counter[str] = Counter()

    def called(self) -> None:
        """A call was taken."""
        self._of["calls"] += 1

    def record(self, record: TurnRecord) -> None:
        """A turn is over."""
        self._of["untold"] += record.outcome in UNTOLD
        self._of["answers"] += record.heard.first_audible_at is not None
        self._of["interruptions"] += record.interrupted

    def made(self) -> Made:
        """All of it."""
        return Made(turns=self.told, **{name: self._of[name] for name in _COUNTED})


_COUNTED = ("calls", "untold", "answers", "interruptions")


@asynccontextmanager
async def calling(
    config: Config, tally: Tally, greeting: bool = False, patience_seconds: float = BUSY_SECONDS
) -> AsyncIterator[Conversation]:
    """A call, after the `greeting` if there is one. Raises ClientError."""
    call = Overheard(await connect(config, patience_seconds=patience_seconds), tally)
    tally.called()
    async with Conversation(call, prebuffer_seconds=config.prebuffer_seconds) as talk:
        if greeting:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    await call.fell_silent.wait()
            except TimeoutError as problem:
                raise NoAnswer(
                    f"the bot did not say its greeting within {GREETING_SECONDS:g} s;"
                    " see VOICE_LLM_GREETING and the log of tts"
                ) from problem
        yield talk
