"""Urgent phrases first, then the sessions in turn."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from appliance.engines.tts.engine import PhraseQueue


@dataclass(eq=False)
class Waiting:
    session: int
    name: str
    urgent: bool = False


def filled(*jobs: Waiting) -> PhraseQueue[Waiting]:
    queue: PhraseQueue[Waiting] = PhraseQueue()
    for job in jobs:
        queue.put(job)
    return queue


def order(queue: PhraseQueue[Waiting]) -> str:
    names = []
    while len(queue):
        job = queue.take()
        assert job is not None
        names.append(job.name)
    return " ".join(names)


def test_sessions_take_turns_and_keep_their_own_order() -> None:
    queue = filled(*(Waiting(s, f"{s}{n}") for s in (1, 2) for n in "abc"))
    assert order(queue) == "1a 2a 1b 2b 1c 2c"


def test_an_urgent_phrase_goes_first() -> None:
    queue = filled(Waiting(1, "1a"), Waiting(2, "2a"), Waiting(3, "3a", urgent=True))
    assert order(queue) == "3a 1a 2a"


def test_a_phrase_put_back_stays_before_the_others_of_its_session() -> None:
    queue = filled(Waiting(1, "1a"), Waiting(1, "1b"))
    first = queue.take()
    assert first is not None
    queue.put_back(first)
    assert order(queue) == "1a 1b"


def test_a_removed_phrase_does_not_come_up() -> None:
    gone = Waiting(1, "gone")
    queue = filled(gone, Waiting(1, "1b"))
    queue.remove(gone)
    queue.remove(gone)
    assert order(queue) == "1b"


def test_closing_wakes_who_waits() -> None:
    queue: PhraseQueue[Waiting] = PhraseQueue()
    taken: list[Waiting | None] = []
    waiter = threading.Thread(target=lambda: taken.append(queue.take()))
    waiter.start()
    queue.close()
    waiter.join(timeout=5)
    assert taken == [None]
