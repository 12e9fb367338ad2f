"""`client talk`: a conversation with microphone and loudspeaker, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from client import display
from client.audio import SPEECH_DBFS, Microphone, Speaker, level_dbfs, load_sounddevice
from client.call import Call, connect
from client.config import Config
from client.errors import BrokeOff, ClientError
from client.pacing import SILENCE
from client.record import TurnRecord
from client.turns import Turns

DRAW_SECONDS = 0.05
TICK_SECONDS = 0.01
QUEUED_FRAMES = 25  # one second; what is said while there is no connection is lost, not saved up
ECHO_SECONDS = 0.3  # half duplex: a room still rings after the bot has stopped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--microphone", metavar="DEVICE", help="number or part of the name")
    parser.add_argument("--speaker", metavar="DEVICE", help="number or part of the name")
    parser.add_argument(
        "--half-duplex",
        action="store_true",
        help="for loudspeakers without echo cancelling: do not listen while the bot speaks",
    )


async def run(args: argparse.Namespace, config: Config) -> int:
    """Raises ClientError when the call cannot go on without the user changing something."""
    loop = asyncio.get_running_loop()
    sound = load_sounddevice()
    talk = Talk(config, sound, args.microphone, args.speaker, args.half_duplex, sys.stdout)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, talk.stop)
    await talk.run()
    return 0


class Talk:
    """One user at one microphone: as many calls as it takes."""

    def __init__(
        self,
        config: Config,
        sound: Any,
        microphone: str | None,
        speaker: str | None,
        half_duplex: bool,
        out: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._half_duplex = half_duplex
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._screen = display.Screen(out)
        self._view = display.View()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_FRAMES)
        self._stopped = asyncio.Event()
        self._spoke_at = -math.inf
        self._microphone = Microphone(sound, microphone, self._from_microphone)
        self._speaker = Speaker(sound, speaker, config.prebuffer_seconds, clock)

    def stop(self) -> None:
        """Ends the conversation; `run` returns soon."""
        self._stopped.set()

    async def run(self) -> None:
        """Talks until `stop`. Raises ClientError."""
        self._microphone.start()
        self._speaker.start()
        job = asyncio.create_task(self._calls())
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({job, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            job.cancel()
            self._microphone.stop()
            self._speaker.stop()
            self._screen.clear()
            with contextlib.suppress(asyncio.CancelledError):
                await job

    async def _calls(self) -> None:
        while True:
            call = await connect(
                self._config,
                patience_seconds=math.inf,
                on_retry=self._show_retry,
                clock=self._clock,
            )
            self._view = dataclasses.replace(self._view, note="")
            self._screen.print(f"connected to {self._config.host}; Ctrl-C ends the call")
            turns = Turns(self._speaker, follow_server=True)
            try:
                await self._one_call(call, turns)
            except BrokeOff as problem:
                if not problem.retryable:
                    raise
                self._screen.print(f"{problem}. Connecting again: it will not remember this call.")
            finally:
                self._show(turns.close(self._clock(), "broke_off"))
                await call.close()

    async def _one_call(self, call: Call, turns: Turns) -> None:
        """Runs until the call breaks off, which raises BrokeOff."""
        jobs = [self._receive(call, turns), self._send(call, turns), self._tell(call, turns)]
        tasks = [asyncio.create_task(job) for job in [*jobs, self._draw(turns)]]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, call: Call, turns: Turns) -> None:
        async for arrival in call.arrivals():
            if arrival.frame is not None:
                turns.on_frame(arrival.frame, arrival.at)

    async def _send(self, call: Call, turns: Turns) -> None:
        while True:
            frame = await self._frames.get()
            now = self._clock()
            if not self._speaker.drained:
                self._spoke_at = now
            if self._half_duplex and now - self._spoke_at < ECHO_SECONDS:
                frame = SILENCE
            level = level_dbfs(frame)
            if level > SPEECH_DBFS:
                turns.user_audible(now)
            self._view = dataclasses.replace(self._view, level_dbfs=level)
            await call.send_audio(frame)

    async def _tell(self, call: Call, turns: Turns) -> None:
        """Tells the server when a reply is heard."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if turns.playback_started(self._clock()):
                await call.send_playback_started()

    async def _draw(self, turns: Turns) -> None:
        while True:
            self._show(turns.poll(self._clock()))
            self._view = dataclasses.replace(self._view, state=turns.state)
            self._screen.draw(self._view)
            await asyncio.sleep(DRAW_SECONDS)

    def _show(self, records: list[TurnRecord]) -> None:
        for record in records:
            for line in display.transcript_lines(record):
                self._screen.print(line)
            if (latency := record.voice_to_voice_seconds) is not None:
                self._view = dataclasses.replace(self._view, latency_seconds=latency)

    def _show_retry(self, problem: ClientError, delay_seconds: float) -> None:
        self._screen.print(f"{problem} Trying again in {delay_seconds:.1f} s.")
        self._screen.draw(dataclasses.replace(self._view, state="waiting"))

    def _from_microphone(self, frame: bytes) -> None:
        """Called in PortAudio's thread."""
        self._loop.call_soon_threadsafe(self._queue, frame)

    def _queue(self, frame: bytes) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)
