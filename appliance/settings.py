"""Every knob: default, unit and meaning. Built once at the door, frozen, passed down.

A setting is named by section and field: `gateway.port` is `VOICE_GATEWAY_PORT` in the environment
and `port` under `[gateway]` in the optional TOML file that `VOICE_CONFIG` names. The environment
wins. A name that does not exist is an error, not a silent default.

`profile` chooses one column of `PROFILE_DEFAULTS`; nothing else asks which profile it is, except
the two engine modules and the build.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from appliance.errors import BadSetting

PREFIX = "VOICE_"
VERSION = "0.1.0"  # as in pyproject.toml; a test compares


def knob(default: Any, meaning: str) -> Any:
    """A dataclass field with its meaning, which `python -m appliance settings` prints."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class PathsConfig:
    run: Path = knob(Path("run"), "folder of the unix sockets between the processes (tmpfs)")
    weights: Path = knob(Path("weights"), "folder of the sealed model files")
    lock: Path = knob(Path("image-manifest.lock"), "the list of what is sealed")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    host: str = knob("127.0.0.1", "address to listen on")
    port: int = knob(8765, "port to listen on")
    token_file: str = knob("", "file with the callers' access token; required to start")
    tls_certificate: str = knob("", "PEM certificate chain; with tls_key turns on wss")
    tls_key: str = knob("", "PEM private key")
    allowed_origins: tuple[str, ...] = knob((), "web origins whose pages may connect")
    max_sessions: int = knob(4, "calls at the same time; the next one is refused")
    idle_seconds: float = knob(120.0, "a call in which nobody speaks ends after this")
    session_seconds: float = knob(3600.0, "a call ends after this in any case")
    drain_seconds: float = knob(10.0, "how long calls may go on after a stop was asked for")
    max_frame_bytes: int = knob(16384, "largest message a client may send")
    lead_seconds: float = knob(
        0.4, "sound of a reply that is sent ahead of its playing, so that a late piece is not heard"
    )
    pace_ratio: float = knob(1.5, "audio may arrive this much faster than real time")
    pace_burst_seconds: float = knob(2.0, "audio that may arrive at once")
    max_attempts_per_minute: int = knob(120, "connection attempts from one address")


@dataclass(frozen=True, slots=True)
class TurnConfig:
    vad_confidence: float = knob(0.7, "Silero: probability from which it is speech, 0..1")
    vad_start_seconds: float = knob(0.2, "speech this long begins a turn, or interrupts")
    vad_stop_seconds: float = knob(0.2, "silence this long makes smart-turn look")
    vad_min_volume: float = knob(0.35, "quieter than this is no speech, 0..1")
    incomplete_stop_seconds: float = knob(
        1.3, "silence that ends a turn which smart-turn holds incomplete"
    )
    stop_timeout_seconds: float = knob(5.0, "second net: a turn ends this long after speech")
    threads: int = knob(1, "ends of turns that smart-turn judges at the same time, of all calls")
    half_duplex: bool = knob(False, "ignore the user while the bot speaks (no echo cancelling)")


