"""The TTS engine behind the link: phrases in, PCM out, one worker thread around one model."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from appliance import journal
from appliance.engines.tts import audio
from appliance.engines.tts.audio import chunks
from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.metrics import KokoroMeters
from appliance.engines.tts.synthesizer import FOLDER, Cancelled, Synthesizer, load
from appliance.engines.tts.text.normalize import normalize
from appliance.engines.tts.voices import Voices
from appliance.errors import EngineBusy, EngineFailed
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.metrics import render
from appliance.settings import Settings


class Job(Protocol):
    """What waits: whose phrase it is, and whether it goes before others."""

    session: int
    urgent: bool


_Job = TypeVar("_Job", bound=Job)


class PhraseQueue(Generic[_Job]):
    """Phrases of one session stay in order; sessions take turns. Safe for threads."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, deque[_Job]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def put(self, job: _Job) -> None:
        """Adds a phrase behind those of its session."""
        with self._changed:
            self._waiting.setdefault(job.session, deque()).append(job)
            self._changed.notify()

    def put_back(self, job: _Job) -> None:
        """A phrase that is not finished: it stays before the others of its session."""
        with self._changed:
            self._waiting.setdefault(job.session, deque()).appendleft(job)
            self._changed.notify()

    def remove(self, job: _Job) -> None:
        """Forgets a phrase, if it waits."""
        with self._changed:
            jobs = self._waiting.get(job.session, deque())
            if job in jobs:
                jobs.remove(job)
            if not jobs:
                self._waiting.pop(job.session, None)

    def take(self) -> _Job | None:
        """Waits for the next phrase; None once the queue is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            session = next(
                (s for s, jobs in self._waiting.items() if any(job.urgent for job in jobs)),
                next(iter(self._waiting)),
            )
            jobs = self._waiting.pop(session)
            job = next((job for job in jobs if job.urgent), jobs[0])
            jobs.remove(job)
            if jobs:
                self._waiting[session] = jobs  # at the end: the other sessions come first
            return job

    def close(self) -> None:
        """Wakes and ends every `take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


MAX_WAITING = 64  # phrases; each session has a few at most
SLOWEST, FASTEST = 0.5, 2.0
# Short and long: onnxruntime plans memory anew for every shape it has not seen.
WARM_UP = ("Hello.", "This is a somewhat longer phrase, so that memory is there when it is needed.")


@dataclass(eq=False)
class _Phrase:
    """One request. `out` gets PCM, then None or the error that ended it; filled by the worker."""

    session: int
    text: str
    voice: str
    speed: float
    urgent: bool
    loop: asyncio.AbstractEventLoop
    arrived: float = field(default_factory=time.monotonic)
    out: asyncio.Queue[bytes | EngineFailed | None] = field(default_factory=asyncio.Queue)
    waiting: list[str] | None = None  # chunks of phonemes still to be spoken
    spoken: bool = False
    ended: bool = False
    abandoned: bool = False

    def give(self, item: bytes | EngineFailed | None) -> None:
        """Called on the worker; the loop may be closed when the process stops."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.out.put_nowait, item)


class KokoroEngine:
    """Kokoro-82M behind the interface of `appliance.link.engine.VoiceEngine`."""

    name = "tts"

    def __init__(self, given: Settings) -> None:
        self._knobs = given.tts
        self._weights = given.paths.weights
        self._meters = KokoroMeters()
        self._queue: PhraseQueue[_Phrase] = PhraseQueue()
        self._sessions = itertools.count(1)
        self._lock = threading.Lock()  # guards `_current`
        self._current: _Phrase | None = None
        self._worker: threading.Thread | None = None
        self._g2p: G2P
        self._voices: Voices
        self._model: Synthesizer

    async def start(self) -> None:
        """Loads and warms up. Raises MissingWeights, BadSetting or UnknownVoice."""
        began = time.monotonic()
        await asyncio.to_thread(self._load)
        loaded = time.monotonic()
        await asyncio.to_thread(self._warm_up)
        self._worker = threading.Thread(target=self._work, name="tts", daemon=True)
        self._worker.start()
        journal.get().info(
            "model loaded",
            engine=self.name,
            backend=self._knobs.backend,
            voice=self._knobs.voice,
            load_seconds=round(loaded - began, 2),
            warm_seconds=round(time.monotonic() - loaded, 2),
        )

    async def stop(self) -> None:
        """Ends the worker; phrases that wait get no more audio."""
        self._queue.close()
        if self._worker is not None:
            self._model.cancel()
            await asyncio.to_thread(self._worker.join)

    async def died(self) -> None:
        """Never: the model lives and dies with this process."""
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        """Everything under voice_tts_."""
        self._meters.queue_length.set(len(self._queue))
        return render(self._meters.registry)

    def open(self) -> KokoroSession:
        """A new caller."""
        return KokoroSession(self, next(self._sessions))

    async def speak(
        self, session: int, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """See VoiceSession.speak."""
        voice = voice or self._knobs.voice
        self._voices.check(voice)
        if len(self._queue) >= MAX_WAITING:
            raise EngineBusy(engine=self.name)
        speed = min(max(speed, SLOWEST), FASTEST)
        phrase = _Phrase(session, text, voice, speed, urgent, asyncio.get_running_loop())
        self._queue.put(phrase)
        try:
            while (item := await phrase.out.get()) is not None:
                if isinstance(item, EngineFailed):
                    raise item
                yield item
        finally:
            self._abandon(phrase)

    def _abandon(self, phrase: _Phrase) -> None:
        """The caller takes no more of the phrase; nothing happens if it was complete."""
        with self._lock:
            if phrase.ended:
                return
            phrase.abandoned = True
            current = self._current is phrase
            if current:
                self._model.cancel()
        self._queue.remove(phrase)
        if not current:
            self._end(phrase, "abandoned")

    def _load(self) -> None:
        self._voices = Voices(self._weights / FOLDER / "voices")
        self._voices.check(self._knobs.voice)
        self._g2p = G2P(self._weights)
        self._model = load(self._knobs, self._weights)

    def _warm_up(self) -> None:
        british = self._voices.british(self._knobs.voice)
        for text in WARM_UP:
            phonemes = self._g2p.phonemes(text, british)
            style = self._voices.style(self._knobs.voice, len(phonemes))
            self._model.speak(phonemes, style, 1.0)

    def _work(self) -> None:
        """The worker: one chunk of one phrase at a time; an urgent one waits for no more."""
        while (phrase := self._queue.take()) is not None:
            with self._lock:
                self._current = phrase
            try:
                more = not phrase.abandoned and self._step(phrase)
            except Cancelled:
                self._end(phrase, "abandoned")
            except Exception as problem:
                journal.get().error("a phrase failed", engine=self.name, exc_info=True)
                failed = EngineFailed(engine=self.name)
                failed.__cause__ = problem
                self._end(phrase, "failed", failed)
            else:
                if phrase.abandoned:
                    self._end(phrase, "abandoned")
                elif more:
                    self._queue.put_back(phrase)
                else:
                    self._end(phrase, "spoken" if phrase.spoken else "nothing_to_say")
            finally:
                with self._lock:
                    self._current = None

    def _step(self, phrase: _Phrase) -> bool:
        """Speaks the next chunk; returns whether there are more."""
        if phrase.waiting is None:
            british = self._voices.british(phrase.voice)
            said = normalize(phrase.text, british)
            phrase.waiting = chunks(self._g2p.phonemes(said, british)) if said else []
        if not phrase.waiting:
            return False
        phonemes = phrase.waiting.pop(0)
        style = self._voices.style(phrase.voice, len(phonemes))
        began = time.monotonic()
        samples = self._model.speak(phonemes, style, phrase.speed)
        took = time.monotonic() - began
        shaped = audio.shape(samples, audio.pause_seconds(phonemes) / phrase.speed)
        if not phrase.abandoned and len(shaped):
            self._measure(phrase, took, len(shaped) / OUTPUT_SAMPLE_RATE)
            for pcm in audio.pcm_slices(shaped):
                phrase.give(pcm)
        return bool(phrase.waiting)

    def _measure(self, phrase: _Phrase, took: float, spoken_seconds: float) -> None:
        meters = self._meters
        meters.synthesis_seconds.inc(took)
        meters.audio_seconds.inc(spoken_seconds)
        meters.real_time_ratio.observe(took / spoken_seconds)
        if not phrase.spoken:
            waited = time.monotonic() - phrase.arrived
            meters.first_audio_seconds.labels("true" if phrase.urgent else "false").observe(waited)
        phrase.spoken = True

    def _end(self, phrase: _Phrase, outcome: str, failed: EngineFailed | None = None) -> None:
        with self._lock:
            if phrase.ended:
                return
            phrase.ended = True
        self._meters.phrases.labels(outcome).inc()
        phrase.give(failed)


class KokoroSession:
    """One caller of the engine."""

    def __init__(self, engine: KokoroEngine, number: int) -> None:
        self._engine = engine
        self._number = number

    def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """See VoiceSession.speak."""
        return self._engine.speak(self._number, text, voice, speed, urgent)

    async def close(self) -> None:
        """Nothing is kept for a caller beyond the phrases, which end with their generators."""
