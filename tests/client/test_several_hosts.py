"""Calls to several hosts: which is called, and what happens when the host of a call is lost."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import pytest

from client.call import ClientCall, connect
from client.config import Config
from client.errors import CallDropped, CallRefused
from client.talk import Talk
from tests.client.conftest import RunClient
from tests.client.test_talk import until
from tests.fakes import FakeCaller, FakeGateway, FakeSound, vanishing_path

FULL = (503, {"Retry-After": "5"}, b'{"reason": "full", "message": "All 4 sessions are taken."}')
DRAINING = (503, {"Retry-After": "10"}, b'{"reason": "draining", "message": "It is drained."}')
UNUSED = "ws://127.0.0.1:9/ws"
FORGETS = "this call"


async def drain(call: ClientCall) -> None:
    async for _ in call.arrivals():
        pass


async def test_full_draining_and_unreachable_hosts_are_passed_over() -> None:
    said: list[tuple[str, float]] = []
    async with (
        FakeGateway(refusals=[FULL]) as full,
        FakeGateway(refusals=[DRAINING]) as draining,
        FakeGateway() as free,
    ):
        config = Config(UNUSED, more_urls=(full.url, draining.url, free.url))
        call = await connect(config, on_retry=lambda error, delay: said.append((str(error), delay)))
        await call.close()
    assert call.url == free.url
    assert [gateway.attempts for gateway in (full, draining, free)] == [1, 1, 1]
    assert [delay for _, delay in said] == [0, 0, 0]
    assert "127.0.0.1:9" in said[0][0]
    assert f"127.0.0.1:{full.port} refused the call" in said[1][0]


async def test_hosts_that_are_all_full_are_called_again_after_the_shortest_time() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with FakeGateway(refusals=[DRAINING]) as one, FakeGateway(refusals=[FULL]) as two:
        call = await connect(Config(one.url, more_urls=(two.url,)), retry_seconds=60.0, sleep=sleep)
        await call.close()
    assert call.url == two.url
    assert [5 <= pause <= 6 for pause in pauses] == [True]


async def test_wrong_token_at_every_host_is_an_error() -> None:
    async with FakeGateway(token="secret") as one, FakeGateway(token="secret") as two:
        with pytest.raises(CallRefused, match=r"\(401\)"):
            await connect(Config(one.url, "guess", more_urls=(two.url,)), retry_seconds=60.0)
    assert (one.attempts, two.attempts) == (1, 1)


async def test_vanished_host_is_said_in_words_within_4_seconds() -> None:
    async with FakeGateway() as gateway, vanishing_path(gateway.port) as path:
        call = await connect(Config(f"ws://127.0.0.1:{path.port}/ws"))
        receiving = asyncio.create_task(drain(call))
        await asyncio.sleep(1.0)  # a quiet call: pings and pongs only
        assert not receiving.done()
        path.vanish()
        began = time.monotonic()
        with pytest.raises(CallDropped, match=r"127\.0\.0\.1:\d+ is lost") as caught:
            await receiving
        lost_seconds = time.monotonic() - began
        with pytest.raises(CallDropped, match="is lost"):
            await call.send_audio(bytes(1280))
        await call.close()
    assert caught.value.retryable
    assert lost_seconds > 2.9  # a stall of 3 s is not a loss; test_liveness has the limit


async def test_question_of_a_lost_call_is_asked_again_at_the_next_host(
    run_client: RunClient,
) -> None:
    async def die(caller: FakeCaller, _text: str) -> None:
        caller.die()

    async with FakeGateway(die) as first, FakeGateway() as second:
        result = await run_client(
            "ask", "What time is it?", VOICE_CLIENT_URL=f"{first.url},{second.url}"
        )
    assert (result.code, result.out) == (0, "Answer 1.\n")
    assert result.err.count("\n") == 1
    assert "the connection was lost" in result.err and FORGETS in result.err
    asked = [m["data"]["content"] for m in second.callers[0].messages if m["type"] == "send-text"]
    assert asked == ["What time is it?"]


async def test_file_of_a_lost_call_is_spoken_again_at_the_next_host(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    async def die_at_the_second(caller: FakeCaller, text: str) -> None:
        if text == "Question 2.":
            caller.die()
        else:
            await caller.reply(text)

    async with FakeGateway(die_at_the_second) as first, FakeGateway() as second:
        result = await run_client(
            *("say", *questions, "--json", "--out", tmp_path / "replies"),
            *("--url", first.url, "--url", second.url),
        )
    assert result.code == 0, result.err
    turns = [json.loads(line) for line in result.out.splitlines()]
    assert [turn["turn"] for turn in turns] == [1, 2]
    assert [turn["outcome"] for turn in turns] == ["answered", "answered"]
    assert [Path(turn["file"]).name for turn in turns] == ["first.wav", "second.wav"]
    assert len(list((tmp_path / "replies").iterdir())) == 2
    assert FORGETS in result.err
    assert len(second.callers) == 1


async def test_talk_goes_on_at_the_next_host_and_says_so() -> None:
    async def die(caller: FakeCaller, _text: str) -> None:
        caller.die()

    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway(die) as first, FakeGateway() as second:
        config = Config(first.url, more_urls=(second.url,))
        talk = Talk(config, sound, None, None, False, out)
        running = asyncio.create_task(talk.run())
        await until(lambda: first.callers and first.callers[0].heard)
        first.callers[0].die()
        await until(lambda: second.callers and second.callers[0].heard)
        talk.stop()
        await running
    assert f"connected to 127.0.0.1:{first.port}" in out.getvalue()
    assert "will not remember this call" in out.getvalue()
    assert f"connected to 127.0.0.1:{second.port}" in out.getvalue()
    assert first.attempts == 1
