"""The session object of the Realtime protocol: what a client may set, and what it gets. No I/O.

A client sends many settings that are the operator's here, such as the model. They are not refused,
because SDKs always send them: `session.updated` has the settings in effect. What would break the
call, such as another audio format, is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import VoiceIsFixed
from appliance.gateway.realtime.client_events import (
    RefusedEvent,
    invalid,
    not_supported,
    only,
    quoted,
)
from appliance.gateway.realtime.tools import CHOICES, ToolLimits, parse_choice, parse_tools, shown
from appliance.link.engine import Tool

SAMPLE_RATE = 24_000  # of the PCM in both directions; the protocol has no other
OPERATORS_INSTRUCTIONS = (
    "The operator of this appliance sets the instructions, the voice and the tools. Those of a "
    "client are used only with VOICE_GATEWAY_REALTIME_CLIENT_SETTINGS=true."
)
MAX_INSTRUCTIONS_CHARS = 4_000
TURN_DETECTIONS = ("server_vad", "semantic_vad")  # the appliance has one; it answers to both names

# The fields of the session, as OpenAI's service takes them, and those of its beta version.
FIELDS = {
    *("type", "object", "id", "expires_at", "model", "audio", "include", "instructions"),
    *("max_output_tokens", "output_modalities", "parallel_tool_calls", "prompt", "reasoning"),
    *("tool_choice", "tools", "tracing", "truncation"),
}
BETA_FIELDS = {
    *("modalities", "voice", "speed", "input_audio_format", "output_audio_format"),
    *("input_audio_transcription", "input_audio_noise_reduction", "turn_detection"),
    *("temperature", "max_response_output_tokens"),
}
INPUT_FIELDS = {"format", "noise_reduction", "transcription", "turn_detection"}
OUTPUT_FIELDS = {"format", "speed", "voice"}
TURN_FIELDS = {
    *("type", "threshold", "prefix_padding_ms", "silence_duration_ms", "eagerness"),
    *("create_response", "interrupt_response", "idle_timeout_ms"),
}


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The settings in effect in one session.

    model            the name that the client asked for; it selects nothing
    voice            of the bot
    transcripts      whether the client gets texts
    client_settings  whether the operator allows voice, instructions and tools of the client
    voices           among which the client may choose
    tool_limits      what its tools may be
    turn_detection   the name of the turn detection; "": the client commits its questions itself
    instructions     those of the client; "": the operator's
    tools            those of the client
    tool_choice      whether they are offered to the model: "auto" or "none"
    """

    model: str
    voice: str
    transcripts: bool
    client_settings: bool
    voices: tuple[str, ...] = ()
    tool_limits: ToolLimits = field(default_factory=ToolLimits)
    turn_detection: str = TURN_DETECTIONS[0]
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = CHOICES[0]

    @property
    def manual(self) -> bool:
        """Whether the client commits its questions and asks for the responses."""
        return not self.turn_detection

    @property
    def offered_tools(self) -> tuple[Tool, ...]:
        """The tools of the client that the model may call."""
        return self.tools if self.tool_choice == CHOICES[0] else ()

    def updated(self, session: Mapping[str, Any], has_spoken: bool = False) -> SessionConfig:
        """Return the settings in effect after a session.update. Raises RefusedEvent.

        `has_spoken`: the bot has spoken, so that its voice does not change any more.
        """
        only(session, FIELDS | BETA_FIELDS, "session.")
        if session.get("type", "realtime") != "realtime":
            raise not_supported(f"sessions of the type {quoted(session['type'])}", "session.type")
        audio = _object(session, "audio", "session.audio")
        given, produced = (
            _object(audio, side, f"session.audio.{side}") for side in ("input", "output")
        )
        only(audio, {"input", "output"}, "session.audio.")
        only(given, INPUT_FIELDS, "session.audio.input.")
        only(produced, OUTPUT_FIELDS, "session.audio.output.")
        _check_formats(session, given, produced)
        _check_modalities(session)
        config = self
        for fields, path in ((session, "session"), (given, "session.audio.input")):
            if "turn_detection" in fields:
                name = _turn_detection(fields["turn_detection"], f"{path}.turn_detection")
                config = dataclasses.replace(config, turn_detection=name)
        return (
            config._with_clients(session, produced, has_spoken) if self.client_settings else config
        )

    def _with_clients(
        self, session: Mapping[str, Any], produced: Mapping[str, Any], has_spoken: bool
    ) -> SessionConfig:
        """Return the settings in effect, with the instructions, voice and tools of the client."""
        config = self
        for fields, path in ((session, "session.voice"), (produced, "session.audio.output.voice")):
            # SDKs always send a voice. One that the appliance does not have changes nothing.
            voice = fields.get("voice")
            if voice in self.voices and voice != config.voice:
                if has_spoken:
                    raise RefusedEvent(VoiceIsFixed(), param=path)
                config = dataclasses.replace(config, voice=voice)
        if session.get("instructions") is not None:
            instructions = _instructions(session["instructions"])
            config = dataclasses.replace(config, instructions=instructions)
        if not self.transcripts:
            return config  # the arguments of a call have words of the user
        if session.get("tools") is not None:
            tools = parse_tools(session["tools"], self.tool_limits)
            config = dataclasses.replace(config, tools=tools)
        if "tool_choice" in session:
            choice = parse_choice(session["tool_choice"])
            config = dataclasses.replace(config, tool_choice=choice)
        return config

    def session(self, session_id: str, expires_at: int, beta: bool) -> dict[str, Any]:
        """Return the session object that the client gets. `expires_at` is in seconds since 1970."""
        instructions = self.instructions or OPERATORS_INSTRUCTIONS
        transcription = {"model": "appliance"} if self.transcripts else None
        detection: dict[str, Any] | None = None
        if self.turn_detection:
            detection = {
                "type": self.turn_detection,
                "create_response": True,
                "interrupt_response": True,
            }
        common = {
            "object": "realtime.session",
            "id": session_id,
            "model": self.model,
            "expires_at": expires_at,
            "instructions": instructions,
            "tools": [shown(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
        }
        if beta:
            return common | {
                "modalities": ["audio", "text"],
                "voice": self.voice,
                "input_audio_format": "pcm16",
                "output_audio_format": "pcm16",
                "input_audio_transcription": transcription,
                "turn_detection": detection,
                "temperature": 0.8,
                "max_response_output_tokens": "inf",
            }
        pcm = {"type": "audio/pcm", "rate": SAMPLE_RATE}
        return common | {
            "type": "realtime",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {
                "input": {
                    "format": pcm,
                    "noise_reduction": None,
                    "transcription": transcription,
                    "turn_detection": detection,
                },
                "output": {"format": pcm, "voice": self.voice, "speed": 1.0},
            },
        }


def _object(fields: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{path} is not an object", path)
    return value


def _check_formats(
    session: Mapping[str, Any], given: Mapping[str, Any], produced: Mapping[str, Any]
) -> None:
    formats = {
        "session.input_audio_format": session.get("input_audio_format"),
        "session.output_audio_format": session.get("output_audio_format"),
        "session.audio.input.format": given.get("format"),
        "session.audio.output.format": produced.get("format"),
    }
    for path, value in formats.items():
        name, rate = value, SAMPLE_RATE
        if isinstance(value, dict):
            only(value, {"type", "rate"}, f"{path}.")
            name, rate = value.get("type"), value.get("rate", SAMPLE_RATE)
        if name is not None and (name not in ("pcm16", "audio/pcm") or rate != SAMPLE_RATE):
            raise not_supported(f"audio that is not audio/pcm of {SAMPLE_RATE} Hz", path)


def _check_modalities(session: Mapping[str, Any]) -> None:
    for name in ("output_modalities", "modalities"):
        value = session.get(name)
        if value is not None and not (isinstance(value, list) and "audio" in value):
            raise not_supported("replies without audio", f"session.{name}")


def _turn_detection(value: object, path: str) -> str:
    """Return the name of the turn detection, or "" for none."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise invalid(f"{path} is not an object", path)
    only(value, TURN_FIELDS, f"{path}.")
    name = value.get("type", TURN_DETECTIONS[0])
    if name not in TURN_DETECTIONS:
        raise not_supported(f"turn detection of the type {quoted(name)}", f"{path}.type")
    for switch in ("create_response", "interrupt_response"):
        if value.get(switch) not in (None, True):
            raise not_supported(
                f"turn detection without {switch}; turn_detection null is supported",
                f"{path}.{switch}",
            )
    return str(name)


def _instructions(value: object) -> str:
    path = "session.instructions"
    if not isinstance(value, str) or len(value) > MAX_INSTRUCTIONS_CHARS:
        raise invalid(f"it is not a text of at most {MAX_INSTRUCTIONS_CHARS} characters", path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid("the instructions are not Unicode", path) from None
    return value.strip()
