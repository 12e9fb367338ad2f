from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.engines.llm.vllm.admission import KVBudget, Urgency

REPLY, TRANSCRIPTION, WARM = Urgency


def budget(kv_tokens: int = 1000, block_tokens: int = 100, max_waiting: int = 3) -> KVBudget:
    return KVBudget(kv_tokens, block_tokens, max_waiting)


def test_what_fits_runs_and_takes_whole_blocks() -> None:
    kv = budget()
    assert kv.admit("a", 301, REPLY) == "run"
    assert kv.free_tokens == 600
    assert kv.admit("b", 600, REPLY) == "run"
    assert kv.free_tokens == 0


def test_replies_wait_in_order_of_arrival_however_small() -> None:
    kv = budget()
    kv.admit("a", 900, REPLY)
    assert kv.admit("big", 800, REPLY) == "wait"
    assert kv.admit("small", 100, REPLY) == "wait"
    assert kv.finished("a") == ["big", "small"]


def test_a_long_line_turns_replies_away() -> None:
    kv = budget(max_waiting=1)
    kv.admit("a", 1000, REPLY)
    assert kv.admit("b", 100, REPLY) == "wait"
    assert kv.admit("c", 100, REPLY) == "refuse"
    assert kv.finished("a") == ["b"]
    assert kv.admit("c", 100, REPLY) == "run"


def test_what_never_fits_is_refused_at_once() -> None:
    kv = budget(kv_tokens=1050)
    assert kv.admit("a", 1001, REPLY) == "refuse"
    assert kv.admit("a", 1000, REPLY) == "run"


def test_a_reply_goes_before_a_transcription_that_came_first() -> None:
    kv = budget()
    kv.admit("a", 1000, REPLY)
    assert kv.admit("text", 100, TRANSCRIPTION) == "wait"
    assert kv.admit("b", 950, REPLY) == "wait"
    assert kv.finished("a") == ["b"]
    assert kv.finished("b") == ["text"]


def test_nothing_less_urgent_overtakes_a_reply_that_waits() -> None:
    kv = budget()
    kv.admit("a", 500, REPLY)
    kv.admit("b", 600, REPLY)
    assert kv.admit("text", 100, TRANSCRIPTION) == "wait"
    assert kv.admit("warm", 100, WARM) == "refuse"


def test_a_warming_is_dropped_rather_than_kept_waiting() -> None:
    kv = budget()
    assert kv.admit("warm", 400, WARM) == "run"
    assert kv.admit("other", 700, WARM) == "refuse"
    kv.finished("warm")
    assert kv.admit("other", 700, WARM) == "run"


def test_what_is_in_the_way_of_a_reply_is_known() -> None:
    kv = budget()
    kv.admit("text", 200, TRANSCRIPTION)
    kv.admit("text2", 200, TRANSCRIPTION)
    kv.admit("warm", 300, WARM)
    kv.admit("a", 300, REPLY)
    assert kv.in_the_way() == []
    assert kv.admit("b", 400, REPLY) == "wait"
    assert kv.in_the_way() == ["warm", "text2"]
    assert kv.finished("warm") == []
    assert kv.in_the_way() == ["text2"]
    assert kv.finished("text2") == ["b"]


def test_nothing_is_stopped_in_vain() -> None:
    kv = budget()
    kv.admit("a", 800, REPLY)
    kv.admit("text", 200, TRANSCRIPTION)
    kv.admit("b", 900, REPLY)
    assert kv.in_the_way() == []


def test_who_waits_no_more_lets_the_next_one_go() -> None:
    kv = budget()
    kv.admit("a", 500, REPLY)
    kv.admit("big", 900, REPLY)
    kv.admit("small", 100, REPLY)
    assert kv.finished("big") == ["small"]
    assert kv.finished("nobody") == []


def test_an_id_is_used_by_one_request_at_a_time() -> None:
    kv = budget()
    kv.admit("a", 1000, REPLY)
    kv.admit("b", 100, REPLY)
    for known in ("a", "b"):
        with pytest.raises(ValueError, match="already"):
            kv.admit(known, 1, WARM)


class Requests(RuleBasedStateMachine):
    """Requests come and end in any order, as callers and the model please."""

    TOTAL = 1000

    def __init__(self) -> None:
        super().__init__()
        self.kv = KVBudget(self.TOTAL, 16, 4)
        self.sizes: dict[str, tuple[int, Urgency]] = {}
        self.running: set[str] = set()
        self.line: list[str] = []
        self.number = 0

    @rule(tokens=st.integers(1, 1100), urgency=st.sampled_from(Urgency))
    def admit(self, tokens: int, urgency: Urgency) -> None:
        self.number += 1
        new = str(self.number)
        ahead = [one for one in self.line if self.sizes[one][1] <= urgency]
        answer = self.kv.admit(new, tokens, urgency)
        self.sizes[new] = (tokens, urgency)
        if answer == "run":
            assert not ahead, "overtook somebody"
            self.running.add(new)
        elif answer == "wait":
            assert urgency is not WARM
            self.line.append(new)
        else:
            assert urgency is WARM or tokens > 992 or len(ahead) >= 4

    @precondition(lambda self: self.running or self.line)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        over = data.draw(st.sampled_from(sorted(self.running | set(self.line))))
        self.running.discard(over)
        self.line = [one for one in self.line if one != over]
        for started in self.kv.finished(over):
            urgency = self.sizes[started][1]
            assert started == next(one for one in self.line if self.sizes[one][1] <= urgency), (
                "overtook somebody"
            )
            self.line.remove(started)
            self.running.add(started)

    @invariant()
    def no_more_is_promised_than_there_is(self) -> None:
        assert sum(self.sizes[one][0] for one in self.running) <= self.TOTAL
        assert self.kv.free_tokens >= 0

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert self.running or not self.line

    @invariant()
    def stopping_what_is_in_the_way_lets_the_first_reply_go(self) -> None:
        stopping = self.kv.in_the_way()
        first = next((one for one in self.line if self.sizes[one][1] is REPLY), None)
        assert all(self.sizes[one][1] is not REPLY for one in stopping)
        if stopping:
            assert first is not None
            freed = self.kv.free_tokens + sum(-(-self.sizes[one][0] // 16) * 16 for one in stopping)
            assert freed >= self.sizes[first][0]

    def teardown(self) -> None:
        while self.running:
            over = self.running.pop()
            for started in self.kv.finished(over):
                self.line.remove(started)
                self.running.add(started)
        assert not self.line, "somebody was never let in"
        assert self.kv.free_tokens == 992, "something was not given back"


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=100, stateful_step_count=30)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_every_reply_that_waits_gets_its_turn_in_order(sizes: list[int]) -> None:
    kv = budget(max_waiting=12)
    running = [str(n) for n, size in enumerate(sizes) if kv.admit(str(n), size, REPLY) == "run"]
    order = list(running)
    while running:
        started = kv.finished(running.pop(0))
        running += started
        order += started
    assert order == [str(n) for n in range(len(sizes))]
