"""The TTS engine behind the link: phrases in, PCM out, with one model on one worker thread.

The worker takes a phrase from the queue, synthesizes its next part and puts the phrase back until
it is complete. A phrase is split into chunks, and a chunk is synthesized in pieces of at most a
second of speech (synthesizer.py). An urgent phrase therefore waits for at most one piece of another
session. A phrase is urgent until its first audio is ready. If none is urgent, the next piece is of
the session whose audio runs out first (playback.py).
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Iterator

from appliance import journal, site_lexicon
from appliance.engines.tts import audio
from appliance.engines.tts.audio import Samples
from appliance.engines.tts.metrics import TTSMetrics
from appliance.engines.tts.phrase_queue import Phrase, PhraseQueue
from appliance.engines.tts.playback import PlaybackLeads
from appliance.engines.tts.reader import Reader, Reading
from appliance.engines.tts.synthesizer import FOLDER, SynthesisCancelled, Synthesizer, load
from appliance.engines.tts.voices import Voices, VoiceStyle
from appliance.errors import EngineBusy, EngineFailed
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.metrics import render
from appliance.settings import Settings

MAX_QUEUED_PHRASES = 64  # over all sessions; each session has a few at most
MIN_SPEED, MAX_SPEED = 0.5, 2.0
# A short and a long phrase, because onnxruntime plans memory again for each new input shape.
WARM_UP = ("Hello.", "This is a somewhat longer phrase, so that memory is there when it is needed.")


class KokoroEngine:
    """Kokoro-82M as an `appliance.link.engine.TTSEngine`."""

    name = "tts"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.tts
        self._weights = settings.paths.weights
        self._metrics = TTSMetrics()
        self._leads = PlaybackLeads()
        self._queue = PhraseQueue(self._leads.ends_at)
        self._session_numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards `_current` and the `ended` flag of phrases
        self._current: Phrase | None = None
        self._worker: threading.Thread | None = None
        self._reader: Reader
        self._voices: Voices
        self._model: Synthesizer

    async def start(self) -> None:
        """Load the model and warm it up.

        Raises MissingWeights, BadSetting, BadLexicon or UnknownVoice.
        """
        started_at = time.monotonic()
        await asyncio.to_thread(self._load)
        loaded_at = time.monotonic()
        await asyncio.to_thread(self._warm_up)
        self._worker = threading.Thread(target=self._work, name="tts", daemon=True)
        self._worker.start()
        journal.get().info(
            "model loaded",
            engine=self.name,
            backend=self._settings.backend,
            voice=self._settings.voice,
            load_seconds=round(loaded_at - started_at, 2),
            warm_seconds=round(time.monotonic() - loaded_at, 2),
        )

    async def stop(self) -> None:
        """Stop the worker; queued phrases get no more audio."""
        self._queue.close()
        if self._worker is not None:
            self._model.cancel()
            await asyncio.to_thread(self._worker.join)

    async def died(self) -> None:
        """Never returns, because the model runs in this process."""
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        """See Engine.metrics. All names begin with voice_tts_."""
        self._metrics.queue_length.set(len(self._queue))
        return render(self._metrics.registry)

    def open(self) -> KokoroSession:
        """See TTSEngine.open."""
        return KokoroSession(self, next(self._session_numbers))

    def read(self, text: str, voice: str = "") -> Reading:
        """Return how a phrase is spoken. Not thread-safe: for the worker, or while it is idle."""
        return self._reader.read(text, self._voices.british(voice or self._settings.voice))

    def forget(self, session: int) -> None:
        """Note that a session has ended."""
        self._leads.remove(session)

    async def speak(
        self, session: int, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """See TTSSession.speak. Also raises EngineBusy if the queue is full."""
        voice = voice or self._settings.voice
        self._voices.check(voice)
        if len(self._queue) >= MAX_QUEUED_PHRASES:
            raise EngineBusy(engine=self.name)
        speed = min(max(speed, MIN_SPEED), MAX_SPEED)
        phrase = Phrase(session, text, voice, speed, urgent, asyncio.get_running_loop())
        self._queue.put(phrase)
        try:
            while (item := await phrase.output.get()) is not None:
                if isinstance(item, EngineFailed):
                    raise item
                yield item
        finally:
            self._abandon(phrase)

    def _abandon(self, phrase: Phrase) -> None:
        """Stop work on a phrase whose consumer is gone. Does nothing if the phrase has ended."""
        with self._lock:
            if phrase.ended:
                return
            phrase.abandoned = True
            is_current = self._current is phrase
            if is_current:
                self._model.cancel()
        self._queue.remove(phrase)
        if not is_current:  # otherwise the worker ends it
            self._end(phrase, "abandoned")

    def _load(self) -> None:
        self._voices = Voices(self._weights / FOLDER / "voices")
        self._voices.check(self._settings.voice)
        self._reader = Reader(self._weights, site_lexicon.read(self._settings))
        self._model = load(self._settings, self._weights)

    def _warm_up(self) -> None:
        british = self._voices.british(self._settings.voice)
        for text in WARM_UP:
            phonemes = self._reader.read(text, british).phonemes
            for _ in self._model.stream(phonemes, self._style(self._settings.voice, phonemes), 1.0):
                pass

    def _work(self) -> None:
        """Run the worker thread: synthesize chunk by chunk until the queue is closed."""
        while (phrase := self._queue.take()) is not None:
            with self._lock:
                self._current = phrase
            try:
                is_unfinished = not phrase.abandoned and self._speak_part(phrase)
            except SynthesisCancelled:
                self._end(phrase, "abandoned")
            except Exception as error:
                journal.get().error("a phrase failed", engine=self.name, exc_info=True)
                failure = EngineFailed(engine=self.name)
                failure.__cause__ = error
                self._end(phrase, "failed", failure)
            else:
                if phrase.abandoned:
                    self._end(phrase, "abandoned")
                elif is_unfinished:
                    self._queue.put_back(phrase)
                else:
                    self._end(phrase, "spoken" if phrase.has_audio else "nothing_to_say")
            finally:
                with self._lock:
                    self._current = None

    def _speak_part(self, phrase: Phrase) -> bool:
        """Synthesize the next part of a phrase; return whether more parts follow."""
        if phrase.chunks is None:
            phrase.chunks = audio.split_phonemes(self.read(phrase.text, phrase.voice).phonemes)
        if phrase.parts is None:
            if not phrase.chunks:
                return False
            phrase.parts = self._speech(phrase, phrase.chunks.pop(0))
        started_at = time.monotonic()
        speech = next(phrase.parts, None)
        if speech is None:
            phrase.parts = None
            return bool(phrase.chunks)
        if not phrase.abandoned and len(speech):
            now, audio_seconds = time.monotonic(), len(speech) / OUTPUT_SAMPLE_RATE
            self._leads.add(phrase.session, audio_seconds, now, is_first=phrase.urgent)
            self._measure(phrase, now - started_at, audio_seconds)
            for pcm in audio.pcm_slices(speech):
                phrase.emit(pcm)
        return True

    def _speech(self, phrase: Phrase, chunk: str) -> Iterator[Samples]:
        """Yield the shaped speech of a chunk, part by part; a part may be empty."""
        shaper = audio.SpeechShaper(audio.pause_seconds(chunk) / phrase.speed)
        style = self._style(phrase.voice, chunk)
        for samples in self._model.stream(chunk, style, phrase.speed):
            yield shaper.add(samples)
        yield shaper.finish()

    def _style(self, voice: str, phonemes: str) -> VoiceStyle:
        vector = self._voices.style(voice, len(phonemes))
        if self._model.streams:
            return VoiceStyle(vector, self._voices.statistics(voice))
        return VoiceStyle(vector)

    def _measure(self, phrase: Phrase, synthesis_seconds: float, audio_seconds: float) -> None:
        metrics = self._metrics
        metrics.synthesis_seconds.inc(synthesis_seconds)
        metrics.audio_seconds.inc(audio_seconds)
        metrics.real_time_ratio.observe(synthesis_seconds / audio_seconds)
        if not phrase.has_audio:
            waited = time.monotonic() - phrase.arrived_at
            metrics.first_audio_seconds.labels("true" if phrase.urgent else "false").observe(waited)
        phrase.has_audio = True
        phrase.urgent = False  # the first parts of other callers come before its rest

    def _end(self, phrase: Phrase, outcome: str, failure: EngineFailed | None = None) -> None:
        with self._lock:
            if phrase.ended:
                return
            phrase.ended = True
        self._metrics.phrases.labels(outcome).inc()
        phrase.emit(failure)


class KokoroSession:
    """One session of a KokoroEngine."""

    def __init__(self, engine: KokoroEngine, number: int) -> None:
        self._engine = engine
        self._number = number

    def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """See TTSSession.speak."""
        return self._engine.speak(self._number, text, voice, speed, urgent)

    async def close(self) -> None:
        """Forget the session. Closing the generators of `speak` has ended its phrases."""
        self._engine.forget(self._number)
