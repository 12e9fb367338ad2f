"""PhraseQueue: urgent and late phrases first, then round-robin over the sessions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from appliance.engines.tts.engine import Phrase, PhraseQueue


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return an event loop, which a phrase needs for its output. The tests do not run it."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def phrase(
    loop: asyncio.AbstractEventLoop, session: int, text: str, urgent: bool = False
) -> Phrase:
    return Phrase(session, text, "af_heart", 1.0, urgent, loop)


def queue_of(*phrases: Phrase) -> PhraseQueue:
    queue = PhraseQueue()
    for item in phrases:
        queue.put(item)
    return queue


def drain(queue: PhraseQueue) -> str:
    """Take all queued phrases and return their texts in order."""
    texts = []
    while len(queue):
        taken = queue.take()
        assert taken is not None
        texts.append(taken.text)
    return " ".join(texts)


def test_sessions_take_turns_and_keep_their_own_order(loop: asyncio.AbstractEventLoop) -> None:
    queue = queue_of(*(phrase(loop, s, f"{s}{n}") for s in (1, 2) for n in "abc"))
    assert drain(queue) == "1a 2a 1b 2b 1c 2c"


def test_urgent_phrase_is_taken_first(loop: asyncio.AbstractEventLoop) -> None:
    queue = queue_of(
        phrase(loop, 1, "1a"), phrase(loop, 2, "2a"), phrase(loop, 3, "3a", urgent=True)
    )
    assert drain(queue) == "3a 1a 2a"


def test_session_whose_audio_runs_out_takes_turns_with_first_phrases(
    loop: asyncio.AbstractEventLoop,
) -> None:
    late = {2}
    queue = PhraseQueue(late.__contains__)
    for session, text, urgent in ((1, "1a", False), (2, "2a", False), (3, "3a", True)):
        queue.put(phrase(loop, session, text, urgent))
    queue.put(phrase(loop, 2, "2b"))
    assert drain(queue) == "2a 3a 2b 1a"


def test_requeued_phrase_stays_first_in_its_session(loop: asyncio.AbstractEventLoop) -> None:
    queue = queue_of(phrase(loop, 1, "1a"), phrase(loop, 1, "1b"))
    first = queue.take()
    assert first is not None
    queue.put_back(first)
    assert drain(queue) == "1a 1b"


def test_removed_phrase_is_never_taken(loop: asyncio.AbstractEventLoop) -> None:
    removed = phrase(loop, 1, "removed")
    queue = queue_of(removed, phrase(loop, 1, "1b"))
    queue.remove(removed)
    queue.remove(removed)
    assert drain(queue) == "1b"


def test_close_wakes_a_waiting_worker() -> None:
    queue = PhraseQueue()
    taken: list[Phrase | None] = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    queue.close()
    worker.join(timeout=5)
    assert taken == [None]
