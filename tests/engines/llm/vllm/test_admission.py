"""Admission: decisions of the budget, and coroutines waiting for admission."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.engines.llm.vllm.admission import Displaced, KVAdmission, KVBudget, RequestKind
from appliance.errors import EngineBusy

REPLY, TRANSCRIPTION, PREFILL = RequestKind


def make_budget(kv_tokens: int = 1000, block_tokens: int = 100, max_waiting: int = 3) -> KVBudget:
    return KVBudget(kv_tokens, block_tokens, max_waiting)


def test_request_that_fits_runs_and_reserves_whole_blocks() -> None:
    budget = make_budget()
    assert budget.admit("a", 301, REPLY) == "run"
    assert budget.free_tokens == 600
    assert budget.admit("b", 600, REPLY) == "run"
    assert budget.free_tokens == 0


def test_replies_wait_in_order_of_arrival_regardless_of_size() -> None:
    budget = make_budget()
    budget.admit("a", 900, REPLY)
    assert budget.admit("big", 800, REPLY) == "wait"
    assert budget.admit("small", 100, REPLY) == "wait"
    assert budget.finish("a") == ["big", "small"]


def test_reply_is_refused_when_the_queue_is_full() -> None:
    budget = make_budget(max_waiting=1)
    budget.admit("a", 1000, REPLY)
    assert budget.admit("b", 100, REPLY) == "wait"
    assert budget.admit("c", 100, REPLY) == "refuse"
    assert budget.finish("a") == ["b"]
    assert budget.admit("c", 100, REPLY) == "run"


def test_request_larger_than_the_cache_is_refused_immediately() -> None:
    budget = make_budget(kv_tokens=1050)
    assert budget.admit("a", 1001, REPLY) == "refuse"
    assert budget.admit("a", 1000, REPLY) == "run"


def test_reply_is_admitted_before_an_earlier_transcription() -> None:
    budget = make_budget()
    budget.admit("a", 1000, REPLY)
    assert budget.admit("text", 100, TRANSCRIPTION) == "wait"
    assert budget.admit("b", 950, REPLY) == "wait"
    assert budget.finish("a") == ["b"]
    assert budget.finish("b") == ["text"]


def test_other_requests_do_not_overtake_a_waiting_reply() -> None:
    budget = make_budget()
    budget.admit("a", 500, REPLY)
    budget.admit("b", 600, REPLY)
    assert budget.admit("text", 100, TRANSCRIPTION) == "wait"
    assert budget.admit("prefill", 100, PREFILL) == "refuse"


def test_prefill_is_refused_instead_of_queued() -> None:
    budget = make_budget()
    assert budget.admit("prefill", 400, PREFILL) == "run"
    assert budget.admit("other", 700, PREFILL) == "refuse"
    budget.finish("prefill")
    assert budget.admit("other", 700, PREFILL) == "run"


def test_prefill_and_latest_transcription_are_displaced_for_a_reply() -> None:
    budget = make_budget()
    budget.admit("text", 200, TRANSCRIPTION)
    budget.admit("text2", 200, TRANSCRIPTION)
    budget.admit("prefill", 300, PREFILL)
    budget.admit("a", 300, REPLY)
    assert budget.select_displaced() == []
    assert budget.admit("b", 400, REPLY) == "wait"
    assert budget.select_displaced() == ["prefill", "text2"]
    assert budget.finish("prefill") == []
    assert budget.select_displaced() == ["text2"]
    assert budget.finish("text2") == ["b"]


def test_nothing_is_displaced_if_it_would_not_make_enough_room() -> None:
    budget = make_budget()
    budget.admit("a", 800, REPLY)
    budget.admit("text", 200, TRANSCRIPTION)
    budget.admit("b", 900, REPLY)
    assert budget.select_displaced() == []


def test_next_request_starts_when_a_waiting_one_leaves() -> None:
    budget = make_budget()
    budget.admit("a", 500, REPLY)
    budget.admit("big", 900, REPLY)
    budget.admit("small", 100, REPLY)
    assert budget.finish("big") == ["small"]
    assert budget.finish("nobody") == []


def test_request_id_in_use_is_refused() -> None:
    budget = make_budget()
    budget.admit("a", 1000, REPLY)
    budget.admit("b", 100, REPLY)
    for known in ("a", "b"):
        with pytest.raises(ValueError, match="already"):
            budget.admit(known, 1, PREFILL)


class AdmissionMachine(RuleBasedStateMachine):
    """Requests arrive and end in any order."""

    TOTAL = 1000

    def __init__(self) -> None:
        super().__init__()
        self.budget = KVBudget(self.TOTAL, 16, 4)
        self.sizes: dict[str, tuple[int, RequestKind]] = {}
        self.running: set[str] = set()
        self.queue: list[str] = []
        self.number = 0

    @rule(tokens=st.integers(1, 1100), kind=st.sampled_from(RequestKind))
    def admit(self, tokens: int, kind: RequestKind) -> None:
        self.number += 1
        new = str(self.number)
        preceding = [request for request in self.queue if self.sizes[request][1] <= kind]
        decision = self.budget.admit(new, tokens, kind)
        self.sizes[new] = (tokens, kind)
        if decision == "run":
            assert not preceding, "overtook a waiting request"
            self.running.add(new)
        elif decision == "wait":
            assert kind is not PREFILL
            self.queue.append(new)
        else:
            assert kind is PREFILL or tokens > 992 or len(preceding) >= 4

    @precondition(lambda self: self.running or self.queue)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        finished = data.draw(st.sampled_from(sorted(self.running | set(self.queue))))
        self.running.discard(finished)
        self.queue = [request for request in self.queue if request != finished]
        for started in self.budget.finish(finished):
            kind = self.sizes[started][1]
            assert started == next(
                request for request in self.queue if self.sizes[request][1] <= kind
            ), "overtook a waiting request"
            self.queue.remove(started)
            self.running.add(started)

    @invariant()
    def reservations_never_exceed_the_cache(self) -> None:
        assert sum(self.sizes[request][0] for request in self.running) <= self.TOTAL
        assert self.budget.free_tokens >= 0

    @invariant()
    def no_request_waits_while_the_cache_is_unused(self) -> None:
        assert self.running or not self.queue

    @invariant()
    def displacing_makes_room_for_the_first_reply(self) -> None:
        displaced = self.budget.select_displaced()
        first = next((request for request in self.queue if self.sizes[request][1] is REPLY), None)
        assert all(self.sizes[request][1] is not REPLY for request in displaced)
        if displaced:
            assert first is not None
            freed = self.budget.free_tokens + sum(
                -(-self.sizes[request][0] // 16) * 16 for request in displaced
            )
            assert freed >= self.sizes[first][0]

    def teardown(self) -> None:
        while self.running:
            finished = self.running.pop()
            for started in self.budget.finish(finished):
                self.queue.remove(started)
                self.running.add(started)
        assert not self.queue, "a request was never admitted"
        assert self.budget.free_tokens == 992, "a reservation was not released"


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=100, stateful_step_count=30)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_every_waiting_reply_starts_in_order(sizes: list[int]) -> None:
    budget = make_budget(max_waiting=12)
    running = [str(n) for n, size in enumerate(sizes) if budget.admit(str(n), size, REPLY) == "run"]
    order = list(running)
    while running:
        started = budget.finish(running.pop(0))
        running += started
        order += started
    assert order == [str(n) for n in range(len(sizes))]


@pytest.fixture
def admission() -> KVAdmission:
    return KVAdmission(KVBudget(kv_tokens=100, block_tokens=10, max_waiting=2))


async def run_pending_tasks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_reply_waits_until_there_is_room(admission: KVAdmission) -> None:
    order: list[str] = []

    async def reply() -> None:
        async with admission.hold(60, REPLY):
            order.append("second")

    async with admission.hold(60, REPLY):
        waiting = asyncio.create_task(reply())
        await run_pending_tasks()
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def hold_until_displaced(
    admission: KVAdmission, tokens: int, displaced: asyncio.Event
) -> None:
    try:
        async with admission.hold(tokens, TRANSCRIPTION):
            await asyncio.Event().wait()
    except Displaced:
        displaced.set()


async def test_transcription_is_displaced_by_a_reply(admission: KVAdmission) -> None:
    displaced = asyncio.Event()
    transcribing = asyncio.create_task(hold_until_displaced(admission, 60, displaced))
    await run_pending_tasks()
    async with admission.hold(60, REPLY):
        assert displaced.is_set()
    await transcribing


async def test_transcription_is_displaced_as_soon_as_this_makes_enough_room(
    admission: KVAdmission,
) -> None:
    displaced = asyncio.Event()

    async def reply() -> None:
        async with admission.hold(80, REPLY):
            assert displaced.is_set()

    async with admission.hold(60, REPLY):
        transcribing = asyncio.create_task(hold_until_displaced(admission, 40, displaced))
        await run_pending_tasks()
        waiting = asyncio.create_task(reply())
        await run_pending_tasks()
        assert not displaced.is_set()  # displacing it earlier would not have made enough room
    async with asyncio.timeout(5):
        await asyncio.gather(waiting, transcribing)


async def test_reply_is_never_displaced(admission: KVAdmission) -> None:
    async with admission.hold(60, REPLY):
        waiting = asyncio.create_task(admission.hold(60, REPLY).__aenter__())
        await run_pending_tasks()
        assert not waiting.done()
        waiting.cancel()


async def test_cancelled_request_leaves_the_queue(admission: KVAdmission) -> None:
    async def reply() -> None:
        async with admission.hold(60, REPLY):
            pass

    async with admission.hold(60, REPLY):
        cancelled = asyncio.create_task(reply())
        waiting = asyncio.create_task(reply())
        await run_pending_tasks()
        cancelled.cancel()
    await waiting
    assert cancelled.cancelled()


async def test_request_is_refused_when_the_queue_is_full(admission: KVAdmission) -> None:
    async with admission.hold(100, REPLY):
        waiting = [asyncio.create_task(admission.hold(10, REPLY).__aenter__()) for _ in range(2)]
        await run_pending_tasks()
        with pytest.raises(EngineBusy):
            async with admission.hold(10, REPLY):
                pass
        for task in waiting:
            task.cancel()


async def test_request_larger_than_the_cache_is_refused(admission: KVAdmission) -> None:
    with pytest.raises(EngineBusy):
        async with admission.hold(101, REPLY):
            pass


async def test_timeout_inside_the_context_is_not_mistaken_for_displacement(
    admission: KVAdmission,
) -> None:
    with pytest.raises(TimeoutError):
        async with admission.hold(10, TRANSCRIPTION):
            raise TimeoutError


async def test_room_is_released_after_an_error(admission: KVAdmission) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with admission.hold(100, REPLY):
                raise ZeroDivisionError
