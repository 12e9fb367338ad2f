"""A conversation by files or typed text: a call, a simulated loudspeaker and the call's turns.

`say`, `ask`, the acceptance test and the benchmarks use it. Audio goes through the playback buffer
in real time, so the measurements of a turn match what a user at this machine would hear.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from client.call import ClientCall
from client.errors import BotHungUp, CallDropped
from client.pacing import PacedSource
from client.playback import Playback, SimulatedSpeaker
from client.record import ClientTurnRecord
from client.turns import ClientTurnTracker

TICK_SECONDS = 0.01


class Conversation:
    """Use as `async with Conversation(call) as conversation:`, which closes the call at the end.

    Between utterances it sends silence, as a microphone does. With `microphone=False` it sends no
    audio at all, for typed text.
    """

    def __init__(
        self,
        call: ClientCall,
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
        self._turns = ClientTurnTracker(self._speaker)
        self._source = PacedSource(call.send_audio, clock) if microphone else None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._playback_started = asyncio.Event()
        self._finished: dict[int, ClientTurnRecord] = {}
        self._audible_at: dict[int, float] = {}
        self._bug: Exception | None = None
        self.failure: CallDropped | None = None
        """Why the call ended unexpectedly; None if it did not."""

    async def __aenter__(self) -> Conversation:
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._receive,
            self._play,
            self._report_playback,
        ]
        if self._source is not None:
            jobs.append(self._source.run)
        self._tasks = [asyncio.create_task(self._guard(job)) for job in jobs]
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
        if self._bug is not None and error is None:
            raise self._bug

    def say(self, pcm: bytes) -> int:
        """Begin a turn with mono int16 PCM at 16 kHz. Returns the number of the turn."""
        if self._source is None:
            raise ValueError("this conversation has no microphone")
        starts_at, ends_at = self._source.play(pcm)
        return self._turns.begin(self._clock(), starts_at, ends_at)

    async def ask(self, text: str) -> int:
        """Begin a turn with typed text. Returns the number of the turn. Raises CallDropped."""
        now = self._clock()
        number = self._turns.begin(now, speech_ended_at=now)
        await self._call.send_text(text)
        return number

    async def audible(self, number: int) -> float | None:
        """Wait until the reply to this turn is audible. Returns when; None without a reply."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: number in self._audible_at or number in self._finished
            )
        record = self._finished.get(number)
        return self._audible_at.get(number, record.heard.first_audible_at if record else None)

    async def finished(self, number: int, timeout_seconds: float = 30.0) -> ClientTurnRecord:
        """Wait until this turn is finished.

        After `timeout_seconds` without an event in the turn, it ends with the outcome no_answer.
        When the call ends, its outcome is call_dropped or hung_up, and `failure` says why. Before
        hung_up, the goodbye is played to its end.
        """
        async with self._changed:
            while number not in self._finished:
                await self._changed.wait()
                now = self._clock()
                if self._turns.quiet_seconds(number, now) > timeout_seconds:
                    self._finish(self._turns.close(now, "no_answer"))
        return self._finished[number]

    async def _guard(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job. When it ends, close all turns and wake up every task that waits for one."""
        try:
            await job()
        except CallDropped as error:
            self.failure = self.failure or error
        except Exception as error:  # a bug of the client, which __aexit__ raises
            self._bug = error
        if self._plays_goodbye:
            return  # `_play` closes the turns after it
        async with self._changed:
            self._finish(self._turns.close(self._clock(), self._cut_off))
            self._changed.notify_all()

    @property
    def _cut_off(self) -> str:
        """The outcome of a turn that the end of the call cuts off."""
        return "hung_up" if isinstance(self.failure, BotHungUp) else "call_dropped"

    @property
    def _plays_goodbye(self) -> bool:
        """Whether the bot has hung up, and the end of its goodbye is not played yet."""
        hung_up = isinstance(self.failure, BotHungUp) and self._bug is None
        return hung_up and not self._speaker.drained

    async def _receive(self) -> None:
        async for arrival in self._call.arrivals():
            if arrival.frame is None:
                self._on_problem(f"ignored {arrival.problem}")
            else:
                self._turns.on_frame(arrival.frame, arrival.received_at)

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock()
            self._speaker.advance(now)
            if self._turns.playback_started(now):
                self._playback_started.set()
            async with self._changed:
                if self.failure is None:
                    self._finish(self._turns.poll(now))
                elif not self._plays_goodbye:
                    self._finish(self._turns.close(now, self._cut_off))
                for number in self._turns.numbers:
                    if (audible_at := self._turns.first_audible_at(number)) is not None:
                        self._audible_at.setdefault(number, audible_at)
                self._changed.notify_all()

    async def _report_playback(self) -> None:
        """Tell the server when a reply is audible. A separate task: `_play` outlives the call."""
        while True:
            await self._playback_started.wait()
            self._playback_started.clear()
            await self._call.send_playback_started()

    def _finish(self, records: list[ClientTurnRecord]) -> None:
        self._finished.update({record.number: record for record in records})
