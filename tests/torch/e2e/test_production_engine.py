"""Calls answered by Ultravox under vLLM, through all processes of the appliance.

The checkpoint is random, so its replies are meaningless. But replies, interruptions and the death
of the engine are handled as with the real one.
"""

from __future__ import annotations

import asyncio

import psutil
import pytest

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.wav import read_wav
from tests.e2e.appliance import QUESTIONS, Appliance

RUNNING = "voice_llm_requests_running"
RESTARTS = 'voice_process_restarts_total{process="llm"}'
START_SECONDS = 300  # of an engine, on two busy cores


@pytest.fixture
def config(appliance: Appliance) -> Config:
    appliance.wait_ready(START_SECONDS)
    return Config(url=appliance.url, token=appliance.token)


async def wait_until_idle(appliance: Appliance) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(appliance.metric, RUNNING):
            await asyncio.sleep(0.2)


def test_all_spoken_questions_of_a_call_are_answered(appliance: Appliance) -> None:
    turns = appliance.say(*QUESTIONS)
    assert turns.exit_code == 0, turns.stderr + appliance.tail()
    assert len(turns) == len(QUESTIONS)
    assert [turn["outcome"] for turn in turns.turns] == ["answered"] * len(turns)
    requests = 'voice_llm_requests_total{outcome="%s"}'
    complete = sum(appliance.metric(requests % outcome) for outcome in ("stop", "length"))
    assert complete >= len(turns)


async def test_interruption_stops_the_model(appliance: Appliance, config: Config) -> None:
    async with Conversation(await connect(config)) as conversation:
        first = conversation.say(read_wav(QUESTIONS[0]))
        assert await conversation.audible(first) is not None
        second = conversation.say(read_wav(QUESTIONS[1]))
        assert (await conversation.finished(second, timeout_seconds=120)).outcome == "answered"
        await wait_until_idle(appliance)


async def test_two_calls_survive_the_death_of_the_model(
    appliance: Appliance, config: Config
) -> None:
    process = appliance.process("llm")
    restarts = appliance.metric(RESTARTS)
    async with (
        Conversation(await connect(config)) as one,
        Conversation(await connect(config)) as other,
    ):
        questions = one.say(read_wav(QUESTIONS[0])), other.say(read_wav(QUESTIONS[1]))
        await asyncio.sleep(0.5)
        for child in process.children(recursive=True):
            child.kill()
        turns = await asyncio.gather(
            one.finished(questions[0], timeout_seconds=START_SECONDS),
            other.finished(questions[1], timeout_seconds=START_SECONDS),
        )
        assert [turn.outcome for turn in turns] == ["answered"] * 2, appliance.tail()
        assert all(turn.heard.first_audible_at is not None for turn in turns)
    psutil.wait_procs([process], timeout=30)
    assert not process.is_running()
    assert appliance.metric(RESTARTS) == restarts + 1
    died = [line for line in appliance.lines() if line.get("reason") == "engine_died"]
    assert died, appliance.tail()
