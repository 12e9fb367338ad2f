"""The `openai` package for Python talks to the gateway: /v1/realtime serves a stock client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from appliance.link.engine import ToolCall
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.realtime.teller import Teller
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.realtime.caller import Caller, pieces, to_24_khz

openai = pytest.importorskip("openai")
realtime_types = pytest.importorskip("openai.types.realtime")
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(realtime_types.RealtimeServerEvent)


class SdkCaller(Caller):
    """A connection of the SDK."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        super().__init__()

    async def _receive(self) -> None:
        with contextlib.suppress(Exception):
            async for event in self.connection:
                SERVER_EVENT.validate_python(event.to_dict())  # the SDK itself checks nothing
                self._received(event)

    async def append(self, pcm: bytes) -> None:
        audio = base64.b64encode(pcm).decode()
        await self.connection.input_audio_buffer.append(audio=audio)

    async def type(self, text: str) -> None:
        await self.add(text)
        await self.connection.response.create()

    async def add(self, text: str) -> None:
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
        await self.connection.conversation.item.create(item=item)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


@contextlib.asynccontextmanager
async def call(gateway: RunningGateway, **more: Any) -> AsyncIterator[SdkCaller]:
    """Connect with the SDK as its documentation says, apart from the address."""
    client = openai.AsyncOpenAI(api_key=TOKEN, base_url=f"http://{gateway.address}/v1")
    async with client.realtime.connect(model="gpt-realtime", **more) as connection:
        caller = SdkCaller(connection)
        try:
            yield caller
        finally:
            await caller.close()


async def test_a_typed_question_is_answered_in_speech_and_text(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        assert (await caller.event("session.created")).session.model == "gpt-realtime"
        await caller.type("the weather")
        done = await caller.event("response.done")
        assert done.response.status == "completed"
        assert done.response.output[0].content[0].transcript == "You wrote the weather."
        transcript = "".join(e.delta for e in caller.of("response.output_audio_transcript.delta"))
        assert transcript == "You wrote the weather."
        assert len(caller.of("response.output_audio.delta")) > 3
        shown = [kind for kind in dict.fromkeys(caller.kinds) if "delta" not in kind]
        assert shown == [
            "session.created",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]


async def test_a_spoken_question_is_answered(gateway: RunningGateway, speak: Speak) -> None:
    async with call(gateway) as caller:
        await caller.event("session.created")
        caller.open_microphone()
        await caller.say(speak("What is the capital of France?"))
        started = await caller.event("input_audio_buffer.speech_started")
        committed = await caller.event("input_audio_buffer.committed")
        assert started.item_id == committed.item_id
        await caller.event("response.created")
        kinds = caller.kinds
        assert kinds.index("input_audio_buffer.committed") < kinds.index("response.created")
        words = await caller.event("conversation.item.input_audio_transcription.completed")
        assert words.item_id == committed.item_id
        assert words.transcript.endswith("milliseconds")
        done = await caller.event("response.done")
        assert done.response.status == "completed"
        assert "heard" in done.response.output[0].content[0].transcript


async def test_a_wrong_key_is_refused_with_words(gateway: RunningGateway) -> None:
    client = openai.AsyncOpenAI(api_key="wrong", base_url=f"http://{gateway.address}/v1")
    with pytest.raises(InvalidStatus) as refused:
        await client.realtime.connect(model="gpt-realtime").enter()
    assert refused.value.response.status_code == 401
    assert b'"wrong_token"' in (refused.value.response.body or b"")


async def test_the_voice_interrupts_the_bot(make_gateway: MakeGateway, speak: Speak) -> None:
    reply = "This is a long story about a king. " * 12
    async with make_gateway(ScriptedLLM(reply)) as gateway, call(gateway) as caller:
        await caller.event("session.created")
        caller.open_microphone()
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 10)
        await caller.say(speak("No, stop it, please tell me about the weather instead."))
        done = await caller.event("response.done")
        assert done.response.status == "cancelled"
        assert done.response.status_details.reason == "turn_detected"
        heard = done.response.output[0].content[0].transcript
        assert reply.startswith(heard)
        assert len(heard) < len(reply)
        assert caller.of("input_audio_buffer.speech_started")


