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

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from appliance.gateway.generation.history import INTERRUPTED
from appliance.gateway.generation.tool_result import TIMED_OUT
from appliance.gateway.generation.turn_runner import CANNOT_REPLY
from appliance.gateway.http.gatekeeper import KEY_SUBPROTOCOL, SUBPROTOCOL
from appliance.link.engine import ToolCall
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.requests import send as send_request
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.simulated_client import TIMEOUT_SECONDS

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


async def test_a_reply_that_cannot_be_spoken_is_reported_as_failed(
    make_gateway: MakeGateway,
) -> None:
    async with (
        make_gateway(
            ScriptedLLM("It is Paris."), sections={"llm": {"recover_seconds": 0.5}}
        ) as gateway,
        call(gateway) as caller,
    ):
        await gateway.tts_process.kill()
        await caller.type("Anybody there?")
        failed = await caller.event("response.done", 1)
        assert failed["response"]["status"] == "failed"


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


async def test_two_committed_parts_and_a_text_are_one_question(gateway: RunningGateway) -> None:
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


DOOR = {
    "type": "function",
    "name": "open_door",
    "description": "Opens a door.",
    "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
}
OPEN_DOOR = ToolCall("open_door", '{"number": 1}')
ALLOWED: dict[str, Any] = {"realtime_client_settings": True}