@dataclass(frozen=True, slots=True)
class LLMConfig:
    engine: str = knob("small", "small (cpu profile) or vllm (gpu profile)")
    model: str = knob("qwen2.5-coder-0.5b-instruct", "folder of the language model in weights")
    hearing_model: str = knob("moonshine-tiny-en", "folder of the recognizer (cpu profile)")
    threads: int = knob(2, "threads of the language model (cpu profile)")
    hearing_threads: int = knob(1, "threads of the recognizer (cpu profile)")
    context_tokens: int = knob(4096, "tokens one conversation may hold")
    history_tokens: int = knob(1500, "of these, the most for the past")
    history_turns: int = knob(20, "past turns kept at most (a question and its answer are two)")
    audio_turns: int = knob(4, "past questions that stay audio when older ones become text")
    reply_tokens: int = knob(160, "longest reply, tokens")
    temperature: float = knob(0.0, "0 answers the same question the same way")
    language: str = knob("en", "language spoken in the call")
    system_prompt: str = knob(
        "You are a friendly voice assistant in a telephone call. Answer in one or two short "
        "spoken sentences, without lists, markup or emoji. Use what the caller said before. "
        'Call the caller "you".',
        "what the model is told first",
    )
    min_utterance_seconds: float = knob(0.3, "a shorter utterance gets no answer")
    max_utterance_seconds: float = knob(60.0, "of a longer utterance the rest is not heard")
    pre_roll_seconds: float = knob(0.5, "audio kept from before speech was noticed")
    recover_seconds: float = knob(30.0, "how long a turn waits for a restarted engine")
    hold_for_first_phrase: bool = knob(True, "stop decoding while the first phrase is spoken out")
    greeting: str = knob("", "what the bot says first; empty: it waits for the caller")
    tools: tuple[str, ...] = knob(
        ("current_time", "end_call"), "what the model may do beside speaking (vllm)"
    )
    tool_seconds: float = knob(5.0, "a tool that takes longer is stopped, and the call goes on")
    today: str = knob("", "date told to the model, as 22 Nov 2026; empty: the day a call begins")
    noise_reply: str = knob("((noise))", "how the model says that it heard no speech (vllm)")
    dtype: str = knob(
        "auto", "auto (of the sealed weights; float32 without a card), bfloat16 or float32 (vllm)"
    )
    kv_dtype: str = knob("auto", "auto (by the card), bfloat16 or fp8: how the past is kept (vllm)")
    memory_fraction: float = knob(0.0, "part of the card's memory for vLLM, 0..1; 0: by the card")
    max_sequences: int = knob(0, "replies decoded at the same time (vllm); 0: by the card")


@dataclass(frozen=True, slots=True)
class TTSConfig:
    backend: str = knob("onnx", "onnx (cpu) or torch (gpu)")
    voice: str = knob("af_heart", "voice, or a blend such as af_heart:2,am_adam:1")
    speed: float = knob(1.0, "rate of speech, 0.5..2")
    threads: int = knob(2, "threads of the synthesizer")
    device: str = knob("cpu", "torch back end: cpu or cuda")
    first_phrase_words: int = knob(5, "the first phrase may end at a comma or after so many words")
    phrase_words: int = knob(14, "a later phrase holds at most about so many words")
    phrase_time_ratio: float = knob(
        0.65, "part of the time a phrase sounds in which one as long is generated and synthesised"
    )


@dataclass(frozen=True, slots=True)
class ExporterConfig:
    host: str = knob("127.0.0.1", "address of /metrics")
    port: int = knob(9465, "port of /metrics")
    timeout_seconds: float = knob(2.0, "how long a process may take to report its metrics")


@dataclass(frozen=True, slots=True)
class SupervisionConfig:
    start_seconds: int = knob(
        20, "a process that dies sooner counts as not started; above the engines' load time"
    )
    start_attempts: int = knob(5, "so many failed starts in a row end the appliance")
    check_seconds: float = knob(5.0, "how often the guard looks at every process")
    silent_seconds: float = knob(
        15.0, "a process that was up and does not answer for so long is killed and restarted"
    )
    load_seconds: float = knob(
        300.0, "an engine that is not ready so long after its start is restarted"
    )
    max_restarts: int = knob(
        5, "so often one process is restarted within the window; once more ends the appliance"
    )
    restart_window_seconds: float = knob(1800.0, "the window in which restarts are counted")
    gateway_memory_bytes: int = knob(
        800_000_000, "a gateway that holds more for itself is restarted; 0: no limit"
    )
    llm_memory_bytes: int = knob(1_600_000_000, "the same for the speech-LLM engine")
    tts_memory_bytes: int = knob(1_500_000_000, "the same for the speech synthesis engine")
    exporter_memory_bytes: int = knob(400_000_000, "the same for the exporter")
    growth_bytes: int = knob(
        300_000_000, "a process whose memory grows by so much, without a rest, is restarted; 0: no"
    )
    growth_seconds: float = knob(3600.0, "the window of that growth")
    seal_check: str = knob(
        "auto", "full (read every model file), quick, or auto: full once per start of the host"
    )