async def test_a_response_can_be_cancelled(make_gateway: MakeGateway) -> None:
    reply = "This is a long story about a king. " * 12
    async with make_gateway(ScriptedLLM(reply, "Fine.")) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 5)
        await caller.connection.response.cancel()
        done = await caller.event("response.done")
        assert done.response.status_details.reason == "client_cancelled"
        await caller.type("something else")
        done = await caller.event("response.done", 2)
        assert done.response.status == "completed"
        assert done.response.output[0].content[0].transcript == "Fine."
        assert not caller.of("error")


@pytest.mark.parametrize("seconds", [0, 0.05])
async def test_a_response_can_be_cancelled_at_once(
    make_gateway: MakeGateway, seconds: float
) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await asyncio.sleep(seconds)
        await caller.connection.response.cancel()
        done = await caller.event("response.done")
        assert done.response.status_details.reason == "client_cancelled"
        await caller.type("something else")
        done = await caller.event("response.done", 2)
        assert done.response.output[0].content[0].transcript == "Fine."
        assert len(caller.of("response.created")) == 2
        assert not caller.of("error")


async def test_a_question_that_waits_is_answered_after_a_cancel(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 5)
        await caller.add("something else")
        await caller.connection.response.cancel()
        await caller.connection.response.create()
        done = await caller.event("response.done", 2)
        assert done.response.output[0].content[0].transcript == "Fine."
        assert len(caller.of("response.created")) == 2
        assert not caller.of("error")


async def test_a_client_commits_its_own_questions(gateway: RunningGateway, speak: Speak) -> None:
    pcm = to_24_khz(speak("What is the capital of France?"))
    async with call(gateway) as caller:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await caller.connection.session.update(session=session)
        updated = await caller.event("session.updated")
        assert updated.session.audio.input.turn_detection is None
        for piece in pieces(pcm):  # as fast as the network takes it
            await caller.append(piece)
        await caller.connection.input_audio_buffer.commit()
        item = (await caller.event("conversation.item.added")).item
        assert not caller.of("response.created")
        await caller.connection.response.create()
        done = await caller.event("response.done")
        milliseconds = round(len(pcm) / 48)
        transcript = done.response.output[0].content[0].transcript
        assert abs(int(transcript.split()[3]) - milliseconds) < 40
        await caller.event("response.created")
        kinds = caller.kinds
        assert kinds.index("input_audio_buffer.committed") < kinds.index("response.created")
        words = await caller.event("conversation.item.input_audio_transcription.completed")
        assert words.item_id == item.id
        assert not caller.of("input_audio_buffer.speech_started")
        assert not caller.of("error")


async def test_a_function_of_the_client_is_called(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(ToolCall("open_door", '{"number": 1}'), "It is open.")
    async with (
        make_gateway(llm, realtime_client_settings=True) as gateway,
        call(gateway) as caller,
    ):
        parameters = {"type": "object", "properties": {"number": {"type": "integer"}}}
        tool = {"type": "function", "name": "open_door", "parameters": parameters}
        session = {
            "type": "realtime",
            "tools": [tool],
            "tool_choice": "auto",
            "audio": {"output": {"voice": "marin"}},
        }
        await caller.connection.session.update(session=session)
        updated = (await caller.event("session.updated")).session
        assert [tool.name for tool in updated.tools] == ["open_door"]
        assert updated.audio.output.voice == "af_heart"
        await caller.type("Open door one.")
        (item,) = (await caller.event("response.done")).response.output
        assert (item.type, item.name) == ("function_call", "open_door")
        assert item.arguments == '{"number": 1}'
        shown = list(dict.fromkeys(caller.kinds[caller.kinds.index("response.created") :]))
        assert shown == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        answer = {"type": "function_call_output", "call_id": item.call_id, "output": "open"}
        await caller.connection.conversation.item.create(item=answer)
        await caller.connection.response.create()
        done = await caller.event("response.done", 2)
        assert done.response.output[0].content[0].transcript == "It is open."
        assert not caller.of("error")
    assert llm.conversation(1)[-1] == ("tool", "open", False)
