"""PhraseQueue: urgent phrases first, then the phrase that is due first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from appliance.engines.tts.phrase_queue import Phrase, PhraseQueue


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return an event loop, which a phrase needs for its output. The tests do not run it."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def phrase(
    loop: asyncio.AbstractEventLoop,
    session: int,
    text: str,
    urgent: bool = False,
    arrived_at: float = 0.0,
) -> Phrase:
    return Phrase(session, text, "af_heart", 1.0, urgent, loop, arrived_at)


def queue_of(*phrases: Phrase, plays_until: dict[int, float] | None = None) -> PhraseQueue:
    """Return a queue of `phrases`. `plays_until`: by session; without it, nothing is played."""
    queue = PhraseQueue(lambda session: plays_until[session] if plays_until else 0.0)
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


def test_urgent_phrase_is_taken_before_replies_that_have_audio(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = queue_of(
        phrase(loop, 1, "1a"),
        phrase(loop, 2, "2a"),
        phrase(loop, 2, "2b", urgent=True),
        phrase(loop, 3, "3a", urgent=True),
        plays_until={1: 1.0, 2: 1.0, 3: 1.0},
    )
    assert drain(queue) == "2b 3a 1a 2a"


def test_session_whose_audio_runs_out_first_comes_first(loop: asyncio.AbstractEventLoop) -> None:
    plays_until = {1: 13.0, 2: 11.0, 3: 12.0}
    queue = queue_of(
        *(phrase(loop, session, f"{session}a") for session in (1, 2, 3)), plays_until=plays_until
    )
    taken = []
    for _ in range(4):
        item = queue.take()
        assert item is not None
        taken.append(item.session)
        plays_until[item.session] += 1.5
        queue.put_back(item)
    assert taken == [2, 3, 2, 1]


def test_part_without_audio_does_not_cost_a_session_its_turn(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = queue_of(phrase(loop, 1, "1a"), phrase(loop, 2, "2a"), plays_until={1: 10.0, 2: 11.0})
    for _ in range(2):
        item = queue.take()
        assert item is not None and item.session == 1
        queue.put_back(item)


def test_phrase_of_a_session_that_was_silent_is_due_when_it_arrives(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """However long the session has played nothing."""
    queue = queue_of(
        phrase(loop, 1, "1a", arrived_at=30.0),
        phrase(loop, 2, "2a", arrived_at=20.0),
        plays_until={1: 5.0, 2: 25.0},
    )
    assert drain(queue) == "2a 1a"


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
