"""Each process is killed during a turn: the effect on the call, and the restart."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import CallDropped
from client.wav import read_wav
from tests.e2e.appliance import QUESTIONS, Appliance


@pytest.fixture
def config(appliance: Appliance) -> Config:
    appliance.wait_ready()
    return Config(url=appliance.url, token=appliance.token)


async def wait_for_restart(appliance: Appliance, name: str, victim: psutil.Process) -> None:
    """Wait until another process of this name runs and the appliance is ready."""
    async with asyncio.timeout(90):
        while True:
            try:
                if appliance.process(name).pid != victim.pid and appliance.ready():
                    return
            except (AssertionError, psutil.NoSuchProcess):
                pass
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_call_survives_a_killed_engine(
    appliance: Appliance, config: Config, engine: str
) -> None:
    victim = appliance.process(engine)
    restarts = appliance.metric(f'voice_process_restarts_total{{process="{engine}"}}')
    async with Conversation(await connect(config)) as conversation:
        first = await conversation.finished(conversation.say(read_wav(QUESTIONS[0])))
        assert first.outcome == "answered"
        turn = conversation.say(read_wav(QUESTIONS[1]))
        await asyncio.sleep(0.5)
        victim.kill()
        second = await conversation.finished(turn, timeout_seconds=90)
        assert second.outcome == "answered", appliance.tail()
        assert second.heard.first_audible_at is not None
        third = await conversation.finished(
            conversation.say(read_wav(QUESTIONS[2])), timeout_seconds=90
        )
        assert third.outcome == "answered"
        assert third.reply_text
    await wait_for_restart(appliance, engine, victim)
    after = appliance.metric(f'voice_process_restarts_total{{process="{engine}"}}')
    assert after == restarts + 1


async def test_killed_gateway_ends_the_call_and_its_successor_takes_the_next(
    appliance: Appliance, config: Config
) -> None:
    victim = appliance.process("gateway")
    async with Conversation(await connect(config)) as conversation:
        turn = conversation.say(read_wav(QUESTIONS[0]))
        assert await conversation.audible(turn) is not None
        victim.kill()
        interrupted = await conversation.finished(turn)
        assert interrupted.outcome in ("broke_off", "answered")
        assert isinstance(conversation.failure, CallDropped)
    await wait_for_restart(appliance, "gateway", victim)
    async with Conversation(await connect(config, retry_seconds=30)) as conversation:
        again = await conversation.finished(conversation.say(read_wav(QUESTIONS[0])))
    assert again.outcome == "answered"


async def test_killed_exporter_does_not_affect_the_call(
    appliance: Appliance, config: Config
) -> None:
    victim = appliance.process("exporter")
    async with Conversation(await connect(config)) as conversation:
        turn = conversation.say(read_wav(QUESTIONS[0]))
        victim.kill()
        assert (await conversation.finished(turn)).outcome == "answered"
    await wait_for_restart(appliance, "exporter", victim)
    async with asyncio.timeout(60):
        while True:
            try:
                assert appliance.metric('voice_process_up{process="gateway"}') == 1
                break
            except OSError:
                await asyncio.sleep(0.3)
