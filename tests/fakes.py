"""Fakes that obey the same interface tests as the real things (tests/link/contract.py)."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from pipecat.frames.protobufs import frames_pb2
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from appliance.errors import UnknownVoice
from appliance.link.engine import (
    OUTPUT_SAMPLE_RATE,
    GenerateRequest,
    Piece,
    Result,
    Tool,
    ToolCall,
    Turn,
)


def echo(conversation: Sequence[Turn], heard: dict[int, bytes]) -> str:
    """Says how many turns there were and how long the last utterance was."""
    last = conversation[-1]
    if last.utterance is None:
        return f"You wrote {last.text}."
    return f"Turn {len(conversation)}, heard {len(heard[last.utterance]) // 32} milliseconds."


class InstantSpeechEngine:
    """Answers at once, word by word, with what `reply` makes of the conversation, or calls a tool.

    `offered` has the tools of each request, `warmed` the conversations it was to get ready for.
    """

    name = "llm"

    def __init__(
        self,
        reply: Callable[[Sequence[Turn], dict[int, bytes]], str | ToolCall] = echo,
        pause_seconds: float = 0,
    ) -> None:
        self.reply = reply
        self.pause_seconds = pause_seconds
        self.sessions: list[InstantSpeechSession] = []
        self.offered: list[list[Tool]] = []
        self.warmed: list[list[Turn]] = []
        self.death = asyncio.Event()
        self.stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    async def died(self) -> None:
        await self.death.wait()

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantSpeechSession:
        session = InstantSpeechSession(self)
        self.sessions.append(session)
        return session


class InstantSpeechSession:
    """See InstantSpeechEngine."""

    def __init__(self, engine: InstantSpeechEngine) -> None:
        self._engine = engine
        self.heard: dict[int, bytes] = {}
        self.running = 0
        self.decoded = 0
        self.closed = False

    def begin(self, utterance: int) -> None:
        self.heard[utterance] = b""

    def hear(self, utterance: int, pcm: bytes) -> None:
        self.heard[utterance] += pcm

    def end(self, utterance: int) -> None:
        pass

    def forget(self, utterance: int) -> None:
        del self.heard[utterance]

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Piece, None]:
        conversation, max_tokens = request.conversation, request.max_tokens
        last = conversation[-1].utterance
        if last is not None and not any(self.heard[last]):
            yield Result("nothing_heard")
            return
        self.running += 1
        self._engine.offered.append(list(request.tools))
        try:
            said = self._engine.reply(conversation, self.heard)
            if isinstance(said, ToolCall):
                yield said
                yield Result("called", {"decode_tokens": 1.0})
                return
            words = said.split(" ")
            for number, word in enumerate(words[:max_tokens]):
                await asyncio.sleep(self._engine.pause_seconds)
                self.decoded += 1
                yield word if number == 0 else " " + word
            yield Result("stop" if len(words) <= max_tokens else "length", {"decode_tokens": 1.0})
        finally:
            self.running -= 1

    async def transcribe(self, utterance: int) -> str:
        return f"{len(self.heard[utterance]) // 32} milliseconds"

    async def warm(self, conversation: tuple[Turn, ...], tools: tuple[Tool, ...] = ()) -> None:
        self._engine.warmed.append(list(conversation))

    async def close(self) -> None:
        self.closed = True
        self.heard.clear()


class InstantVoiceEngine:
    """Speaks every phrase at once, as a 440 Hz tone of 60 ms a character."""

    name = "tts"
    voices = ("af_heart",)

    def __init__(self) -> None:
        self.phrases: list[str] = []
        self.running = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def died(self) -> None:
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantVoiceSession:
        return InstantVoiceSession(self)


class InstantVoiceSession:
    """See InstantVoiceEngine."""

    def __init__(self, engine: InstantVoiceEngine) -> None:
        self._engine = engine

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        if voice and voice not in self._engine.voices:
            raise UnknownVoice(voice=voice, known=", ".join(self._engine.voices))
        if not any(character.isalnum() for character in text):
            return
        self._engine.phrases.append(text)
        self._engine.running += 1
        try:
            chunk = tone(0.2)
            for _ in range(max(1, round(len(text) * 0.06 / 0.2))):
                await asyncio.sleep(0)
                yield chunk
        finally:
            self._engine.running -= 1

    async def close(self) -> None:
        pass


def tone(seconds: float, rate: int = OUTPUT_SAMPLE_RATE, hertz: float = 440.0) -> bytes:
    """int16 PCM of a sine at about -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