def output(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


async def offer(caller: RealtimeCaller, *tools: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Offer tools, and return the session that the gateway shows."""
    session = {"type": "realtime", "tools": list(tools), **more}
    await caller.send("session.update", session=session)
    return dict((await caller.event("session.updated"))["session"])


async def call_id(caller: RealtimeCaller, number: int = 1) -> str:
    """Wait until the response of a call is done, and return the call's id."""
    call = await caller.event("response.function_call_arguments.done", number)
    await caller.wait_until(
        lambda: any(
            item.get("call_id") == call["call_id"]
            for done in caller.of("response.done")
            for item in done["response"]["output"]
        )
    )
    return str(call["call_id"])


def shown(caller: RealtimeCaller) -> dict[str, Any]:
    """Return the event that shows the session with its tools."""
    return caller.of("session.updated")[-1]


def transcript(done: dict[str, Any]) -> str:
    return str(done["response"]["output"][0]["content"][0]["transcript"])


async def test_speech_before_a_call_is_part_of_its_response(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(("Let me see. One moment.", OPEN_DOOR), "It is open.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        await offer(caller, DOOR)
        await caller.type("Open the door.")
        name = await call_id(caller)
        message, function = caller.of("response.done")[0]["response"]["output"]
        assert message["content"][0]["transcript"] == "Let me see. One moment."
        assert function["arguments"] == OPEN_DOOR.arguments
        last_audio = max(
            number
            for number, event in enumerate(caller.events)
            if event["type"] == "response.output_audio.delta"
        )
        called = [event["type"] for event in caller.events].index(
            "response.function_call_arguments.delta"
        )
        assert last_audio < called
        await caller.send("conversation.item.create", item=output(name, "open"))
        await caller.send("response.create")
        assert transcript(await caller.event("response.done", 2)) == "It is open."
        assert gateway.metric("voice_tool_calls_total", outcome="done") == 1
        assert not caller.of("error")
        assert gateway.logged_errors() == []
    assert llm.conversation(1)[-2:] == [
        ("assistant", '{"name": "open_door", "parameters": {"number": 1}}', False),
        ("tool", "open", False),
    ]


async def test_a_call_of_a_discarded_reply_is_not_shown(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    """The model calls the tool at a pause, in private; then the user goes on."""
    llm = ScriptedLLM(OPEN_DOOR, "The whole reply.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        await offer(caller, DOOR)
        caller.open_microphone()
        await caller.say(np.trim_zeros(np.frombuffer(speak("Tell me about the"), "<i2")).tobytes())
        await gateway.wait_until(lambda: llm.conversations)
        await caller.say(speak("river that flows through Paris?"))
        assert transcript(await caller.event("response.done")) == "The whole reply."
        assert len(llm.conversations) >= 2
        assert "open_door" not in str(caller.events[caller.events.index(shown(caller)) + 1 :])
        assert gateway.log_lines("tool called") == []


async def test_a_call_of_a_reply_that_is_taken_over_is_shown_once(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(OPEN_DOOR, "It is open.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        await offer(caller, DOOR)
        caller.open_microphone()
        await caller.say(speak("Please open the door."))
        name = await call_id(caller)
        kinds = [event["type"] for event in caller.events]
        committed = kinds.index("input_audio_buffer.committed")
        assert committed < kinds.index("response.function_call_arguments.delta")
        await caller.send("conversation.item.create", item=output(name, "open"))
        await caller.send("response.create")
        assert transcript(await caller.event("response.done", 2)) == "It is open."
        assert len(caller.of("response.function_call_arguments.done")) == 1
        assert gateway.metric("voice_speculations_total", outcome="taken") == 1


async def test_a_client_that_does_not_answer_a_call_is_not_waited_for(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(OPEN_DOOR, "That did not work.")
    sections = {"llm": {"client_tool_seconds": 0.3}}
    async with (
        make_gateway(llm, sections=sections, **ALLOWED) as gateway,
        call(gateway) as caller,
    ):
        await offer(caller, DOOR)
        await caller.type("Open the door.")
        name = await call_id(caller)
        assert transcript(await caller.event("response.done", 2)) == "That did not work."
        await caller.send("conversation.item.create", item=output(name, "open"))
        error = (await caller.event("error"))["error"]
        assert error["code"] == "function_call_not_found"
        assert gateway.metric("voice_tool_calls_total", outcome="too_slow") == 1
        assert gateway.logged_errors() == []
    assert llm.conversation(1)[-1] == ("tool", TIMED_OUT, False)


async def test_an_output_without_response_create_gets_no_reply(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(OPEN_DOOR, "It is open.", "You are welcome.")
    sections = {"llm": {"client_tool_seconds": 0.3}}
    async with (
        make_gateway(llm, sections=sections, **ALLOWED) as gateway,
        call(gateway) as caller,
    ):
        await offer(caller, DOOR)
        await caller.type("Open the door.")
        name = await call_id(caller)
        await caller.send("conversation.item.create", item=output(name, "open"))
        await gateway.wait_until(lambda: gateway.log_lines("turn"))
        assert len(llm.conversations) == 1
        await caller.send("response.create")  # the client has thought better of it
        assert transcript(await caller.event("response.done", 2)) == "It is open."
        await caller.type("Thank you.")
        assert transcript(await caller.event("response.done", 3)) == "You are welcome."
        assert not caller.of("error")


async def test_a_typed_question_does_not_wait_for_the_output(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(("One moment.", OPEN_DOOR), "It is ten.", "It is open.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        await offer(caller, DOOR)
        await caller.type("Open the door.")
        name = await call_id(caller)
        await caller.type("What time is it?")
        assert transcript(await caller.event("response.done", 2)) == "It is ten."
        await caller.send("conversation.item.create", item=output(name, "open"))
        await caller.type("Is it open?")
        assert transcript(await caller.event("response.done", 3)) == "It is open."
        assert not caller.of("error")
        assert gateway.logged_errors() == []
    before, after = llm.conversation(1), llm.conversation(2)
    assert before[-3:] == [
        ("tool", INTERRUPTED, False),
        ("assistant", "One moment.", False),
        ("user", "What time is it?", False),
    ]
    assert after[: len(before) - 3] == before[:-3]
    assert after[len(before) - 3] == ("tool", "open", False)


async def test_the_voice_interrupts_a_reply_that_waits_for_a_call(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(OPEN_DOOR, "All right.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        gateway.llm_engine.transcript = lambda _pcm: "stop it please"
        await offer(caller, DOOR)
        caller.open_microphone()
        await caller.type("Open the door.")
        name = await call_id(caller)
        await caller.say(speak("No, stop it, please tell me about the weather instead."))
        await caller.event("input_audio_buffer.speech_started")
        await caller.send("conversation.item.create", item=output(name, "open"))
        await caller.wait_until(
            lambda: any(
                done["response"]["output"] and done["response"]["output"][0]["type"] == "message"
                for done in caller.of("response.done")
            )
        )
        assert not caller.of("error")
        assert gateway.logged_errors() == []


async def test_a_call_that_waits_ends_with_the_session(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM(OPEN_DOOR), **ALLOWED) as gateway:
        async with call(gateway) as caller:
            await offer(caller, DOOR)
            await caller.type("Open the door.")
            await call_id(caller)
        await gateway.wait_sessions_closed()
        assert gateway.logged_errors() == []


async def test_tools_of_a_client_need_the_operators_leave(make_gateway: MakeGateway) -> None:
    for settings, transcripts in (({}, True), (ALLOWED, False)):
        llm = ScriptedLLM(OPEN_DOOR)
        sections = {"journal": {"transcripts": transcripts}}
        async with (
            make_gateway(llm, sections=sections, **settings) as gateway,
            call(gateway) as caller,
        ):
            assert (await offer(caller, DOOR))["tools"] == []
            await caller.type("Open the door.")
            await caller.event("response.done")
            assert not caller.of("response.function_call_arguments.done")
            assert gateway.metric("voice_tool_calls_total", outcome="malformed") == 1
            names = {tool.name for tool in gateway.llm_engine.offered[0]}
            assert names == {"current_time", "end_call"}


async def test_a_tool_of_the_appliance_cannot_be_replaced(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(ToolCall("current_time"), "It is noon.")
    async with make_gateway(llm, **ALLOWED) as gateway, call(gateway) as caller:
        tools = [DOOR, DOOR | {"name": "current_time"}]
        await caller.send("session.update", session={"type": "realtime", "tools": tools})
        error = (await caller.event("error"))["error"]
        assert (error["code"], error["param"]) == ("invalid_event", "session.tools[1].name")
        await caller.type("What time is it?")
        assert transcript(await caller.event("response.done")) == "It is noon."
        assert not caller.of("response.function_call_arguments.done")
        assert "open_door" not in str(gateway.llm_engine.offered)


async def test_a_client_chooses_among_the_voices_of_the_appliance(
    make_gateway: MakeGateway,
) -> None:
    for wanted, allowed, spoken in (
        ("am_adam", True, "am_adam"),
        ("alloy", True, "af_heart"),
        ("am_adam", False, "af_heart"),
    ):
        async with (
            make_gateway(ScriptedLLM("Hello."), realtime_client_settings=allowed) as gateway,
            call(gateway) as caller,
        ):
            gateway.tts_engine.voices = ("af_heart", "am_adam")
            session = {"type": "realtime", "audio": {"output": {"voice": wanted}}}
            await caller.send("session.update", session=session)
            shown = (await caller.event("session.updated"))["session"]
            assert shown["audio"]["output"]["voice"] == spoken
            await caller.type("hello")
            await caller.event("response.done")
            assert gateway.tts_engine.spoken_by[-1] == spoken
            assert not caller.of("error")
