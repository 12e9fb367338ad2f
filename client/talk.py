"""`voice talk`: talk with microphone and loudspeaker until Ctrl-C."""

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
from client.call import ClientCall, connect
from client.config import Config
from client.echo import AudioProcessor, EchoCanceller, load_processor
from client.errors import BotHungUp, CallDropped, ClientError
from client.native_stderr import libraries_muted
from client.pacing import SILENCE
from client.record import ClientTurnRecord
from client.stderr import print_error, retry_message
from client.turns import ClientTurnTracker

DRAW_SECONDS = 0.05
TICK_SECONDS = 0.01
GOODBYE_SECONDS = 2.0  # more than the playback buffer holds when the gateway ends the call
QUEUED_FRAMES = 25  # one second; a full queue drops its oldest frame
NO_CANCELLER = (
    "no echo cancellation: the package pywebrtc-audio is missing. Use headphones (--headphones), or"
    " --half-duplex with a loudspeaker."
)
ECHO_SECONDS = 0.3  # half duplex: how long the room echoes after the bot has stopped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--microphone", metavar="DEVICE", help="device number, or part of a device name"
    )
    parser.add_argument(
        "--speaker", metavar="DEVICE", help="device number, or part of a device name"
    )
    parser.add_argument(
        "--half-duplex",
        action="store_true",
        help="for loudspeakers without echo cancellation: mute the microphone while the bot speaks",
    )
    parser.add_argument(
        "--headphones", action="store_true", help="leave out echo cancellation: there is no echo"
    )


async def run(args: argparse.Namespace, config: Config) -> int:
    """Talk until Ctrl-C. Raises BotHungUp, or ClientError if another attempt cannot succeed."""
    loop = asyncio.get_running_loop()
    with libraries_muted():
        sound = load_sounddevice()
        talk = Talk(config, sound, args.microphone, args.speaker, args.half_duplex, sys.stdout)
        if not args.headphones and not talk.cancel_echo(load_processor()):
            print_error(NO_CANCELLER)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, talk.stop)
        await talk.run()
    return 0


class Talk:
    """A conversation with microphone and loudspeaker. Reconnects when a call is dropped."""

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
        self._status = display.TalkStatus()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_FRAMES)
        self._stopped = asyncio.Event()
        self._bot_last_audible_at = -math.inf
        self._echo: EchoCanceller | None = None
        self._microphone = Microphone(sound, microphone, self._from_microphone)
        self._speaker = Speaker(sound, speaker, config.prebuffer_seconds, clock)

    def cancel_echo(self, processor: AudioProcessor | None) -> bool:
        """Remove the bot's voice from the microphone. Return whether there is a `processor`."""
        if processor is None:
            return False
        self._echo = EchoCanceller(processor, self._speaker.rate)
        self._speaker.on_played = self._echo.played
        return True

    def stop(self) -> None:
        """End the conversation; `run` returns soon."""
        self._stopped.set()

    async def run(self) -> None:
        """Talk until `stop` is called. Raises ClientError."""
        self._microphone.start()
        self._speaker.start()
        job = asyncio.create_task(self._run_calls())
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

    async def _run_calls(self) -> None:
        config = self._config
        while True:
            call = await connect(
                config,
                retry_seconds=math.inf,
                on_retry=self._show_retry,
                clock=self._clock,
            )
            self._screen.print(f"connected to {call.host}; Ctrl-C ends the call")
            config = self._config.after(call.url)
            turns = ClientTurnTracker(self._speaker, follow_server=True)
            try:
                await self._run_call(call, turns)
            except BotHungUp:
                await self._play_to_the_end()
                raise
            except CallDropped as error:
                if not error.retryable:
                    raise
                self._screen.print(f"{error}. Reconnecting; the bot will not remember this call.")
            finally:
                self._show(turns.close(self._clock(), "call_dropped"))
                await call.close()

    async def _run_call(self, call: ClientCall, turns: ClientTurnTracker) -> None:
        """Run until the call is dropped. Raises CallDropped."""
        jobs = [
            self._receive(call, turns),
            self._send(call, turns),
            self._report_playback(call, turns),
        ]
        tasks = [asyncio.create_task(job) for job in [*jobs, self._draw(turns)]]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _play_to_the_end(self) -> None:
        """Wait until what has arrived of the bot's goodbye is played."""
        give_up_at = self._clock() + GOODBYE_SECONDS
        while not self._speaker.drained and self._clock() < give_up_at:
            await asyncio.sleep(TICK_SECONDS)

    async def _receive(self, call: ClientCall, turns: ClientTurnTracker) -> None:
        async for arrival in call.arrivals():
            if arrival.frame is not None:
                turns.on_frame(arrival.frame, arrival.received_at)

    async def _send(self, call: ClientCall, turns: ClientTurnTracker) -> None:
        while True:
            frame = await self._frames.get()
            now = self._clock()
            if not self._speaker.drained:
                self._bot_last_audible_at = now
            if self._half_duplex and now - self._bot_last_audible_at < ECHO_SECONDS:
                frame = SILENCE
            level = level_dbfs(frame)
            if level > SPEECH_DBFS:
                turns.user_audible(now)
            self._status = dataclasses.replace(self._status, level_dbfs=level)
            await call.send_audio(frame)

    async def _report_playback(self, call: ClientCall, turns: ClientTurnTracker) -> None:
        """Tell the server when a reply becomes audible."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if turns.playback_started(self._clock()):
                await call.send_playback_started()

    async def _draw(self, turns: ClientTurnTracker) -> None:
        while True:
            self._show(turns.poll(self._clock()))
            self._speaker.adapt()
            self._status = dataclasses.replace(
                self._status,
                state=turns.state,
                sound_gaps=self._speaker.underflows + self._microphone.overflows,
            )
            self._screen.draw(self._status)
            await asyncio.sleep(DRAW_SECONDS)

    def _show(self, records: list[ClientTurnRecord]) -> None:
        for record in records:
            for line in display.transcript_lines(record):
                self._screen.print(line)
            if (latency := record.voice_to_voice_seconds) is not None:
                self._status = dataclasses.replace(self._status, latency_seconds=latency)

    def _show_retry(self, error: ClientError, delay_seconds: float) -> None:
        self._screen.print(retry_message(error, delay_seconds))
        self._screen.draw(dataclasses.replace(self._status, state="waiting"))

    def _from_microphone(self, frame: bytes) -> None:
        """Called on PortAudio's thread."""
        if self._echo is not None:
            frame = self._echo.remove(frame)
        self._loop.call_soon_threadsafe(self._enqueue, frame)

    def _enqueue(self, frame: bytes) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)
