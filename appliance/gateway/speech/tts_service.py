"""`KokoroTTSService`: phrases in, 24 kHz speech out, through the engine link.

Phrases come one by one from the processor before it (phrase_aggregator.py), so that a phrase is
spoken while the next one is still being generated. An interruption closes the request, and the
engine stops at its next chunk. When the engine is lost, a pre-synthesized hold message is played,
and the current phrase is spoken once the engine is back.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
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

from appliance.errors import EngineFailed
from appliance.gateway.frames import PhraseBrokenFrame, PhraseRestartedFrame, ReplyEndFrame
from appliance.link.client import EngineClient
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.link.recovery import EngineLost, retry_until_back
from appliance.settings import TTSConfig

Speak = Callable[[str, bool], AsyncGenerator[bytes, None]]  # phrase, urgent
SLICE_BYTES = OUTPUT_SAMPLE_RATE * 2 // 10  # 100 ms, the unit in which an interruption drops audio
# Without audio for this long, Pipecat stops the TTS turn; the next phrase starts it again.
QUIET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SpeechHooks:
    """What the service reports to its session; called on the event loop.

    first_phrase  the first phrase of a reply is complete and goes to the engine
    first_audio   the first audio of that phrase arrived (the hold message does not count)
    spoken        all audio of a phrase has arrived: its text, seconds
    complete      all audio of the reply has arrived
    failed        the engine failed or was lost
    skipped       a phrase was not spoken, because the engine failed or did not come back
    hold, resume  pause the LLM while the first phrase is synthesized, and continue it
    """

    first_phrase: Callable[[], None]
    first_audio: Callable[[], None]
    spoken: Callable[[str, float], None]
    complete: Callable[[], None]
    failed: Callable[[EngineFailed], None]
    skipped: Callable[[], None]
    hold: Callable[[], Awaitable[None]]
    resume: Callable[[], Awaitable[None]]


class KokoroTTSService(TTSService):
    """Speech synthesis of one session, by the engine behind `client`."""

    def __init__(
        self,
        config: TTSConfig,
        client: EngineClient,
        speak: Speak,
        hooks: SpeechHooks,
        hold_message: bytes,
        recover_seconds: float,
    ) -> None:
        """Set up the service.

        `speak` synthesizes a phrase at the engine behind `client`; see `Speculator.speak`.
        `hold_message` is 24 kHz PCM, may be empty, and is played when the engine is lost.
        `recover_seconds` is how long a phrase waits for the engine to come back.
        """
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            stop_frame_timeout_s=QUIET_SECONDS,
            max_consecutive_zero_audio_contexts=0,
            sample_rate=OUTPUT_SAMPLE_RATE,
            settings=TTSSettings(model="kokoro-82m", voice=config.voice, language=None),
        )
        self._config = config
        self._client = client
        self._speak = speak
        self._hooks = hooks
        self._hold_message = hold_message
        self._recover_seconds = recover_seconds
        self._first = True  # the next phrase is the first of a reply

    def can_generate_metrics(self) -> bool:
        """True: time to first byte, processing time and characters are reported."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Detect the start of a reply. Pipecat does the rest."""
        if isinstance(frame, LLMFullResponseStartFrame | InterruptionFrame):
            self._first = True
        await super().process_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame. The end of a reply comes after all of its audio."""
        if isinstance(frame, ReplyEndFrame):
            self._hooks.complete()
        await super().push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Close the session at the engine."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._client.close()

    async def on_turn_context_completed(self) -> None:
        """Close the reply at once, even if its last phrase produced no audio.

        Otherwise Pipecat would wait QUIET_SECONDS for that audio.
        """
        self._is_yielding_frames_synchronously = True
        await super().on_turn_context_completed()  # type: ignore[no-untyped-call]

    async def _record_context_audio_outcome(self, context_id: str, received_audio: bool) -> None:
        """Do nothing: Pipecat would report a silent reply as an error.

        A reply may be just an emoji. Failures of the engine are reported by the engine link.
        """

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speak one phrase. A phrase that cannot be spoken is skipped without an error frame."""
        await self.start_tts_usage_metrics(text)
        first, self._first = self._first, False
        spoken_bytes = 0
        if first:
            self._hooks.first_phrase()
            await self._hooks.hold()
        context = self._tts_contexts.get(context_id)
        is_notice = context is not None and not context.append_to_context
        phrase = "" if is_notice else text
        try:
            async with contextlib.aclosing(self._synthesize(text, phrase, first)) as items:
                async for pcm in items:
                    if isinstance(pcm, Frame):
                        spoken_bytes = 0
                        yield pcm
                        continue
                    spoken_bytes += len(pcm)
                    if first:
                        if pcm is not self._hold_message:
                            first = False
                            self._hooks.first_audio()
                        await self._hooks.resume()
                    await self.stop_ttfb_metrics()
                    for start in range(0, len(pcm), SLICE_BYTES):
                        audio = pcm[start : start + SLICE_BYTES]
                        yield TTSAudioRawFrame(audio, OUTPUT_SAMPLE_RATE, 1, context_id=context_id)
            self._hooks.spoken(text, spoken_bytes / 2 / OUTPUT_SAMPLE_RATE)
        except EngineFailed as error:
            self._hooks.failed(error)
            if phrase:
                self._hooks.skipped()
            yield PhraseBrokenFrame()
        finally:
            if first:
                self._first = True  # the phrase had no audio, so the next one is the first
                await self._hooks.resume()

    async def _synthesize(
        self, text: str, phrase: str, urgent: bool
    ) -> AsyncGenerator[bytes | Frame, None]:
        """Yield the PCM of `text`. If the engine is lost, yield the hold message first.

        Frames mark where the audio is not of the text, and where `phrase` begins again.
        """
        chunks = retry_until_back(lambda: self._speak(text, urgent), self._recover_seconds)
        broken = False
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if not isinstance(chunk, EngineLost):
                    if broken:
                        broken = False
                        yield PhraseRestartedFrame(phrase)
                    yield chunk
                    continue
                if not broken:
                    broken = True
                    yield PhraseBrokenFrame()
                if chunk.play_hold_message:  # only once per loss, not at each attempt
                    self._hooks.failed(chunk.problem)
                    if self._hold_message:
                        yield self._hold_message
