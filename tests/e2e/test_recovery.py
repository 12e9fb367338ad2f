"""Kill each process in the middle of a turn: what the caller hears, and that it comes back."""

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


async def came_back(appliance: Appliance, name: str, before: psutil.Process) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                if appliance.process(name).pid != before.pid and appliance.ready():
                    return
            except (AssertionError, psutil.NoSuchProcess):
                pass
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_a_call_outlives_a_killed_engine(
    appliance: Appliance, config: Config, engine: str
) -> None:
    victim = appliance.process(engine)
    restarts = appliance.metric(f'voice_process_restarts_total{{process="{engine}"}}')
    async with Conversation(await connect(config)) as talk:
        first = await talk.finished(talk.say(read_wav(QUESTIONS[0])))
        assert first.outcome == "answered"
        asked = talk.say(read_wav(QUESTIONS[1]))
        await asyncio.sleep(0.5)
        victim.kill()
        second = await talk.finished(asked, patience_seconds=90)
        assert second.outcome == "answered", appliance.tail()
        assert second.heard.first_audible_at is not None
        third = await talk.finished(talk.say(read_wav(QUESTIONS[2])), patience_seconds=90)
        assert third.outcome == "answered"
        assert third.reply_text
    await came_back(appliance, engine, victim)
    after = appliance.metric(f'voice_process_restarts_total{{process="{engine}"}}')
    assert after == restarts + 1


async def test_a_killed_gateway_ends_the_call_and_takes_the_next(
    appliance: Appliance, config: Config
) -> None:
    victim = appliance.process("gateway")
    async with Conversation(await connect(config)) as talk:
        asked = talk.say(read_wav(QUESTIONS[0]))
        assert await talk.audible(asked) is not None
        victim.kill()
        cut = await talk.finished(asked)
        assert cut.outcome in ("broke_off", "answered")
        assert isinstance(talk.failure, CallDropped)
    await came_back(appliance, "gateway", victim)
    async with Conversation(await connect(config, patience_seconds=30)) as talk:
        again = await talk.finished(talk.say(read_wav(QUESTIONS[0])))
    assert again.outcome == "answered"


async def test_nobody_notices_a_killed_exporter(appliance: Appliance, config: Config) -> None:
    victim = appliance.process("exporter")
    async with Conversation(await connect(config)) as talk:
        asked = talk.say(read_wav(QUESTIONS[0]))
        victim.kill()
        assert (await talk.finished(asked)).outcome == "answered"
    await came_back(appliance, "exporter", victim)
    async with asyncio.timeout(60):
        while True:
            try:
                assert appliance.metric('voice_process_up{process="gateway"}') == 1
                break
            except OSError:
                await asyncio.sleep(0.3)