class FakeGateway:
    """A gateway with a scripted bot, on a free loopback port: `async with FakeGateway() as it:`.

    It speaks with Pipecat's own generated schema, so a client that it understands speaks Pipecat's
    wire. A turn is what is loud until `PAUSE_SECONDS` of silence; `bot` answers it, in a task that
    the next loud frame cancels, as the real pipeline does.
    """

    PAUSE_SECONDS = 0.2

    def __init__(
        self,
        bot: Callable[[FakeCaller, str], Coroutine[Any, Any, None]] | None = None,
        *,
        token: str = "",
        refusals: Sequence[tuple[int, dict[str, str], bytes]] = (),
        ready: bool = True,
        tells_turns: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.bot = bot or FakeCaller.reply
        self.token = token
        self.refusals = list(refusals)
        self.ready = ready
        self.tells_turns = tells_turns
        self.tls = tls
        self.attempts = 0
        self.authorizations: list[str | None] = []
        self.callers: list[FakeCaller] = []
        self.left = asyncio.Event()

    async def __aenter__(self) -> FakeGateway:
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
            return self._refusal(401, {}, b'{"reason": "wrong_token"}')
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
    """One call at a FakeGateway; what a scripted bot acts with."""

    def __init__(self, gateway: FakeGateway, connection: ServerConnection) -> None:
        self._gateway = gateway
        self._connection = connection
        self._turn = 0
        self._reply: asyncio.Task[None] | None = None
        self._speaking = False
        self._silence_seconds = 0.0
        self.heard: list[tuple[int, int, int]] = []  # sample rate, channels, bytes of each frame
        self.messages: list[dict[str, Any]] = []
        self.chunks_sent = 0

    async def listen(self) -> None:
        async for raw in self._connection:
            proto = frames_pb2.Frame.FromString(raw)
            if proto.WhichOneof("frame") == "audio":
                await self._hear(proto.audio)
            elif proto.WhichOneof("frame") == "message":
                await self._told(json.loads(proto.message.data))

    def hang_up(self) -> None:
        if self._reply is not None:
            self._reply.cancel()

    async def reply(self, user_text: str) -> None:
        """The default bot: half a second of tone, with everything that Pipecat sends around it."""
        await self.speak(f"Answer {self._turn}.", user_text=user_text)

    async def speak(self, text: str, seconds: float = 0.5, user_text: str = "") -> None:
        """A whole turn of the bot, its audio paced just in time."""
        await self.message("bot-llm-started")
        await self.message("bot-llm-text", {"text": text})
        await self.message("bot-llm-stopped")
        await self.message("bot-started-speaking")
        await self.audio(tone(seconds))
        await self.message("bot-tts-text", {"text": text})
        await self.message("bot-stopped-speaking")
        await self.tell_turn(user_text=user_text, reply_text=text, interrupted=False)

    async def audio(self, pcm: bytes, chunk_seconds: float = 0.04) -> None:
        """Sends 24 kHz PCM at the pace of real time."""
        size = 2 * round(OUTPUT_SAMPLE_RATE * chunk_seconds)
        for start in range(0, len(pcm), size):
            proto = frames_pb2.Frame()
            proto.audio.audio = pcm[start : start + size]
            proto.audio.sample_rate, proto.audio.num_channels = OUTPUT_SAMPLE_RATE, 1
            await self.raw(proto.SerializeToString())
            self.chunks_sent += 1
            await asyncio.sleep(chunk_seconds)

    async def message(self, kind: str, data: object = None) -> None:
        body = {"label": "rtvi-ai", "type": kind, **({"data": data} if data is not None else {})}
        proto = frames_pb2.Frame()
        proto.message.data = json.dumps(body)
        await self.raw(proto.SerializeToString())

    async def tell_turn(self, **fields: object) -> None:
        if self._gateway.tells_turns:
            stages = {"llm": 0.01, "tts": 0.02}
            data = {"kind": "turn", "turn": self._turn, "stages": stages, **fields}
            await self.message("server-message", data)

    async def raw(self, data: bytes | str) -> None:
        await self._connection.send(data)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def die(self) -> None:
        """The connection is gone without a word."""
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
        """A turn of the user begins. Pipecat announces each as an interruption, barge-in or not."""
        was_replying = self._reply is not None and not self._reply.done()
        if self._reply is not None:
            self._reply.cancel()
        proto = frames_pb2.Frame()
        proto.interruption.SetInParent()
        await self.raw(proto.SerializeToString())
        await self.message("user-started-speaking")
        await self.message("bot-interrupted")
        if was_replying:
            await self.tell_turn(interrupted=True, user_text=f"Question {self._turn}.")

    async def _told(self, body: dict[str, Any]) -> None:
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


class FakeSound:
    """Stands in for the `sounddevice` module: one microphone and two loudspeakers in real time.

    What is put into `said` is what the microphone hears; `played` is what came out.
    """

    class PortAudioError(Exception):
        pass

    def __init__(self, rates: Sequence[int] = (16_000, 24_000)) -> None:
        self.rates = rates
        self.said = bytearray()
        self.played = bytearray()
        self.streams: list[FakeStream] = []
        self.broken = False
        self.devices = [
            {"name": "Desk Microphone", "max_input_channels": 1, "max_output_channels": 0},
            {"name": "Desk Speaker", "max_input_channels": 0, "max_output_channels": 2},
            {"name": "Headphones", "max_input_channels": 0, "max_output_channels": 2},
        ]
        for device in self.devices:
            device["default_samplerate"] = 48_000.0

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        return self.devices if kind is None else self.devices[device or 0]

    def check_input_settings(self, *, samplerate: int, **_options: object) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    check_output_settings = check_input_settings

    def RawInputStream(self, **options: Any) -> FakeStream:  # noqa: N802, sounddevice's name
        return FakeStream(self, self._listen, **options)

    def RawOutputStream(self, **options: Any) -> FakeStream:  # noqa: N802, sounddevice's name
        return FakeStream(self, self._play, **options)

    def _listen(self, stream: FakeStream, frames: int) -> None:
        heard = bytes(self.said[: 2 * frames])
        del self.said[: len(heard)]
        stream.callback(heard + bytes(2 * frames - len(heard)), frames, None, None)

    def _play(self, stream: FakeStream, frames: int) -> None:
        out = bytearray(2 * frames)
        when = SimpleNamespace(currentTime=5.0, outputBufferDacTime=5.02)
        stream.callback(memoryview(out), frames, when, None)
        self.played += out


class FakeStream:
    """A PortAudio stream: calls back from a thread of its own, once per block."""

    def __init__(
        self,
        sound: FakeSound,
        step: Callable[[FakeStream, int], None],
        *,
        samplerate: int,
        callback: Callable[..., None],
        device: int | None = None,
        blocksize: int = 0,
        **_options: object,
    ) -> None:
        if sound.broken:
            raise sound.PortAudioError("Device unavailable")
        self.samplerate = samplerate
        self.device = device
        self.callback = callback
        self._blocksize = blocksize or samplerate // 100
        self._step = step
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        sound.streams.append(self)

    def start(self) -> None:
        self._running.set()
        self._thread.start()

    def close(self) -> None:
        self._running.clear()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def closed(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._running.is_set():
            self._step(self, self._blocksize)
            time.sleep(self._blocksize / self.samplerate)


@dataclass(frozen=True)
class NvmlAnswers:
    """What NVML says of one card. Composed from published `nvidia-smi` output and data sheets:
    no such card was at hand. `parts`: its MIG instances; `lost`: it fell off the bus."""

    name: str
    uuid: str
    total_mib: int
    reserved_mib: int
    used_mib: int
    capability: tuple[int, int]
    memory_mhz: int
    bus_bits: int
    parts: tuple[NvmlAnswers, ...] = ()
    divided: bool | None = None  # None: a card that knows no MIG
    lost: bool = False
    sm_mhz: int = 2040
    celsius: int = 55
    milliwatts: int = 71_500
    busy_percent: int = 37


NVML_L4 = NvmlAnswers("NVIDIA L4", "GPU-14", 23034, 455, 2, (8, 9), 6251, 192)
NVML_A10 = NvmlAnswers("NVIDIA A10", "GPU-a10", 23028, 316, 2, (8, 6), 6251, 384)
NVML_H100 = NvmlAnswers(
    "NVIDIA H100 80GB HBM3", "GPU-h100", 81559, 480, 3, (9, 0), 2619, 5120, divided=False
)
NVML_MIG = NvmlAnswers(
    "NVIDIA H100 80GB HBM3", "GPU-mig", 81559, 480, 100, (9, 0), 2619, 5120, divided=True,
    parts=(
        NvmlAnswers("NVIDIA H100 80GB HBM3 MIG 2g.20gb", "MIG-1", 19968, 0, 25, (9, 0), 0, 0),
        NvmlAnswers("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "MIG-2", 9856, 0, 12, (9, 0), 0, 0),
    ),
)  # fmt: skip


class FakeNvml:
    """The module pynvml (nvidia-ml-py 13): its names and exceptions, the answers given."""

    nvmlMemory_v2 = 0x02000028  # noqa: N815, pynvml's name
    nvmlEventTypeXidCriticalError = 8  # noqa: N815, pynvml's name

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, *cards: NvmlAnswers, broken: str = "", old: bool = False) -> None:
        self._cards = cards
        self._broken = broken
        self._old = old
        self.open = 0
        self.xids: dict[str, list[int]] = {}  # by UUID: what the driver has to report
        self.event_sets: list[list[str]] = []  # the UUIDs of each

    def change(self, *cards: NvmlAnswers, broken: str = "") -> None:
        """From now on these are the cards, or the driver is broken."""
        self._cards, self._broken = cards, broken

    def nvmlInit(self) -> None:  # noqa: N802
        if self._broken:
            raise self.NVMLError(self._broken)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        assert self.open, "NVML was asked before nvmlInit"
        if self._broken:
            raise self.NVMLError(self._broken)
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> NvmlAnswers:  # noqa: N802
        if self._cards[index].lost:
            raise self.NVMLError("GPU is lost")
        return self._cards[index]

    def nvmlDeviceGetName(self, card: NvmlAnswers) -> str:  # noqa: N802
        return card.name

    def nvmlDeviceGetUUID(self, card: NvmlAnswers) -> str:  # noqa: N802
        return card.uuid

    def nvmlDeviceGetCudaComputeCapability(self, card: NvmlAnswers) -> tuple[int, int]:  # noqa: N802
        if card.name.find("MIG") >= 0:
            raise self.NVMLError("Not Supported")
        return card.capability

    def nvmlDeviceGetMemoryInfo(  # noqa: N802
        self, card: NvmlAnswers, version: int | None = None
    ) -> SimpleNamespace:
        mib = 1 << 20
        free = card.total_mib - card.reserved_mib - card.used_mib
        if not version:  # the first version counts what is reserved as used
            used = card.used_mib + card.reserved_mib
            return SimpleNamespace(total=card.total_mib * mib, free=free * mib, used=used * mib)
        if self._old or version != self.nvmlMemory_v2:
            raise self.NVMLError("Function Not Found")
        return SimpleNamespace(
            total=card.total_mib * mib,
            reserved=card.reserved_mib * mib,
            free=free * mib,
            used=card.used_mib * mib,
        )

    def nvmlDeviceGetMaxClockInfo(self, card: NvmlAnswers, kind: int) -> int:  # noqa: N802
        assert kind == 2, "NVML_CLOCK_MEM"
        return card.memory_mhz

    def nvmlDeviceGetMemoryBusWidth(self, card: NvmlAnswers) -> int:  # noqa: N802
        if self._old:
            raise self.NVMLError("Function Not Found")
        return card.bus_bits

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> NvmlAnswers:  # noqa: N802
        for card in self._cards:
            for it in (card, *card.parts):
                if it.uuid == uuid and not card.lost:
                    return it
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: NvmlAnswers) -> NvmlAnswers:  # noqa: N802
        for card in self._cards:
            if part in card.parts:
                return card
        raise self.NVMLError("Invalid Argument")

    def nvmlDeviceGetClockInfo(self, card: NvmlAnswers, kind: int) -> int:  # noqa: N802
        assert kind == 1, "NVML_CLOCK_SM"
        return self._of_a_whole(card).sm_mhz

    def nvmlDeviceGetTemperatureV(self, card: NvmlAnswers, sensor: int) -> int:  # noqa: N802
        if self._old:
            raise self.NVMLError("Function Not Found")
        return self.nvmlDeviceGetTemperature(card, sensor)

    def nvmlDeviceGetTemperature(self, card: NvmlAnswers, sensor: int) -> int:  # noqa: N802
        assert sensor == 0, "NVML_TEMPERATURE_GPU"
        return self._of_a_whole(card).celsius

    def nvmlDeviceGetPowerUsage(self, card: NvmlAnswers) -> int:  # noqa: N802
        return self._of_a_whole(card).milliwatts

    def nvmlDeviceGetUtilizationRates(self, card: NvmlAnswers) -> SimpleNamespace:  # noqa: N802
        if card.divided:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=self._of_a_whole(card).busy_percent, memory=0)

    def nvmlEventSetCreate(self) -> list[str]:  # noqa: N802
        self.event_sets.append([])
        return self.event_sets[-1]

    def nvmlDeviceRegisterEvents(self, card: NvmlAnswers, kinds: int, events: list[str]) -> None:  # noqa: N802
        assert kinds == self.nvmlEventTypeXidCriticalError
        events.append(self._of_a_whole(card).uuid)

    def nvmlEventSetWait_v2(self, events: list[str], timeout_ms: int) -> SimpleNamespace:  # noqa: N802
        assert timeout_ms == 0, "nobody may wait for an error"
        for uuid in events:
            if self.xids.get(uuid):
                return SimpleNamespace(eventType=8, eventData=self.xids[uuid].pop(0))
        raise self.NVMLError("Timeout")

    def nvmlEventSetFree(self, events: list[str]) -> None:  # noqa: N802
        self.event_sets.remove(events)

    def _of_a_whole(self, card: NvmlAnswers) -> NvmlAnswers:
        """What a MIG instance does not know of itself."""
        if card not in self._cards:
            raise self.NVMLError("Not Supported")
        return card

    def nvmlDeviceGetMigMode(self, card: NvmlAnswers) -> list[int]:  # noqa: N802
        if card.divided is None:
            raise self.NVMLError("Not Supported")
        return [int(card.divided), int(card.divided)]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: NvmlAnswers) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, card: NvmlAnswers, index: int
    ) -> NvmlAnswers:
        for number, part in zip((0, 2), card.parts, strict=False):  # numbers have gaps
            if number == index:
                return part
        raise self.NVMLError("Not Found")
