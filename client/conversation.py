"""A spoken conversation from files or text: a call, a simulated loudspeaker and its turns.

`say`, `ask` and the bench are built on it. What a turn measures is what a user at this machine
would have heard, for the audio goes through the playback buffer in real time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from client.call import Call
from client.errors import BrokeOff
from client.pacing import PacedSource
from client.playback import Playback, SimulatedSpeaker
from client.record import TurnRecord
from client.turns import Turns

TICK_SECONDS = 0.01


class Conversation:
    """Use as `async with Conversation(call) as talk:`; the call is closed at the end.

    Sends silence from its start to its end where nothing is said, as a microphone does, unless
    `microphone` is False (a conversation in writing).
    """

    def __init__(
        self,
        call: Call,
        *,
        prebuffer_seconds: float = 0.08,
        microphone: bool = True,
        on_problem: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._clock = clock
        self._on_problem = on_problem
        self._speaker = SimulatedSpeaker(Playback(prebuffer_seconds=prebuffer_seconds), clock())
        self._turns = Turns(self._speaker)
        self._source = PacedSource(call.send_audio, clock) if microphone else None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._playback_started = asyncio.Event()
        self._done: dict[int, TurnRecord] = {}
        self._audible: dict[int, float] = {}
        self._defect: Exception | None = None
        self.failure: BrokeOff | None = None
        """Why the call ended before its time."""

    async def __aenter__(self) -> Conversation:
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [self._listen, self._play, self._tell]
        if self._source is not None:
            jobs.append(self._source.run)
        self._tasks = [asyncio.create_task(self._guarded(job)) for job in jobs]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._call.close()
        if self._defect is not None and error is None:
            raise self._defect

    def say(self, pcm: bytes) -> int:
        """Begins a turn with mono int16 PCM at 16 kHz; returns its number."""
        if self._source is None:
            raise ValueError("this conversation has no microphone")
        starts_at, ends_at = self._source.play(pcm)
        return self._turns.begin(self._clock(), starts_at, ends_at)

    async def ask(self, text: str) -> int:
        """Begins a turn with typed text; returns its number. Raises BrokeOff."""
        now = self._clock()
        number = self._turns.begin(now, speech_ended_at=now)
        await self._call.send_text(text)
        return number

    async def audible(self, number: int) -> float | None:
        """Waits until the reply to this turn is heard; when that was, or None if it never is."""
        async with self._changed:
            await self._changed.wait_for(lambda: number in self._audible or number in self._done)
        record = self._done.get(number)
        return self._audible.get(number, record.heard.first_audible_at if record else None)

    async def finished(self, number: int, patience_seconds: float = 30.0) -> TurnRecord:
        """Waits until this turn is over.

        When nothing at all happens in it for `patience_seconds` it is given up, with the outcome
        no_answer; when the call breaks off it ends as it stands, with the outcome broke_off, and
        `failure` says why.
        """
        async with self._changed:
            while number not in self._done:
                await self._changed.wait()
                now = self._clock()
                if self._turns.quiet_seconds(number, now) > patience_seconds:
                    self._keep(self._turns.close(now, "no_answer"))
        return self._done[number]

    async def _guarded(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await job()
        except BrokeOff as problem:
            self.failure = self.failure or problem
        except Exception as defect:  # ours; told to whoever waits now, and raised at the end
            self._defect = defect
        async with self._changed:
            self._keep(self._turns.close(self._clock(), "broke_off"))
            self._changed.notify_all()

    async def _listen(self) -> None:
        async for arrival in self._call.arrivals():
            if arrival.frame is None:
                self._on_problem(f"ignored {arrival.problem}")
            else:
                self._turns.on_frame(arrival.frame, arrival.at)

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock()
            self._speaker.advance(now)
            if self._turns.playback_started(now):
                self._playback_started.set()
            async with self._changed:
                self._keep(self._turns.poll(now))
                for number in self._turns.numbers:
                    if (at := self._turns.first_audible_at(number)) is not None:
                        self._audible.setdefault(number, at)
                if self.failure is not None:  # a turn that began after the call had ended
                    self._keep(self._turns.close(now, "broke_off"))
                self._changed.notify_all()

    async def _tell(self) -> None:
        """Tells the server when a reply is heard; apart from playing, which outlives the call."""
        while True:
            await self._playback_started.wait()
            self._playback_started.clear()
            await self._call.send_playback_started()

    def _keep(self, records: list[TurnRecord]) -> None:
        self._done.update({record.number: record for record in records})
