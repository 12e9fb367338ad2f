"""An utterance is heard while it is spoken, so that little is left to do when it ends.

One recognizer in one thread does it for all callers; `Transcript` decides what to recognise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.hearing import Piece, Transcript
from appliance.engines.llm.small.moonshine import Heard
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.errors import EngineFailed

Recognize = Callable[[Samples], Heard]
NOTHING: Final = Heard("", -math.inf)


class Hearing:
    """Recognises utterances in a thread of its own: those a caller waits for go first."""

    def __init__(self, worker: Worker, recognize: Recognize) -> None:
        self._worker = worker
        self._recognize = recognize
        self._segmenting: dict[Transcript, asyncio.Future[None]] = {}

    def listen(self, transcript: Transcript) -> None:
        """More audio came: recognises a segment in the background if there is one."""
        if transcript in self._segmenting or transcript.segment() is None:
            return
        job = self._worker.run(Urgency.SEGMENT, lambda: self._segments(transcript))
        self._segmenting[transcript] = job
        job.add_done_callback(lambda _: self._segmenting.pop(transcript, None))

    async def text(self, transcript: Transcript, urgency: Urgency) -> str:
        """What was said so far; at once when that is known already. Raises EngineFailed."""
        if transcript.rest() is not None:
            try:
                await self._worker.run(urgency, lambda: self._all(transcript))
            except Exception as problem:
                raise EngineFailed(engine="llm") from problem
        return transcript.text

    def _segments(self, transcript: Transcript) -> None:
        while (piece := transcript.segment()) is not None:
            transcript.put(piece, self._hear(transcript, piece))

    def _all(self, transcript: Transcript) -> None:
        while (piece := transcript.rest()) is not None:
            transcript.put(piece, self._hear(transcript, piece))
            if not piece.final:
                return  # What came meanwhile is the next caller's.

    def _hear(self, transcript: Transcript, piece: Piece) -> Heard:
        audible = transcript.audible(piece)
        return NOTHING if audible is None else self._recognize(audible)
