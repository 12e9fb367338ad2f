"""A gateway with a scripted bot, for the client's tests."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self

import numpy as np
from pipecat.frames.protobufs import frames_pb2
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from tests.fakes.audio import tone

WRONG_TOKEN = b'{"reason": "wrong_token", "message": "The access token is missing or wrong."}'


class FakeGateway:
    """A gateway with a scripted bot, on a free loopback port while its context is entered.

    It encodes with Pipecat's generated schema, so its clients are tested against Pipecat's own wire
    format. Loud audio is speech, and a turn ends after `PAUSE_SECONDS` of silence. `bot` replies in
    a task that the next loud frame cancels, as in the real pipeline.
    """

    PAUSE_SECONDS = 0.2

    def __init__(
        self,
        bot: Callable[[FakeCaller, str], Coroutine[Any, Any, None]] | None = None,
        *,
        token: str = "",
        refusals: Sequence[tuple[int, dict[str, str], bytes]] = (),
        ready: bool = True,
        sends_turns: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.bot = bot or FakeCaller.reply
        self.token = token
        self.refusals = list(refusals)
        self.ready = ready
        self.sends_turns = sends_turns
        self.tls = tls
        self.attempts = 0
        self.authorizations: list[str | None] = []
        self.callers: list[FakeCaller] = []
        self.left = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve_caller, "127.0.0.1", 0, process_request=self._admit, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/ws"
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close(close_connections=True)
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        self.authorizations.append(request.headers.get("Authorization"))
        if self.refusals:
            status, headers, body = self.refusals.pop(0)
            return self._refusal(status, headers, body)
        if request.path != "/ws":
            return self._refusal(404, {}, b"")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._refusal(401, {}, WRONG_TOKEN)
        return None

    @staticmethod
    def _refusal(status: int, headers: dict[str, str], body: bytes) -> Response:
        return Response(status, "", Headers({**headers, "Content-Length": str(len(body))}), body)

    async def _serve_caller(self, connection: ServerConnection) -> None:
        caller = FakeCaller(self, connection)
        self.callers.append(caller)
        try:
            await caller.listen()
        except ConnectionClosed:
            pass
        finally:
            caller.hang_up()
            self.left.set()


class FakeCaller:
    """One connection to a FakeGateway, and what the scripted bot sends over it."""

    def __init__(self, gateway: FakeGateway, connection: ServerConnection) -> None:
        self._gateway = gateway
        self._connection = connection
        self._turn = 0
        self._reply: asyncio.Task[None] | None = None
        self._speaking = False
        self._silence_seconds = 0.0
        self.heard: list[tuple[int, int, int]] = []  # sample rate, channels, bytes of each frame
        self.messages: list[dict[str, Any]] = []

    async def listen(self) -> None:
        async for raw in self._connection:
            proto = frames_pb2.Frame.FromString(raw)
            if proto.WhichOneof("frame") == "audio":
                await self._hear(proto.audio)
            elif proto.WhichOneof("frame") == "message":
                await self._on_message(json.loads(proto.message.data))

    def hang_up(self) -> None:
        if self._reply is not None:
            self._reply.cancel()

    async def reply(self, user_text: str) -> None:
        """The default bot: half a second of tone and all messages that Pipecat sends with it."""
        await self.speak(f"Answer {self._turn}.", user_text=user_text)

    async def speak(
        self, text: str, seconds: float = 0.5, user_text: str = "", pace: float = 1.0
    ) -> None:
        """Send a whole turn of the bot, with audio at the pace of real time; with 0, at once."""
        await self.message("bot-llm-started")
        await self.message("bot-llm-text", {"text": text})
        await self.message("bot-llm-stopped")
        await self.message("bot-started-speaking")
        await self.audio(tone(seconds), pace=pace)
        await self.message("bot-tts-text", {"text": text})
        await self.message("bot-stopped-speaking")
        await self.send_turn(user_text=user_text, reply_text=text, interrupted=False)

    async def audio(self, pcm: bytes, chunk_seconds: float = 0.04, pace: float = 1.0) -> None:
        """Send 24 kHz PCM at the pace of real time; with a `pace` of 0, at once."""
        size = 2 * round(OUTPUT_SAMPLE_RATE * chunk_seconds)
        for start in range(0, len(pcm), size):
            proto = frames_pb2.Frame()
            proto.audio.audio = pcm[start : start + size]
            proto.audio.sample_rate, proto.audio.num_channels = OUTPUT_SAMPLE_RATE, 1
            await self.raw(proto.SerializeToString())
            await asyncio.sleep(pace * chunk_seconds)

    async def message(self, kind: str, data: object = None) -> None:
        body = {"label": "rtvi-ai", "type": kind, **({"data": data} if data is not None else {})}
        proto = frames_pb2.Frame()
        proto.message.data = json.dumps(body)
        await self.raw(proto.SerializeToString())

    async def send_turn(self, **fields: object) -> None:
        if self._gateway.sends_turns:
            stages = {"llm": 0.01, "tts": 0.02}
            data = {"kind": "turn", "turn": self._turn, "stages": stages, **fields}
            await self.message("server-message", data)

    async def raw(self, data: bytes | str) -> None:
        await self._connection.send(data)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def die(self) -> None:
        """Drop the connection without a close frame."""
        self._connection.transport.abort()

    async def _hear(self, audio: Any) -> None:
        self.heard.append((audio.sample_rate, audio.num_channels, len(audio.audio)))
        loud = bool(np.abs(np.frombuffer(audio.audio, "<i2").astype(int)).max(initial=0) > 500)
        self._silence_seconds = 0.0 if loud else self._silence_seconds + 0.04
        if loud and not self._speaking:
            self._speaking = True
            await self._interrupt()
        elif self._speaking and self._silence_seconds >= self._gateway.PAUSE_SECONDS:
            self._speaking = False
            await self.message("user-stopped-speaking")
            await self._answer(f"Question {self._turn + 1}.", "transcription")

    async def _interrupt(self) -> None:
        """Start a turn of the user. Pipecat sends an interruption even if the bot was silent."""
        was_replying = self._reply is not None and not self._reply.done()
        if self._reply is not None:
            self._reply.cancel()
        proto = frames_pb2.Frame()
        proto.interruption.SetInParent()
        await self.raw(proto.SerializeToString())
        await self.message("user-started-speaking")
        await self.message("bot-interrupted")
        if was_replying:
            await self.send_turn(interrupted=True, user_text=f"Question {self._turn}.")

    async def _on_message(self, body: dict[str, Any]) -> None:
        self.messages.append(body)
        if body["type"] == "client-ready" and self._gateway.ready:
            await self.message("bot-ready", {"version": "2.2.0"})
        elif body["type"] == "send-text":
            await self._answer(body["data"]["content"], "chat")

    async def _answer(self, user_text: str, kind: str) -> None:
        self._turn += 1
        data = {"text": user_text, "input_type": kind, "timestamp": "", "final": True}
        await self.message("user-input", data)
        if kind == "transcription":
            await self.message("user-transcription", {**data, "user_id": ""})
        self._reply = asyncio.create_task(self._gateway.bot(self, user_text))