@dataclass(frozen=True, slots=True)
class JournalConfig:
    level: str = knob("info", "debug, info, warning or error")
    format: str = knob("auto", "json, pretty, or auto: pretty on a terminal")
    transcripts: bool = knob(
        True,
        "send callers the text of their own call (never logged); off: what either side said "
        "leaves the appliance as sound alone",
    )
    pipecat_messages: bool = knob(
        False, "log the messages of Pipecat and other libraries; they may show callers' words"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    profile: str = "cpu"
    paths: PathsConfig = PathsConfig()
    gateway: GatewayConfig = GatewayConfig()
    turn: TurnConfig = TurnConfig()
    llm: LLMConfig = LLMConfig()
    tts: TTSConfig = TTSConfig()
    exporter: ExporterConfig = ExporterConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    journal: JournalConfig = JournalConfig()


PROFILE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "cpu": {},
    "gpu": {
        "llm.engine": "vllm",
        "llm.model": "ultravox-v0_5-llama-3_1-8b",
        "llm.context_tokens": 8192,
        "llm.history_tokens": 4096,
        "llm.history_turns": 100,
        "llm.hold_for_first_phrase": False,
        "tts.backend": "torch",
        "tts.device": "cuda",
        "tts.phrase_time_ratio": 0.3,
        "gateway.max_sessions": 8,
        "turn.threads": 2,
        "supervision.start_seconds": 240,
        "supervision.load_seconds": 1200.0,
        "supervision.gateway_memory_bytes": 2_500_000_000,
        "supervision.llm_memory_bytes": 0,  # vLLM pins host memory by the card's size
        "supervision.tts_memory_bytes": 8_000_000_000,
        "supervision.growth_bytes": 1_000_000_000,
    },
}


def load(environ: Mapping[str, str]) -> Settings:
    """Builds the settings from `environ` and the file it may name.

    Raises BadSetting for an unknown name, an unreadable file or a value of the wrong type.
    """
    given = {**_from_file(environ.get(PREFIX + "CONFIG", "")), **_from_environment(environ)}
    profile = str(given.pop("profile", "cpu"))
    if profile not in PROFILE_DEFAULTS:
        raise BadSetting(name="profile", why=f"{profile!r} is none of {sorted(PROFILE_DEFAULTS)}")
    values = {**PROFILE_DEFAULTS[profile], **given}
    settings = Settings(profile=profile)
    for section, name, current in walk(settings):
        dotted = f"{section}.{name}"
        if dotted in values:
            value = _convert(dotted, values.pop(dotted), type(current))
            part = dataclasses.replace(getattr(settings, section), **{name: value})
            settings = dataclasses.replace(settings, **{section: part})
    for unknown in values:
        raise BadSetting(name=unknown, why="there is no such setting" + _did_you_mean(unknown))
    return settings


def walk(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    """Every setting as (section, field, value); the profile itself is not one of them."""
    for section in dataclasses.fields(settings):
        part = getattr(settings, section.name)
        if dataclasses.is_dataclass(part):
            for knob_field in dataclasses.fields(part):
                yield section.name, knob_field.name, getattr(part, knob_field.name)


def meaning(section: str, name: str) -> str:
    """What the setting means and in which unit."""
    part = get_type_hints(Settings)[section]
    return str(part.__dataclass_fields__[name].metadata["meaning"])


def _variables() -> dict[str, str]:
    """Every variable of the environment, and what it sets."""
    names = ["profile", *(f"{section}.{name}" for section, name, _ in walk(Settings()))]
    return {PREFIX + name.upper().replace(".", "_"): name for name in names}


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    known = _variables()
    ours = (key for key in environ if key.startswith(PREFIX) and key != PREFIX + "CONFIG")
    return {known.get(key, key): environ[key] for key in ours}


def _from_file(path: str) -> dict[str, object]:
    if not path:
        return {}
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise BadSetting(name="VOICE_CONFIG", why=str(problem)) from problem
    found: dict[str, object] = {}
    for section, table in tables.items():
        is_section = isinstance(table, dict)
        found |= {f"{section}.{k}": v for k, v in table.items()} if is_section else {section: table}
    return found


def _convert(name: str, value: object, kind: type) -> object:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value).strip()
    try:
        if kind is bool:
            return RawConfigParser.BOOLEAN_STATES[text.lower()]
        if kind is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return kind(text)
    except (ValueError, KeyError) as problem:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}
        raise BadSetting(name=name, why=f"{text!r} is not {wanted[kind]}") from problem


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name.upper(), _variables(), n=1)
    return f"; did you mean {close[0]}?" if close else ""
