"""Realtime clients on the real gateway with instant engines: limits, refusals, what they notice.

The clients of OpenAI are in tests/realtime. Here is what they do not send.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from appliance.gateway.generation.llm_service import CANNOT_REPLY
from appliance.gateway.http.gatekeeper import KEY_SUBPROTOCOL, SUBPROTOCOL
from tests.gateway.conftest import (
    TIMEOUT_SECONDS,
    TOKEN,
    MakeGateway,
    RunningGateway,
    ScriptedLLM,
    Speak,
)
from tests.gateway.requests import send as send_request

PIECE = 1920  # 40 ms of 24 kHz PCM
LONG_REPLY = "This is a long story about a king. " * 12
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class RealtimeCaller:
    """A Realtime client that sends what it is told. `events` has all events received."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.speech = bytearray()  # 24 kHz PCM that the microphone hears
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._receive())]

    async def _receive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.events.append(json.loads(text))
                self._changed.set()
        self._changed.set()

    async def _microphone(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                piece = bytes(self.speech[:PIECE]).ljust(PIECE, b"\0")
                del self.speech[:PIECE]
                await self.append(piece)
                await asyncio.sleep(0.04)

    def open_microphone(self) -> None:
        self._tasks.append(asyncio.create_task(self._microphone()))

    async def say(self, pcm: bytes) -> None:
        """Speak 16 kHz PCM in real time."""
        samples = [pcm[at : at + 2] for at in range(0, len(pcm), 2)]
        # Two samples become three, which is good enough for a voice.
        self.speech += b"".join(sample * (1 + number % 2) for number, sample in enumerate(samples))
        while self.speech:
            await asyncio.sleep(0.04)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def append(self, pcm: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def type(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, kind: str, number: int = 1) -> dict[str, Any]:
        await self.wait_until(lambda: len(self.of(kind)) >= number)
        return self.of(kind)[number - 1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    async def wait_closed(self) -> tuple[int | None, str | None]:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def close(self) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def call(
    gateway: RunningGateway, headers: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[RealtimeCaller]:
    url = f"ws://{gateway.address}/v1/realtime?model=any"
    headers = AUTHORIZED if headers is None else headers
    caller = RealtimeCaller(await connect(url, additional_headers=headers, **more))
    try:
        await caller.event("session.created")
        yield caller
    finally:
        await caller.close()


async def test_mistakes_are_answered_and_the_call_goes_on(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        await caller.socket.send("{")
        await caller.socket.send(b"\0\1\2")
        await caller.send("response.dance", event_id="mine")
        await caller.send("input_audio_buffer.append", audio="?")
        await caller.send("response.create", event_id="too early")
        await caller.event("error", 5)
        codes = [(e["error"]["code"], e["error"]["event_id"]) for e in caller.of("error")]
        assert codes == [
            ("invalid_event", None),
            ("invalid_event", None),
            ("unknown_event", "mine"),
            ("invalid_event", None),
            ("nothing_to_answer", "too early"),
        ]
        assert "conversation.item.create" in caller.of("error")[-1]["error"]["message"]
        await caller.type("still there")
        done = await caller.event("response.done")
        assert done["response"]["status"] == "completed"
        assert gateway.logged_errors() == []


async def test_a_flood_of_mistakes_ends_the_call(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                await caller.socket.send("{")
        code, reason = await caller.wait_closed()
    assert code == 1008
    assert (reason or "").startswith("too_fast")


@pytest.mark.parametrize("manual", [False, True])
async def test_a_flood_of_audio_ends_the_call(gateway: RunningGateway, manual: bool) -> None:
    async with call(gateway) as caller:
        if manual:
            session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            await caller.send("session.update", session=session)
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await caller.append(bytes(46_000))
        code, reason = await caller.wait_closed()
    assert code == 1008
    assert (reason or "").startswith("too_fast")


async def test_sessions_count_as_others_do(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=1) as gateway:
        async with call(gateway):
            with pytest.raises(InvalidStatus) as refused:
                await gateway.open_socket()
        assert refused.value.response.status_code == 503
        await gateway.wait_sessions_closed()
        assert gateway.metric("voice_sessions_total", outcome="left") == 1


async def test_the_setting_switches_the_endpoint_off(make_gateway: MakeGateway) -> None:
    async with make_gateway(realtime=False) as gateway:
        with pytest.raises(InvalidStatus) as refused:
            async with call(gateway):
                pass
    assert refused.value.response.status_code == 404


async def test_a_browser_shows_a_ticket_as_subprotocol(gateway: RunningGateway) -> None:
    ticket = (await send_request(gateway, "POST", "/start", AUTHORIZED)).json["token"]
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(KEY_SUBPROTOCOL + ticket)]
    async with call(gateway, {}, subprotocols=offered) as caller:
        assert caller.socket.subprotocol == SUBPROTOCOL
    with pytest.raises(InvalidStatus) as refused:
        async with call(gateway, {}, subprotocols=offered):
            pass
    assert json.loads(refused.value.response.body or b"")["reason"] == "wrong_ticket"
    assert ticket.encode() not in gateway.raw_log()


async def test_an_access_token_as_subprotocol_is_refused(gateway: RunningGateway) -> None:
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(KEY_SUBPROTOCOL + TOKEN)]
    with pytest.raises(InvalidStatus) as refused:
        async with call(gateway, {}, subprotocols=offered):
            pass
    assert json.loads(refused.value.response.body or b"")["reason"] == "wrong_ticket"
    assert TOKEN.encode() not in gateway.raw_log()


async def test_the_beta_version_has_its_own_names(gateway: RunningGateway) -> None:
    async with call(gateway, AUTHORIZED | {"OpenAI-Beta": "realtime=v1"}) as caller:
        assert caller.events[0]["session"]["input_audio_format"] == "pcm16"
        await caller.type("hello")
        await caller.event("response.done")
        kinds = {event["type"] for event in caller.events}
        assert {"conversation.created", "conversation.item.created"} <= kinds
        assert {"response.audio.delta", "response.audio_transcript.done"} <= kinds
        assert not {kind for kind in kinds if "output_audio" in kind}


async def test_a_greeting_is_a_response(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(sections={"llm": {"greeting": "Good morning."}}) as gateway,
        call(gateway) as caller,
    ):
        caller.open_microphone()
        done = await caller.event("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Good morning."
        await caller.type("hello")
        assert (await caller.event("response.done", 2))["response"]["status"] == "completed"
        assert not caller.of("error")


async def test_without_transcripts_no_words_are_sent(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM("The secret is out.")
    async with (
        make_gateway(llm, sections={"journal": {"transcripts": False}}) as gateway,
        call(gateway) as caller,
    ):
        await caller.type("hello")
        await caller.event("response.done")
        assert caller.of("response.output_audio.delta")
        assert "secret" not in json.dumps(caller.events)


async def test_a_failed_reply_is_reported_and_excused(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM("Back again.")
    async with (
        make_gateway(llm, sections={"llm": {"recover_seconds": 0.5}}) as gateway,
        call(gateway) as caller,
    ):
        await gateway.llm_process.kill()
        await caller.type("Anybody there?")
        failed = await caller.event("response.done", 1)
        assert failed["response"]["status"] == "failed"
        excuse = await caller.event("response.done", 2)
        assert excuse["response"]["output"][0]["content"][0]["transcript"] == CANNOT_REPLY
        await gateway.llm_process.start()
        await caller.type("And now?")
        done = await caller.event("response.done", 3)
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Back again."


@pytest.mark.parametrize("half_duplex", [False, True])
async def test_a_cancelled_response_is_silent_at_once(
    make_gateway: MakeGateway, half_duplex: bool
) -> None:
    llm = ScriptedLLM(LONG_REPLY, "Fine.")
    sections = {"turn": {"half_duplex": half_duplex}}
    async with make_gateway(llm, sections=sections) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 5)
        await caller.send("response.cancel")
        await caller.event("response.done")
        assert caller.events[-1]["type"] == "response.done"
        await caller.type("something else")
        done = await caller.event("response.done", 2)
        after = caller.events[caller.events.index(caller.of("response.done")[0]) :]
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Fine."
        said = {e["response_id"] for e in after if e["type"] == "response.output_audio.delta"}
        assert said == {done["response"]["id"]}


async def test_a_listeners_sound_does_not_end_the_response(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM(LONG_REPLY)) as gateway, call(gateway) as caller:
        gateway.llm_engine.transcript = lambda _pcm: "uh huh"
        caller.open_microphone()
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 10)
        await caller.say(speak("Uh huh."))
        await gateway.wait_until(
            lambda: gateway.metric("voice_bot_pauses_total", outcome="continued")
        )
        before = len(caller.of("response.output_audio.delta"))
        await caller.event("response.output_audio.delta", before + 10)
        assert not caller.of("response.done")
        assert not caller.of("input_audio_buffer.speech_started")


async def test_instructions_of_a_client_count_only_if_the_operator_allows_them(
    make_gateway: MakeGateway,
) -> None:
    update = {"type": "realtime", "instructions": "You are a pirate."}
    for allowed in (False, True):
        llm = ScriptedLLM("Aye.")
        async with (
            make_gateway(llm, realtime_client_settings=allowed) as gateway,
            call(gateway) as caller,
        ):
            await caller.send("session.update", session=update)
            shown = (await caller.event("session.updated"))["session"]["instructions"]
            await caller.type("hello")
            await caller.event("response.done")
        assert ("pirate" in shown) is allowed
        assert ("pirate" in llm.conversation(0)[0][1]) is allowed


async def test_a_recording_sent_at_once_is_not_cut_in_silence(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        for _ in range(10):
            await caller.append(bytes(46_000))  # almost one second
        assert (await caller.event("error"))["error"]["code"] == "audio_dropped"
        await caller.type("hello")
        await caller.event("response.done")
        assert len(caller.of("error")) == 1


async def test_silence_is_answered_by_an_empty_response(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await caller.send("session.update", session=session)
        await caller.append(bytes(46_000))
        await caller.send("input_audio_buffer.commit")
        await caller.send("response.create")
        done = await caller.event("response.done")
        assert (done["response"]["status"], done["response"]["output"]) == ("completed", [])
        await caller.type("hello")
        await caller.event("response.done", 2)


async def test_a_question_in_two_parts(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await caller.send("session.update", session=session)
        for _ in range(2):
            await caller.append(bytes(range(256)) * 100)
            await caller.send("input_audio_buffer.commit")
        await caller.type("And a text.")
        await caller.event("response.done")
    (turns,) = gateway.llm.conversations
    assert [turn.utterance is not None for turn in turns if turn.role == "user"] == [True, True]
    assert "And a text." in [turn.text for turn in turns]
