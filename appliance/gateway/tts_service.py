"""`KokoroTTSService`: phrases in, 24 kHz speech out, through the engine link.

Phrases come one by one from the `LLMTextProcessor` before it, so that a phrase is spoken while the
next is still being generated. An interruption closes the request, and the engine stops at its next
chunk. When the engine is gone, a phrase kept from start-up asks for patience, and the phrase at
hand is spoken once the engine is back.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.utils.text.base_text_aggregator import Aggregation, BaseTextAggregator, TextType

from appliance.errors import EngineFailed
from appliance.gateway.phrases import PhraseCutter
from appliance.link.client import EngineClient, EngineLost, retry_until_back
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.settings import TTS

SLICE_BYTES = (
    OUTPUT_SAMPLE_RATE * 2 // 10
)  # 100 ms; what an interruption has to drop comes in these
QUIET_SECONDS = 30.0  # a reply whose next phrase takes longer is closed and opened again


@dataclass(frozen=True, slots=True)
class SpeechHooks:
    """What the session wants to know; called on the event loop.

    first_phrase  the first phrase of a reply is complete and goes to the engine
    first_audio   its first audio came back; what asks for patience does not count
    failed        the engine did not do what it was asked
    hold, resume  let the language model wait while the first phrase is synthesised
    """

    first_phrase: Callable[[], None]
    first_audio: Callable[[], None]
    failed: Callable[[EngineFailed], None]
    hold: Callable[[], Awaitable[None]]
    resume: Callable[[], Awaitable[None]]


class KokoroTTSService(TTSService):
    """One session's voice, in front of the engine behind `client`."""

    def __init__(
        self,
        settings: TTS,
        client: EngineClient,
        hooks: SpeechHooks,
        patience: bytes,
        recover_seconds: float,
    ) -> None:
        """`patience`: 24 kHz PCM played while the engine is gone; may be empty."""
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            stop_frame_timeout_s=QUIET_SECONDS,
            max_consecutive_zero_audio_contexts=0,
            sample_rate=OUTPUT_SAMPLE_RATE,
            settings=TTSSettings(model="kokoro-82m", voice=settings.voice, language=None),
        )
        self._knobs = settings
        self._client = client
        self._hooks = hooks
        self._patience = patience
        self._recover_seconds = recover_seconds
        self._first = True

    def can_generate_metrics(self) -> bool:
        """True: time to first byte, processing time and characters are reported."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Notes where a reply begins; the rest is Pipecat's."""
        if isinstance(frame, LLMFullResponseStartFrame | InterruptionFrame):
            self._first = True
        await super().process_frame(frame, direction)

    async def cleanup(self) -> None:
        """Ends the engine session."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._client.close()

    async def on_turn_context_completed(self) -> None:
        """Closes the reply at once, also when its last phrase could not be spoken.

        Pipecat would take that one for audio still to come and wait for QUIET_SECONDS.
        """
        self._is_yielding_frames_synchronously = True
        await super().on_turn_context_completed()  # type: ignore[no-untyped-call]

    async def _record_context_audio_outcome(self, context_id: str, received_audio: bool) -> None:
        """Nothing: Pipecat would call silence an error.

        A reply may be an emoji and nothing else; what the engine cannot do, the link reports.
        """

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speaks one phrase; what cannot be spoken is skipped, never an error to the caller."""
        await self.start_tts_usage_metrics(text)
        first, self._first = self._first, False
        if first:
            self._hooks.first_phrase()
            await self._hooks.hold()
        try:
            async with contextlib.aclosing(self._speech(text, first)) as parts:
                async for pcm in parts:
                    if first:
                        if pcm is not self._patience:
                            first = False
                            self._hooks.first_audio()
                        await self._hooks.resume()
                    await self.stop_ttfb_metrics()
                    for start in range(0, len(pcm), SLICE_BYTES):
                        part = pcm[start : start + SLICE_BYTES]
                        yield TTSAudioRawFrame(part, OUTPUT_SAMPLE_RATE, 1, context_id=context_id)
        except EngineFailed as problem:
            self._hooks.failed(problem)
        finally:
            if first:
                self._first = True  # nothing of it was heard: the next phrase is the first
                await self._hooks.resume()

    async def _speech(self, text: str, urgent: bool) -> AsyncGenerator[bytes, None]:
        """The phrase, after a loss of the engine the one that asks for patience before it."""
        knobs = self._knobs
        parts = retry_until_back(
            lambda: self._client.speak(text, knobs.voice, knobs.speed, urgent),
            self._recover_seconds,
        )
        async with contextlib.aclosing(parts):
            async for part in parts:
                if not isinstance(part, EngineLost):
                    yield part
                    continue
                if part.apologize:  # not again at each attempt
                    self._hooks.failed(part.problem)
                    if self._patience:
                        yield self._patience


class PhraseAggregator(BaseTextAggregator):
    """Gives `LLMTextProcessor` phrases; the first of each reply is short."""

    def __init__(self, settings: TTS) -> None:
        super().__init__(aggregation_type=TextType.SENTENCE)
        self._settings = settings
        self._cutter = self._fresh()

    @property
    def text(self) -> Aggregation:
        """What waits to become a phrase."""
        return Aggregation(self._cutter.waiting, TextType.SENTENCE)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Phrases that this piece of the reply completes."""
        for phrase in self._cutter.feed(text):
            yield Aggregation(phrase.strip(), TextType.SENTENCE)

    async def flush(self) -> Aggregation | None:
        """The rest of the reply; the next text begins another."""
        rest = "".join(self._cutter.flush()).strip()
        self._cutter = self._fresh()
        return Aggregation(rest, TextType.SENTENCE) if rest else None

    async def handle_interruption(self) -> None:
        """Drops what waits."""
        self._cutter = self._fresh()

    async def reset(self) -> None:
        """Drops what waits."""
        self._cutter = self._fresh()

    def _fresh(self) -> PhraseCutter:
        knobs = self._settings
        return PhraseCutter(knobs.first_phrase_words, knobs.phrase_words, knobs.phrase_time_ratio)
