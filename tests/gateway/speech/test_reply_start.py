"""When the first audio of a reply is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from appliance.gateway.session_set import SessionSet
from appliance.gateway.speech.reply_start import ReplyStart
from appliance.link.engine import ChatMessage
from client import wire
from tests.fakes.engines import InstantLLMEngine, Reply
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.gateway.simulated_client import SimulatedClient

NEVER = 3600.0  # seconds
LONG_REPLY = "This answer goes on, " + "and on, " * 15 + "and ends."
HELD_BACK = {"tts": {"start_delay_seconds": 5.0}}  # longer than the reply takes to be complete


@pytest.fixture
def busy() -> SessionSet:
    return SessionSet()


async def is_held_back(start: ReplyStart) -> bool:
    task = asyncio.create_task(start.wait())
    await asyncio.sleep(0.01)
    done = task.done()
    task.cancel()
    return not done


async def test_reply_starts_at_once_while_the_engines_work_for_no_other_session(
    busy: SessionSet,
) -> None:
    start = ReplyStart(NEVER, busy)
    start.work_began()
    assert not await is_held_back(start)


async def test_reply_is_held_back_while_the_engines_work_for_another_session(
    busy: SessionSet,
) -> None:
    start, other = ReplyStart(NEVER, busy), ReplyStart(NEVER, busy)
    other.work_began()
    start.work_began()
    assert await is_held_back(start)
    other.work_dropped()
    assert not await is_held_back(start)


async def test_complete_reply_starts_at_once(busy: SessionSet) -> None:
    start, other = ReplyStart(NEVER, busy), ReplyStart(NEVER, busy)
    other.work_began()
    start.work_began()
    waiting = asyncio.create_task(start.wait())
    await asyncio.sleep(0)
    start.audio_complete()
    await waiting


async def test_next_reply_is_held_back_again(busy: SessionSet) -> None:
    start, other = ReplyStart(NEVER, busy), ReplyStart(NEVER, busy)
    other.work_began()
    start.work_began()
    start.audio_complete()
    start.work_began()
    assert await is_held_back(start)


@pytest.mark.parametrize("delay_seconds", [0.0, 0.001])
async def test_reply_starts_after_the_delay_at_the_latest(
    busy: SessionSet, delay_seconds: float
) -> None:
    start, other = ReplyStart(delay_seconds, busy), ReplyStart(delay_seconds, busy)
    other.work_began()
    start.work_began()
    await start.wait()


# Through the gateway


class Slow(ScriptedLLM):
    """Tells a story, and says nothing aloud after "Stop."."""

    def __call__(self, conversation: Sequence[ChatMessage], utterances: dict[int, bytes]) -> Reply:
        return "..." if conversation[-1].text.endswith("Stop.") else LONG_REPLY


def has_audio(client: SimulatedClient) -> bool:
    return wire.AudioFrame in map(type, client.frames)


def running(engine: InstantLLMEngine) -> int:
    """Return how many replies the engine generates."""
    return sum(session.running for session in engine.sessions)


def decoded(engine: InstantLLMEngine) -> int:
    """Return how many words the engine has generated."""
    return sum(session.decoded for session in engine.sessions)


@pytest.mark.parametrize("other", ["replying", "silent"])
async def test_gateway_holds_back_a_reply_while_another_one_is_made(
    make_gateway: MakeGateway, other: str
) -> None:
    async with make_gateway(Slow(), sections=HELD_BACK) as gateway:
        engine = gateway.llm_engine
        first, second = await gateway.connect(), await gateway.connect()
        if other == "replying":
            engine.pause_seconds = NEVER
            await first.type("Tell me a story.")
            await first.wait_until(lambda: running(engine))
        engine.pause_seconds = 0.02
        await second.type("Tell me a story.")
        await second.wait_until(lambda: has_audio(second))
        still_made = running(engine) - (other == "replying")
        assert still_made == (other == "silent")
        assert (await second.turn(1))["outcome"] == "answered"


async def test_interruption_drops_a_reply_that_is_held_back(make_gateway: MakeGateway) -> None:
    async with make_gateway(Slow(), sections=HELD_BACK) as gateway:
        engine = gateway.llm_engine
        first, second = await gateway.connect(), await gateway.connect()
        engine.pause_seconds = NEVER
        await first.type("Tell me a story.")
        await first.wait_until(lambda: running(engine))
        engine.pause_seconds = 0.02
        await second.type("Tell me a story.")
        await second.wait_until(lambda: decoded(engine) > 8)  # its first phrase is there
        await second.type("Stop.")
        await second.turn(2)
        assert not has_audio(second)
