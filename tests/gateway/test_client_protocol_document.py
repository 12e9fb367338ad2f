"""docs/client-protocol.md describes exactly what the code defines, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.protobuf.descriptor import FieldDescriptor
from pipecat.frames import frames as f
from pipecat.frames.protobufs import frames_pb2 as pipecat_frames_pb2
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import models as rtvi_models
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame, RTVIServerMessageFrame
from pipecat.processors.frameworks.rtvi.observer import RTVIObserver
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.utils.text.base_text_aggregator import TextType

from appliance.access import signed
from appliance.errors import Refused, SessionEnded, catalogue
from appliance.gateway import input_pace, turn_record, websocket, wire
from appliance.gateway.http import admission, endpoints, listener
from appliance.gateway.metrics import TURN_ENDS, TURN_OUTCOMES
from appliance.gateway.transport import BOT_PAUSED, BOT_RESUMED
from appliance.gateway.turn_record import MARKS, TurnRecord
from appliance.gateway.turn_report import turn_message
from appliance.gateway.wire import rtvi_observer_params
from appliance.journal_fields import STAGES
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.settings import Settings, walk
from appliance.web import limits as web_limits
from appliance.web import server as web_server
from client import frames_pb2
from client import wire as client_wire

PAGE = (Path(__file__).parents[2] / "docs" / "client-protocol.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """Return the text under a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def tables(heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cells, without the header rows."""
    blocks = re.findall(r"(?:^\|.*\n)+", section(heading), re.MULTILINE)
    return [
        [[cell.strip() for cell in row[1:-1].split("|")] for row in block.splitlines()[2:]]
        for block in blocks
    ]


def table(heading: str) -> list[list[str]]:
    (single_table,) = tables(heading)
    return single_table


def code(cell: str) -> str:
    """Return the name in backticks at the start of a cell."""
    match = re.match(r"`([^`]+)`", cell)
    assert match, cell
    return match[1]


def errors_of_type(error_type: type[Any]) -> list[type[Any]]:
    return [error for error in catalogue().values() if issubclass(error, error_type)]


def test_documented_endpoints_are_the_routes() -> None:
    assert {code(row[0]) for row in table("Endpoints")} == set(endpoints.ENDPOINTS)


def test_documented_refusals_match_the_catalogue() -> None:
    documented = {(int(row[0]), code(row[1]), row[2]) for row in table("Refusals")}
    assert documented == {
        (error.http_status, error.reason, str(error.retry_after_seconds or ""))
        for error in errors_of_type(Refused)
    }
    assert len(table("Refusals")) == len(documented)


def test_example_refusal_is_what_the_gateway_sends() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section("Refusals"), re.DOTALL)
    refusal = catalogue()["full"](limit=Settings().gateway.max_sessions)
    assert json.loads(example) == json.loads(bytes(endpoints.denial(refusal).body))  # type: ignore[arg-type]


def test_documented_close_codes_match_the_catalogue() -> None:
    documented = [(int(row[0]), code(row[1])) for row in table("Close codes")]
    assert sorted(documented) == sorted(
        (error.close_code, error.reason) for error in errors_of_type(SessionEnded)
    )


TYPES = {
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def schema(module: Any) -> set[tuple[str, str, int, str]]:
    """Return (message, field, number, type) for every field of a protobuf module."""
    return {
        (
            message.name,
            field.name,
            field.number,
            field.message_type.name if field.message_type else TYPES[field.type],
        )
        for message in module.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }


def test_documented_protobuf_schema_matches_the_module() -> None:
    documented = {
        (code(row[0]), code(row[1]), int(row[2]), code(row[3])) for row in table("Frames")
    }
    assert documented == schema(frames_pb2)
    assert documented <= schema(pipecat_frames_pb2)


def test_documented_audio_formats_match_the_constants() -> None:
    text = section("Frames")
    assert f"**Audio to the gateway** is {INPUT_SAMPLE_RATE} Hz, mono" in text
    assert f"**Audio from the gateway** is {OUTPUT_SAMPLE_RATE} Hz, mono" in text


def test_documented_client_messages_match_the_code() -> None:
    documented = [code(row[0]) for row in table("Messages to the gateway")]
    assert sorted(documented) == sorted(wire.CLIENT_MESSAGES)
    assert f"`label` must be `{wire.RTVI_LABEL}`" in section("Messages to the gateway")
    versions = {rtvi_models.PROTOCOL_VERSION, client_wire.RTVI_VERSION}
    assert versions == set(re.findall(r"version is ([\d.]+\d)", section("Messages to the gateway")))


class FieldRecorder(dict[str, Any]):
    """Message data that records which fields the code reads."""

    read: ClassVar[set[str]] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return FieldRecorder() if key == "about" else super().get(key, default)


def test_documented_fields_of_client_messages_are_those_read() -> None:
    for row in table("Messages to the gateway"):
        FieldRecorder.read.clear()
        wire.CLIENT_MESSAGES[code(row[0])](FieldRecorder(content="text"))
        documented = re.findall(r"`([a-z.]+)`", row[1])
        names = {part for field in documented for part in field.split(".")}
        assert names == FieldRecorder.read, row[0]
    assert f"`{wire.PLAYBACK_STARTED}`" in section("Messages to the gateway")


def test_documented_event_messages_match_the_code() -> None:
    events, _ = tables("Messages from the gateway")
    assert sorted(code(row[0]) for row in events) == sorted(wire.EVENT_MESSAGES)


async def test_documented_text_messages_are_those_pipecat_sends() -> None:
    _, texts = tables("Messages from the gateway")
    documented = [code(row[0]) for row in texts]
    sent = await observed_messages()
    by_processor = {"bot-ready", "error", "error-response", "server-response"}
    assert sorted(documented) == sorted(sent - wire.EVENT_MESSAGES)
    assert (sent | by_processor) - set(documented) == wire.EVENT_MESSAGES


class FakeRTVI:
    """Fake RTVI processor that records the message types."""

    client_version: ClassVar[list[int]] = [int(n) for n in client_wire.RTVI_VERSION.split(".")]

    def __init__(self) -> None:
        self.types: set[str] = set()

    async def push_transport_message(self, model: Any, exclude_none: bool = True) -> None:
        self.types.add(model.type)


async def observed_messages() -> set[str]:
    """Return the message types that Pipecat sends for the frames of our pipeline."""
    call: dict[str, Any] = {"function_name": "f", "tool_call_id": "1", "arguments": {}}
    frames = [
        f.VADUserStartedSpeakingFrame(),
        f.VADUserStoppedSpeakingFrame(),
        f.UserStartedSpeakingFrame(),
        f.UserStoppedSpeakingFrame(),
        f.UserMuteStartedFrame(),
        f.UserMuteStoppedFrame(),
        f.InterruptionFrame(),
        f.TranscriptionFrame("Hello.", "", "", finalized=True),
        RTVISendTextFrame(msg_id="1", text="Hello."),
        f.LLMContextFrame(LLMContext([{"role": "user", "content": "Hello."}])),
        f.LLMFullResponseStartFrame(),
        f.LLMTextFrame("Hello. "),
        f.LLMTextFrame("How are you?"),
        f.LLMFullResponseEndFrame(),
        f.FunctionCallsStartedFrame([f.FunctionCallFromLLM(**call, context=LLMContext())]),
        f.FunctionCallInProgressFrame(**call),
        f.FunctionCallResultFrame(**call, result="done"),
        f.TTSStartedFrame(),
        f.BotStartedSpeakingFrame(),
        f.AggregatedTextFrame("Hello.", TextType.SENTENCE),
        f.TTSTextFrame("Hello.", TextType.SENTENCE),
        f.TTSStoppedFrame(),
        f.BotStoppedSpeakingFrame(),
        f.MetricsFrame([TTFBMetricsData(processor="tts", value=0.1)]),
        RTVIServerMessageFrame(data={}),
    ]
    rtvi = FakeRTVI()
    observer = RTVIObserver(rtvi, params=rtvi_observer_params())  # type: ignore[arg-type]
    output = BaseOutputTransport.__new__(BaseOutputTransport)
    for frame in frames:
        await observer.on_push_frame(
            FramePushed(
                source=output,
                destination=FrameProcessor.__new__(FrameProcessor),
                frame=frame,
                direction=FrameDirection.DOWNSTREAM,
                timestamp=0,
                first_push=True,
            )
        )
    return rtvi.types


def test_documented_turn_report_matches_the_code() -> None:
    turn = TurnRecord(
        2, "spoken", replaces=1, marks={name: float(n) for n, name in enumerate(MARKS)}
    )
    rows = {code(row[0]): row[1] for row in table("The turn report")}
    assert list(rows) == list(turn_message(turn, turn.stages(), transcripts=True))
    without_transcripts = turn_message(turn, turn.stages(), transcripts=False)
    assert [name for name, text in rows.items() if "VOICE_JOURNAL_TRANSCRIPTS" in text] == [
        name for name in rows if name not in without_transcripts
    ]
    values = {name: re.findall(r"`(\w+)`", text) for name, text in rows.items()}
    assert values["kind"] == [without_transcripts["kind"]]
    assert values["outcome"] == [name for name in TURN_OUTCOMES if name != "too_short"]
    assert values["ended_by"] == list(TURN_ENDS)
    assert values["stages"] == list(STAGES) == list(turn.stages())


def constants(module: Any) -> dict[str, float]:
    return {
        name: value
        for name, value in vars(module).items()
        if re.fullmatch(r"(MIN|MAX|MESSAGES)_[A-Z_]+", name)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }


def limits() -> dict[str, float]:
    """Return the documented limits by setting or constant name."""
    return {
        code(row[2]): float(re.match(r"[\d.]+", row[1])[0])  # type: ignore[index]
        for row in table("Limits")
    }


def test_documented_limits_match_the_settings() -> None:
    values = {f"VOICE_{part}_{name}".upper(): value for part, name, value in walk(Settings())}
    documented = {name: value for name, value in limits().items() if name.startswith("VOICE_")}
    assert documented == {name: values[name] for name in documented}
    gateway_numbers = {
        name
        for name, value in values.items()
        if name.startswith("VOICE_GATEWAY_")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }
    assert gateway_numbers - documented.keys() == {"VOICE_GATEWAY_PORT"}
    assert f"default port is {Settings().gateway.port} " in section("Endpoints")


def test_documented_limits_name_existing_codes_and_reasons() -> None:
    known = {f"{error.http_status} `{error.reason}`" for error in errors_of_type(Refused)}
    known |= {f"{error.close_code} `{error.reason}`" for error in errors_of_type(SessionEnded)}
    documented = {
        match for row in table("Limits") for match in re.findall(r"\d{3,4} `\w+`", row[3])
    } | set(re.findall(r"\d{3,4} `\w+`", section("Limits")))
    assert documented <= known
    unlimited = {
        "no_client_certificate",
        "token_in_url",
        "token_revoked",
        "unknown_path",
        "wrong_origin",
        "not_ready",
        "draining",
        "closed",
        "hung_up",
        "internal",
        "protocol_error",
    }
    assert {text for text in known if text.split("`")[1] not in unlimited} == documented


def test_documented_limits_match_the_constants() -> None:
    defined = constants(wire)
    defined |= {name: getattr(input_pace, name) for name in ("MIN_CHARGED_BYTES", "STALL_SECONDS")}
    frames = ("FRAMES_PER_SECOND", "FRAMES_BURST", "MAX_PIECES")
    defined |= {name: getattr(websocket, name) for name in frames}
    defined |= {name: getattr(web_limits, name) for name in constants(web_limits)}
    times = ("HEAD_SECONDS", "ANSWER_SECONDS", "WAITING_PLACES")
    defined |= {name: getattr(web_server, name) for name in times}
    defined |= {"MAX_READ_BODY_BYTES": web_server.MAX_READ_BODY_BYTES}
    defined |= {"TICKET_SECONDS": signed.TICKET_SECONDS}
    defined |= {"TOKEN_ATTEMPTS_RATIO": admission.TOKEN_ATTEMPTS_RATIO}
    defined |= {"HEARD_WITHIN_SECONDS": turn_record.HEARD_WITHIN_SECONDS}
    defined |= {"MIN_MESSAGE_LIMIT_BYTES": listener.MIN_MESSAGE_LIMIT_BYTES}
    documented = {name: value for name, value in limits().items() if not name.startswith("VOICE_")}
    assert documented == defined


def test_example_exchange_uses_documented_messages() -> None:
    (example,) = re.findall(r"```\n(.*?)```", section("Example"), re.DOTALL)
    events, texts = tables("Messages from the gateway")
    known = {
        ">": set(wire.CLIENT_MESSAGES),
        "<": {code(row[0]) for row in events + texts},
    }
    messages = re.findall(r"^([<>]) message (\S+) (.*)$", example, re.MULTILINE)
    assert len(messages) > 10
    for direction, kind, data in messages:
        assert kind in known[direction]
        assert isinstance(json.loads(data), dict)
    own = [json.loads(data) for _, kind, data in messages if kind == "server-message"]
    pauses, (report,) = own[:-1], own[-1:]
    assert [wire.server_message(pause["kind"])["data"] for pause in pauses] == pauses
    assert {pause["kind"] for pause in pauses} <= {BOT_PAUSED, BOT_RESUMED}
    (row,) = [row for row in events if code(row[0]) == "server-message"]
    assert all(f"`{kind}`" in row[1] for kind in ("turn", BOT_PAUSED, BOT_RESUMED))
    turn = TurnRecord(1, "spoken")
    turn.marks["submitted"] = 0.0
    assert list(report) == list(turn_message(turn, {}, transcripts=True))
    assert sum(report["stages"].values()) == pytest.approx(report["response_seconds"])
    (close,) = re.findall(r'^< close (\d+) "(.*)"$', example, re.MULTILINE)
    idle = catalogue()["idle"](seconds=Settings().gateway.idle_seconds)
    assert close == ("1000", f"{idle.reason}: {idle}")
