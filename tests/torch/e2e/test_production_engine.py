"""Calls answered by Ultravox under vLLM, through every process of the appliance.

The checkpoint is random, so what it says means nothing; that it is said, to whom, and what happens
when it is cut short or its engine dies, is the same as with the real one.
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
PATIENCE_SECONDS = 300  # an engine's start, on two cores that do other things too


@pytest.fixture
def config(appliance: Appliance) -> Config:
    appliance.wait_ready(PATIENCE_SECONDS)
    return Config(url=appliance.url, token=appliance.token)


async def nothing_runs(appliance: Appliance) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(appliance.metric, RUNNING):
            await asyncio.sleep(0.2)


def test_spoken_questions_are_answered_aloud_in_one_call(appliance: Appliance) -> None:
    turns = appliance.say(*QUESTIONS)
    assert turns.exit_code == 0, turns.complaints + appliance.tail()
    assert len(turns) == len(QUESTIONS)
    assert [turn["outcome"] for turn in turns.turns] == ["answered"] * len(turns)
    answered = 'voice_llm_requests_total{outcome="%s"}'
    done = sum(appliance.metric(answered % outcome) for outcome in ("stop", "length"))
    assert done >= len(turns)


async def test_interrupting_the_answer_stops_the_model(
    appliance: Appliance, config: Config
) -> None:
    async with Conversation(await connect(config)) as talk:
        first = talk.say(read_wav(QUESTIONS[0]))
        assert await talk.audible(first) is not None
        second = talk.say(read_wav(QUESTIONS[1]))
        assert (await talk.finished(second, patience_seconds=120)).outcome == "answered"
        await nothing_runs(appliance)


async def test_two_calls_outlive_the_death_of_the_model(
    appliance: Appliance, config: Config
) -> None:
    process = appliance.process("llm")
    restarts = appliance.metric(RESTARTS)
    async with (
        Conversation(await connect(config)) as one,
        Conversation(await connect(config)) as other,
    ):
        asked = one.say(read_wav(QUESTIONS[0])), other.say(read_wav(QUESTIONS[1]))
        await asyncio.sleep(0.5)
        for child in process.children(recursive=True):
            child.kill()
        turns = await asyncio.gather(
            one.finished(asked[0], patience_seconds=PATIENCE_SECONDS),
            other.finished(asked[1], patience_seconds=PATIENCE_SECONDS),
        )
        assert [turn.outcome for turn in turns] == ["answered"] * 2, appliance.tail()
        assert all(turn.heard.first_audible_at is not None for turn in turns)
    psutil.wait_procs([process], timeout=30)
    assert not process.is_running()
    assert appliance.metric(RESTARTS) == restarts + 1
    died = [line for line in appliance.lines() if line.get("reason") == "engine_died"]
    assert died, appliance.tail()
