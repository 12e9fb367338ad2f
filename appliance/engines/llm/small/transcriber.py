"""Runs the speech recognizer in a thread, first for those who wait."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable
from typing import Final

from appliance.engines.llm import NAME
from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import Recognition
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import Segment, UtteranceTranscript
from appliance.engines.llm.small.worker import WorkerThread
from appliance.errors import EngineFailed

Recognize = Callable[[Samples, Callable[[], bool]], Recognition]
_NO_SPEECH: Final = Recognition("", -math.inf)


class Transcriber:
    """Recognizes utterances in a worker thread, prioritizing those that a user is waiting for.

    `recognize` takes samples, and a function that it calls before each token: if the function
    returns True, the recognition stops and its result is not used.
    """

    def __init__(self, worker: WorkerThread, recognize: Recognize) -> None:
        self._worker = worker
        self._recognize = recognize
        self._segmenting: dict[UtteranceTranscript, asyncio.Future[None]] = {}

    def schedule_segments(self, transcript: UtteranceTranscript) -> None:
        """Recognize the available segments in the background. Call after adding audio."""
        if transcript in self._segmenting or transcript.next_segment() is None:
            return
        job = self._worker.run(JobPriority.SEGMENT, lambda: self._run_segments(transcript))
        self._segmenting[transcript] = job
        job.add_done_callback(lambda _: self._segmenting.pop(transcript, None))

    async def complete(self, transcript: UtteranceTranscript, priority: JobPriority) -> str:
        """Recognize all audio so far and return the text. Raises EngineFailed.

        With the priority BACKGROUND, the recognition stops if a more urgent one is requested.
        """
        if transcript.next_remainder() is not None:
            try:
                job = functools.partial(self._run_rest, transcript, priority)
                await self._worker.run(priority, job, transcript)
            except Exception as problem:
                raise EngineFailed(engine=NAME) from problem
        return transcript.text

    def raise_priority(self, transcript: UtteranceTranscript, priority: JobPriority) -> None:
        """Give the queued recognition of `transcript` at least this priority."""
        self._worker.raise_priority(transcript, priority)

    def _run_segments(self, transcript: UtteranceTranscript) -> None:
        while (segment := transcript.next_segment()) is not None:
            transcript.put(segment, self._run(transcript, segment, lambda: False))

    def _run_rest(self, transcript: UtteranceTranscript, priority: JobPriority) -> None:
        stopped = False

        def should_stop() -> bool:
            nonlocal stopped
            stopped = priority is JobPriority.BACKGROUND and self._worker.has_urgent(priority)
            return stopped

        while (segment := transcript.next_remainder()) is not None:
            recognition = self._run(transcript, segment, should_stop)
            if stopped:
                return
            transcript.put(segment, recognition)
            if not segment.final:
                return  # the next request recognizes audio that has arrived in the meantime

    def _run(
        self, transcript: UtteranceTranscript, segment: Segment, should_stop: Callable[[], bool]
    ) -> Recognition:
        samples = transcript.trim(segment)
        return _NO_SPEECH if samples is None else self._recognize(samples, should_stop)
