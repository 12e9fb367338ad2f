"""Who waits, who runs and who gives way, without a model."""

from __future__ import annotations

import asyncio

import pytest

from appliance.engines.llm.vllm.admission import KVBudget, Displaced, Room, Urgency
from appliance.errors import EngineBusy


@pytest.fixture
def room() -> Room:
    return Room(KVBudget(kv_tokens=100, block_tokens=10, max_waiting=2), "llm")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_reply_waits_until_there_is_room(room: Room) -> None:
    order: list[str] = []

    async def reply() -> None:
        async with room.hold(60, RequestKind.REPLY):
            order.append("second")

    async with room.hold(60, RequestKind.REPLY):
        waiting = asyncio.create_task(reply())
        await settled()
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_transcription_gives_way_to_a_reply(room: Room) -> None:
    gave_way = asyncio.Event()

    async def transcribe() -> None:
        try:
            async with room.hold(60, RequestKind.TRANSCRIPTION):
                await asyncio.Event().wait()
        except Displaced:
            gave_way.set()

    transcribing = asyncio.create_task(transcribe())
    await settled()
    async with room.hold(60, RequestKind.REPLY):
        assert gave_way.is_set()
    await transcribing


async def test_a_transcription_gives_way_as_soon_as_that_is_all_a_reply_waits_for(
    room: Room,
) -> None:
    gave_way = asyncio.Event()

    async def transcribe() -> None:
        try:
            async with room.hold(40, RequestKind.TRANSCRIPTION):
                await asyncio.Event().wait()
        except Displaced:
            gave_way.set()

    async def reply() -> None:
        async with room.hold(80, RequestKind.REPLY):
            assert gave_way.is_set()

    async with room.hold(60, RequestKind.REPLY):
        transcribing = asyncio.create_task(transcribe())
        await settled()
        waiting = asyncio.create_task(reply())
        await settled()
        assert not gave_way.is_set()  # it would not have been enough
    async with asyncio.timeout(5):
        await asyncio.gather(waiting, transcribing)


async def test_a_reply_never_gives_way(room: Room) -> None:
    async with room.hold(60, RequestKind.REPLY):
        waiting = asyncio.create_task(room.hold(60, RequestKind.REPLY).__aenter__())
        await settled()
        assert not waiting.done()
        waiting.cancel()


async def test_who_no_longer_waits_is_not_in_the_line(room: Room) -> None:
    async def reply() -> None:
        async with room.hold(60, RequestKind.REPLY):
            pass

    async with room.hold(60, RequestKind.REPLY):
        left = asyncio.create_task(reply())
        stays = asyncio.create_task(reply())
        await settled()
        left.cancel()
    await stays
    assert left.cancelled()


async def test_a_line_has_an_end(room: Room) -> None:
    async with room.hold(100, RequestKind.REPLY):
        waiting = [
            asyncio.create_task(room.hold(10, RequestKind.REPLY).__aenter__()) for _ in range(2)
        ]
        await settled()
        with pytest.raises(EngineBusy):
            async with room.hold(10, RequestKind.REPLY):
                pass
        for task in waiting:
            task.cancel()


async def test_what_could_never_run_is_refused(room: Room) -> None:
    with pytest.raises(EngineBusy):
        async with room.hold(101, RequestKind.REPLY):
            pass


async def test_a_timeout_of_the_work_itself_stays_one(room: Room) -> None:
    with pytest.raises(TimeoutError):
        async with room.hold(10, RequestKind.TRANSCRIPTION):
            raise TimeoutError


async def test_room_is_given_back_whatever_happened(room: Room) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with room.hold(100, RequestKind.REPLY):
                raise ZeroDivisionError
