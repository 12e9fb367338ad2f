"""Settings: where they come from, what each accepts, and that a wrong one is refused by name."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import annotated_types as bounds
import pytest
from pydantic import ValidationError

from appliance.errors import BadSetting
from appliance.link import protocol
from appliance.link.engine import ChatMessage, GenerateRequest
from appliance.settings import (
    FIELDS,
    PROFILE_DEFAULTS,
    VERSION,
    GatewayConfig,
    LLMConfig,
    Settings,
    allowed,
    load,
    parse_voice,
    render,
    variable,
    walk,
)

SECONDS_TO_WEEK = "a number of seconds above 0, at most 604800"
BYTES = "a whole number of bytes from 0 to 1000000000000"
HOST = "an IP address or a host name"
PORT = "a whole number from 1 to 65535"
THREADS = "a whole number of threads from 1 to 256"
WORDS = "a whole number of words from 1 to 200"
FRACTION = "a number from 0 to 1"
FOLDER = "a folder name of letters, digits, '.', '_' and '-'"
SWITCH = "true or false"

# What every setting accepts, in the words in which a wrong value is refused.
ALLOWED = {
    "profile": "one of cpu, gpu",
    "paths.run": "a path",
    "paths.weights": "a path",
    "paths.lock": "a path",
    "gateway.host": HOST,
    "gateway.port": PORT,
    "gateway.token_file": "text",
    "gateway.token_store": "text",
    "gateway.login_seconds": "a number of seconds from 60 to 604800",
    "gateway.tls_certificate": "text",
    "gateway.tls_key": "text",
    "gateway.tls_client_ca": "text",
    "gateway.plain_network": "true or false",
    "gateway.page": "true or false",
    "gateway.start_closed": "true or false",
    "gateway.start_closed_file": "text",
    "gateway.host_name": "at most 64 letters, digits, '.', '_', ':' and '-', or empty",
    "gateway.realtime": SWITCH,
    "gateway.realtime_client_settings": SWITCH,
    "gateway.allowed_origins": "a list of origins such as https://app.example, separated by commas",
    "gateway.max_sessions": "a whole number of sessions from 1 to 1000",
    "gateway.idle_seconds": "a number of seconds above 0, at most 86400",
    "gateway.session_seconds": SECONDS_TO_WEEK,
    "gateway.drain_seconds": "a number of seconds from 0 to 3600",
    "gateway.ping_seconds": "a number of seconds from 1 to 25",
    "gateway.max_frame_bytes": "a whole number of bytes from 1024 to 1048576",
    "gateway.lead_seconds": "a number of seconds from 0 to 600",
    "gateway.pace_ratio": "a number from 1 to 100",
    "gateway.pace_burst_seconds": "a number of seconds above 0, at most 60",
    "gateway.max_sessions_per_token": "a whole number of sessions from 1 to 1000",
    "gateway.yield_seconds": "a number of seconds above 0, at most 86400",
    "gateway.trusted_proxies": "a list of IP addresses and networks such as 10.0.0.0/8, separated "
    "by commas",
    "gateway.max_attempts_per_minute": "a whole number of attempts from 1 to 1000000",
    "turn.vad_confidence": FRACTION,
    "turn.vad_start_seconds": "a number of seconds above 0, at most 10",
    "turn.vad_interrupt_seconds": "a number of seconds above 0, at most 10",
    "turn.interruption": "one of voice, words",
    "turn.pause_seconds": "a number of seconds above 0, at most 10",
    "turn.vad_stop_seconds": "a number of seconds above 0, at most 10",
    "turn.min_speech_dbfs": "a number from -90 to 0",
    "turn.incomplete_stop_seconds": "a number of seconds above 0, at most 60",
    "turn.short_stop_seconds": "a number of seconds above 0, at most 60",
    "turn.words_stop_seconds": "a number of seconds above 0, at most 60",
    "turn.staccato_stop_seconds": "a number of seconds above 0, at most 60",
    "turn.dictation_stop_seconds": "a number of seconds above 0, at most 60",
    "turn.stop_timeout_seconds": "a number of seconds above 0, at most 60",
    "turn.threads": THREADS,
    "turn.ignore_echo": SWITCH,
    "turn.ignore_far_speech": SWITCH,
    "turn.half_duplex": SWITCH,
    "llm.engine": "one of small, vllm",
    "llm.model": FOLDER,
    "llm.hearing_model": FOLDER,
    "llm.short_recognizer": f"{FOLDER}, or empty",
    "llm.threads": THREADS,
    "llm.hearing_threads": THREADS,
    "llm.context_tokens": "a whole number of tokens from 256 to 1048576",
    "llm.history_tokens": "a whole number of tokens from 0 to 1048576",
    "llm.history_turns": "a whole number of turns from 2 to 160",
    "llm.audio_turns": "a whole number of turns from 0 to 160",
    "llm.reply_tokens": "a whole number of tokens from 1 to 4096",
    "llm.temperature": "a number from 0 to 2",
    "llm.language": "en (English); other languages are not supported",
    "llm.system_prompt": "text, at most 16000 characters",
    "llm.examples": "QUESTION => ANSWER | QUESTION => ANSWER, at most 4000 characters",
    "llm.min_utterance_seconds": "a number of seconds from 0 to 10",
    "llm.max_utterance_seconds": "a number of seconds from 1 to 600",
    "llm.pre_roll_seconds": "a number of seconds from 0 to 10",
    "llm.recover_seconds": "a number of seconds from 0 to 3600",
    "llm.speculation": "true or false",
    "llm.hold_for_first_phrase": SWITCH,
    "llm.greeting": "text, at most 2000 characters",
    "llm.tools": "a list of at most 16 tool names, separated by commas",
    "llm.tool_seconds": "a number of seconds above 0, at most 600",
    "llm.client_tool_seconds": "a number of seconds above 0, at most 600",
    "llm.today": "a date such as 22 Nov 2026, or empty",
    "llm.noise_reply": "text, not empty, at most 100 characters",
    "llm.dtype": "one of auto, bfloat16, float32",
    "llm.kv_dtype": "one of auto, bfloat16, fp8",
    "llm.memory_fraction": "a number from 0 to below 1",
    "llm.max_sequences": "a whole number of replies from 0 to 1024",
    "tts.backend": "one of onnx, torch",
    "tts.voice": "a voice, or a blend such as af_heart:2,am_adam:1",
    "tts.lexicon_file": "a path",
    "tts.streaming": SWITCH,
    "tts.speed": "a number from 0.5 to 2",
    "tts.threads": THREADS,
    "tts.device": "one of cpu, cuda",
    "tts.first_phrase_words": WORDS,
    "tts.phrase_words": WORDS,
    "tts.phrase_time_ratio": "a number from 0.01 to 5",
    "tts.start_delay_seconds": "a number of seconds from 0 to 5",
    "exporter.host": HOST,
    "exporter.port": PORT,
    "exporter.timeout_seconds": "a number of seconds above 0, at most 60",
    "supervision.start_seconds": "a whole number of seconds from 1 to 3600",
    "supervision.start_attempts": "a whole number of starts from 1 to 100",
    "supervision.check_seconds": "a number of seconds above 0, at most 300",
    "supervision.silent_seconds": "a number of seconds above 0, at most 3600",
    "supervision.load_seconds": "a number of seconds above 0, at most 86400",
    "supervision.max_restarts": "a whole number of restarts from 0 to 1000",
    "supervision.restart_window_seconds": SECONDS_TO_WEEK,
    "supervision.gateway_memory_bytes": BYTES,
    "supervision.llm_memory_bytes": BYTES,
    "supervision.tts_memory_bytes": BYTES,
    "supervision.exporter_memory_bytes": BYTES,
    "supervision.growth_bytes": BYTES,
    "supervision.growth_seconds": SECONDS_TO_WEEK,
    "supervision.seal_check": "one of auto, full, quick",
    "journal.level": "one of debug, info, warning, error",
    "journal.format": "one of auto, json, pretty",
    "journal.transcripts": SWITCH,
    "journal.pipecat_messages": SWITCH,
    "audit.folder": "text",
    "audit.required": SWITCH,
    "audit.file_bytes": "a whole number of bytes from 4096 to 1073741824",
}

# Wrong values of settings whose bounds are not numbers or choices.
WRONG = {
    "paths.run": [""],
    "paths.weights": [""],
    "paths.lock": [""],
    "gateway.host": ["", "300.0.0.1", "1.2.3", "my host", ":::", "-x"],
    "gateway.allowed_origins": ["app.example", "https://app.example/", "https://a.example/page"],
    "gateway.host_name": ["a b", "a\r\nb", "ü", "x" * 65],
    "gateway.trusted_proxies": ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33"],
    "llm.model": ["", "../weights", "a/b", ".."],
    "llm.hearing_model": ["", "/weights/moonshine"],
    "llm.short_recognizer": ["/weights/whisper"],
    "llm.system_prompt": ["x" * 16_001],
    "llm.examples": ["Hello.", "Hello. =>", "=> Hello.", "a => b | c", "a => " + "b" * 4000],
    "llm.greeting": ["x" * 2_001],
    "llm.tools": ["look up", "a" * 65, ",".join(f"tool_{n}" for n in range(17))],
    "llm.today": ["2026-11-22", "31 Feb 2026", "tomorrow"],
    "llm.noise_reply": ["", "x" * 101],
    "tts.voice": ["", "af_heart:", "af_heart:0", "af_heart:-1", "a:nan", "a:inf", "a,,b", "../a"],
    "tts.lexicon_file": [""],
    "exporter.host": ["", "300.0.0.1"],
}


def wrong_values(name: str) -> Iterator[str]:
    """Values just out of the bounds of a setting, and of the wrong kind."""
    field = FIELDS[name]
    yield from WRONG.get(name, ())
    if field.annotation is bool:
        yield from ("", "perhaps", "2")
    if get_origin(field.annotation) is Literal:
        yield from ("", "nonsense", str(get_args(field.annotation)[0]).upper())
    if field.annotation in (int, float):
        step = 1 if field.annotation is int else 0.001
        yield from ("", "many", "nan", "inf", "-inf")
        for bound in field.metadata:
            match bound:
                case bounds.Ge(ge=low):
                    yield str(low - step)  # type: ignore[operator]
                case bounds.Gt(gt=low):
                    yield str(low)
                case bounds.Le(le=high):
                    yield str(high + step)  # type: ignore[operator]
                case bounds.Lt(lt=high):
                    yield str(high)
        if field.annotation is int:
            yield "1.5"


EVERY_WRONG_VALUE = [(name, value) for name in FIELDS for value in wrong_values(name)]
NUMBERS = [name for name, field in FIELDS.items() if field.annotation in (int, float)]


def refusals(environ: dict[str, str]) -> dict[str, str]:
    """Every setting that `load` refuses, by the name that it is reported with, and why."""
    try:
        load(environ)
    except BadSetting as error:
        return {str(e.details["name"]): str(e.details["why"]) for e in (error, *error.others)}
    return {}


Configured = Callable[[str], dict[str, str]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Returns a function that writes a file of settings and returns the environment naming it."""
    file = tmp_path / "voice.toml"

    def write(content: str) -> dict[str, str]:
        file.write_text(content)
        return {"VOICE_CONFIG": str(file)}

    return write


def test_without_environment_the_defaults_apply() -> None:
    assert load({}) == Settings()


def test_names_without_the_prefix_are_ignored() -> None:
    assert load({"PATH": "/bin", "GATEWAY_PORT": "1"}) == Settings()


def test_every_setting_can_be_set_to_its_default_by_its_variable() -> None:
    environ = {
        variable(f"{section}.{name}"): ",".join(value) if isinstance(value, tuple) else str(value)
        for section, name, value in walk(Settings())
    }
    assert load(environ) == Settings()


def test_values_are_converted_to_the_type_of_the_setting() -> None:
    settings = load(
        {
            "VOICE_GATEWAY_PORT": " 9000 ",
            "VOICE_GATEWAY_ALLOWED_ORIGINS": "https://a.example, https://b.example",
            "VOICE_TURN_HALF_DUPLEX": "Yes",
            "VOICE_TTS_SPEED": "1.25",
            "VOICE_PATHS_RUN": "/tmp/run",
        }
    )
    assert settings.gateway.port == 9000
    assert settings.gateway.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.turn.half_duplex is True
    assert settings.tts.speed == 1.25
    assert settings.paths.run == Path("/tmp/run")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("VOICE_GATEWAY_PRT", "VOICE_GATEWAY_PORT"),
        ("VOICE_PROFIL", "VOICE_PROFILE"),
        ("VOICE_KOKORO_SPEED", "VOICE_TTS_SPEED"),
        ("VOICE_ULTRAVOX_REPLY_TOKENS", "VOICE_LLM_REPLY_TOKENS"),
    ],
)
def test_unknown_name_is_refused_with_the_most_similar_one(wrong: str, right: str) -> None:
    assert refusals({wrong: "1"}) == {wrong: f"there is no such setting (did you mean {right}?)"}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("VOICE_GATEWAY_PORT", "many", "a whole number"),
        ("VOICE_TTS_SPEED", "fast", "a number"),
        ("VOICE_TURN_HALF_DUPLEX", "perhaps", "true or false"),
        ("VOICE_GATEWAY_PORT", "", "a whole number"),
    ],
)
def test_value_of_the_wrong_type_is_refused_by_name(name: str, value: str, kind: str) -> None:
    with pytest.raises(BadSetting, match=f"{name}.*is not {kind}"):
        load({name: value})


def test_environment_overrides_file_and_file_overrides_profile(configured: Configured) -> None:
    environ = configured(
        'profile = "gpu"\n[gateway]\nport = 1\nmax_sessions = 2\n'
        'allowed_origins = ["https://a.example", "https://b.example"]\n'
    )
    settings = load(environ | {"VOICE_GATEWAY_PORT": "3"})
    assert settings.profile == "gpu"
    assert settings.gateway.port == 3
    assert settings.gateway.max_sessions == 2
    assert settings.gateway.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.tts.backend == "torch"


@pytest.mark.parametrize("content", ["[gateway", "[gateway]\nprt = 1\n", "prt = 1\n"])
def test_broken_file_or_unknown_name_in_it_is_refused(configured: Configured, content: str) -> None:
    with pytest.raises(BadSetting):
        load(configured(content))


@pytest.mark.parametrize(
    ("line", "name", "why"),
    [
        ("speed = 3", "tts.speed", "3 is not a number from 0.5 to 2"),
        ("speed = true", "tts.speed", "'true' is not a number from 0.5 to 2"),
        ("speed = [1]", "tts.speed", "[1] is not a number from 0.5 to 2"),
        ("voice = 7", "tts.voice", f"7 is not {ALLOWED['tts.voice']}"),
        ("threads = 1.5", "tts.threads", f"1.5 is not {THREADS}"),
        ("sped = 1", "tts.sped", "there is no such setting (did you mean tts.speed?)"),
        ("VOICE_TTS_SPEED = 1", "tts.VOICE_TTS_SPEED", "there is no such setting"),
    ],
)
def test_file_is_refused_by_the_names_that_are_written_in_it(
    configured: Configured, line: str, name: str, why: str
) -> None:
    (refused,) = refusals(configured(f"[tts]\n{line}\n")).items()
    assert refused[0] == name and refused[1].startswith(why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[tts]\nspeed = 1.1\nspeed = 1.2\n", "(at line 3, column 12)"),
        (b"[tts\n", "(at line 1, column 5)"),
        (b"# sch\xf6n\n", "it is not UTF-8 text"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    message = refusals({"VOICE_CONFIG": str(file)})["VOICE_CONFIG"]
    assert message.startswith(f"{file}: ") and message.endswith(why)


def test_missing_file_and_folder_in_its_place_are_named(tmp_path: Path) -> None:
    file = f"{tmp_path}/none.toml"
    assert refusals({"VOICE_CONFIG": file}) == {
        "VOICE_CONFIG": f"{file}: No such file or directory"
    }
    folder = str(tmp_path)
    assert refusals({"VOICE_CONFIG": folder}) == {"VOICE_CONFIG": f"{folder}: Is a directory"}


def test_byte_order_mark_of_a_windows_editor_is_not_a_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[tts]\r\nspeed = 1.1\r\n", encoding="utf-8-sig")
    assert load({"VOICE_CONFIG": str(file)}).tts.speed == 1.1


def test_value_in_place_of_a_table_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("tts = 1.1\n")
    assert refusals({"VOICE_CONFIG": str(file)}) == {
        "tts": "it is a table: write [tts], and its settings below"
    }


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadSetting, match=r"cpu.*gpu"):
        load({"VOICE_PROFILE": "tpu"})


@pytest.mark.parametrize("profile", PROFILE_DEFAULTS)
def test_profile_sets_only_existing_settings_to_valid_values(profile: str) -> None:
    settings = load({"VOICE_PROFILE": profile})
    values = {f"{section}.{name}": value for section, name, value in walk(settings)}
    for name, value in PROFILE_DEFAULTS[profile].items():
        assert values[name] == value


# Bounds


def test_every_setting_has_its_allowed_values_in_the_table_above() -> None:
    assert {name: allowed(field) for name, field in FIELDS.items()} == ALLOWED


@pytest.mark.parametrize("profile", PROFILE_DEFAULTS)
@pytest.mark.parametrize(("name", "value"), EVERY_WRONG_VALUE)
def test_value_out_of_bounds_is_refused_by_name_with_the_allowed_values(
    profile: str, name: str, value: str
) -> None:
    environ = {"VOICE_PROFILE": profile} | {variable(name): value}
    why = refusals(environ)[variable(name)]
    assert why.endswith(f" is not {ALLOWED[name]}")


def test_every_setting_but_paths_of_files_can_be_wrong() -> None:
    free = {
        "gateway.token_file",
        "gateway.token_store",
        "gateway.tls_certificate",
        "gateway.tls_key",
        "gateway.tls_client_ca",
        "gateway.start_closed_file",
        "audit.folder",
    }
    assert {name for name, _ in EVERY_WRONG_VALUE} == FIELDS.keys() - free


@pytest.mark.parametrize("name", NUMBERS)
def test_number_has_a_lower_and_an_upper_bound_which_are_allowed(name: str) -> None:
    field = FIELDS[name]
    (low,) = [b for b in field.metadata if isinstance(b, bounds.Ge | bounds.Gt)]
    (high,) = [b for b in field.metadata if isinstance(b, bounds.Le | bounds.Lt)]
    inside = [getattr(low, "ge", None), getattr(high, "le", None)]
    for value in inside:
        if value is not None:
            why = refusals({variable(name): str(value)}).get(variable(name), "")
            assert "is not a" not in why  # it may still contradict the default of another setting


@pytest.mark.parametrize("profile", PROFILE_DEFAULTS)
def test_language_other_than_english_is_refused_on_every_profile(profile: str) -> None:
    environ = {"VOICE_PROFILE": profile, "VOICE_LLM_LANGUAGE": "de"}
    assert refusals(environ) == {
        "VOICE_LLM_LANGUAGE": "'de' is not en (English); other languages are not supported"
    }


@pytest.mark.parametrize(
    ("environ", "name", "why"),
    [
        ({"GATEWAY_TLS_CERTIFICATE": "a.pem"}, "GATEWAY_TLS_KEY", "TLS needs both"),
        ({"GATEWAY_TLS_KEY": "a.pem"}, "GATEWAY_TLS_CERTIFICATE", "TLS needs both"),
        ({"GATEWAY_TLS_CLIENT_CA": "a.pem"}, "GATEWAY_TLS_CLIENT_CA", "need TLS"),
        (
            {"TURN_INCOMPLETE_STOP_SECONDS": "0.1"},
            "TURN_INCOMPLETE_STOP_SECONDS",
            "at least vad_stop_seconds (0.2)",
        ),
        (
            {"TURN_STOP_TIMEOUT_SECONDS": "1"},
            "TURN_STOP_TIMEOUT_SECONDS",
            "at least incomplete_stop_seconds (1.5)",
        ),
        (
            {"LLM_REPLY_TOKENS": "4096"},
            "LLM_CONTEXT_TOKENS",
            "above history_tokens + reply_tokens (5596)",
        ),
        (
            {"LLM_CONTEXT_TOKENS": "1660"},
            "LLM_CONTEXT_TOKENS",
            "above history_tokens + reply_tokens (1660)",
        ),
        (
            {"PROFILE": "gpu", "LLM_CONTEXT_TOKENS": "4096"},
            "LLM_CONTEXT_TOKENS",
            "above history_tokens + reply_tokens (4256)",
        ),
        (
            {"LLM_MIN_UTTERANCE_SECONDS": "2", "LLM_MAX_UTTERANCE_SECONDS": "2"},
            "LLM_MAX_UTTERANCE_SECONDS",
            "above min_utterance_seconds (2)",
        ),
        ({"LLM_DTYPE": "float32", "LLM_KV_DTYPE": "fp8"}, "LLM_KV_DTYPE", "set auto"),
        ({"LLM_DTYPE": "float32", "LLM_KV_DTYPE": "bfloat16"}, "LLM_KV_DTYPE", "set auto"),
        ({"TTS_DEVICE": "cuda"}, "TTS_DEVICE", "backend onnx does not support: set cpu"),
        ({"TTS_FIRST_PHRASE_WORDS": "15"}, "TTS_FIRST_PHRASE_WORDS", "at most phrase_words (14)"),
        (
            {"SUPERVISION_MAX_RESTARTS": "90"},
            "SUPERVISION_RESTART_WINDOW_SECONDS",
            "above max_restarts * start_seconds (1800)",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    environ: dict[str, str], name: str, why: str
) -> None:
    refused = refusals({f"VOICE_{key}": value for key, value in environ.items()})
    assert list(refused) == [f"VOICE_{name}"]
    assert why in refused[f"VOICE_{name}"]


def test_all_wrong_settings_are_reported_at_once(configured: Configured) -> None:
    refused = refusals(
        configured("[tts]\nspeed = 3\n[llm]\nreply_tokens = 300\n")
        | {
            "VOICE_GATEWAY_PRT": "1",
            "VOICE_GATEWAY_PORT": "99999",
            "VOICE_GATEWAY_MAX_SESSIONS": "-1",
            "VOICE_LLM_CONTEXT_TOKENS": "512",
            "VOICE_SUPERVISION_LOAD_SECONDS": "nan",
        }
    )
    assert list(refused) == [
        "VOICE_GATEWAY_PRT",
        "VOICE_GATEWAY_PORT",
        "VOICE_GATEWAY_MAX_SESSIONS",
        "VOICE_LLM_CONTEXT_TOKENS",
        "tts.speed",
        "VOICE_SUPERVISION_LOAD_SECONDS",
    ]


def test_long_value_is_cut_in_the_message() -> None:
    assert len(refusals({"VOICE_GATEWAY_PORT": "x" * 9_000})["VOICE_GATEWAY_PORT"]) < 120


@pytest.mark.parametrize("name", ["LLM_SYSTEM_PROMPT", "LLM_EXAMPLES", "LLM_GREETING"])
def test_refused_text_is_not_quoted(name: str) -> None:
    """Errors are logged, and what the model is told never is."""
    why = refusals({f"VOICE_{name}": "zanzibar" * 9_000})[f"VOICE_{name}"]
    assert why.startswith("a text of 72000 characters is not ") and "zanzibar" not in why


@pytest.mark.parametrize(
    "changes", [{"port": 0}, {"idle_seconds": float("nan")}, {"tls_key": "key.pem"}]
)
def test_section_cannot_be_built_with_a_wrong_value(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GatewayConfig(**changes)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        dataclasses.replace(GatewayConfig(), **changes)  # type: ignore[arg-type]


def test_extreme_values_fit_the_link_to_the_engines() -> None:
    """A request that the link refuses would fail in every turn instead of at the start."""
    for speed in (0.5, 2.0):
        message = {"request": 1, "text": "x" * 2_000, "voice": "x" * 200, "speed": speed}
        protocol.SpeakMessage.model_validate(message)
    prompt = ChatMessage("system", "x" * 16_000)
    for tokens, temperature in ((1, 0.0), (4096, 2.0)):
        generation = GenerateRequest((prompt,), tokens, temperature)
        protocol.GenerateMessage.model_validate({"request": 1, "generation": generation})


@pytest.mark.parametrize(
    ("voice", "parts"),
    [
        ("af_heart", (("af_heart", 1.0),)),
        ("af_heart:2, am_adam:0.5", (("af_heart", 2.0), ("am_adam", 0.5))),
    ],
)
def test_voice_is_parsed_into_names_and_weights(
    voice: str, parts: tuple[tuple[str, float], ...]
) -> None:
    assert parse_voice(voice) == parts
    assert load({"VOICE_TTS_VOICE": voice}).tts.voice == voice


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "voice-1.example", "fe80::1"])
def test_addresses_and_host_names_are_accepted(host: str) -> None:
    assert load({"VOICE_GATEWAY_HOST": host}).gateway.host == host


def test_dates_are_accepted_as_the_prompt_writes_them() -> None:
    assert load({"VOICE_LLM_TODAY": "26 Jul 2024"}).llm.today == "26 Jul 2024"


# Descriptions and the list


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_a_description(name: str) -> None:
    assert len(FIELDS[name].description or "") > 10


@pytest.mark.parametrize("name", NUMBERS)
def test_number_has_its_unit_in_its_type_or_a_description_of_its_scale(name: str) -> None:
    words = ("probability", "level", "multiple", "temperature", "port", "part")
    described = any(word in (FIELDS[name].description or "") for word in words)
    assert " of " in ALLOWED[name] or described


def test_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().gateway.port = 1  # type: ignore[misc]


def test_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_changelog_and_tag_of_this_commit_name_the_version() -> None:
    root = Path(__file__).parents[1]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings and headings[0] in ("Unreleased", VERSION)
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD", "v*"],
        cwd=root, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    assert tags in ([], [f"v{VERSION}"])
    assert not tags or VERSION in headings


def test_list_has_value_meaning_allowed_values_and_default_of_every_setting() -> None:
    text = render(load({"VOICE_GATEWAY_PORT": "9000"}))
    for name in FIELDS:
        assert f"{variable(name)} = " in text
        assert f"    {FIELDS[name].description}\n    {ALLOWED[name]}; default: " in text
    assert (
        "VOICE_GATEWAY_PORT = 9000\n    TCP port that clients connect to\n"
        "    a whole number from 1 to 65535; default: 8765\n"
    ) in text
    assert "VOICE_LLM_TOOLS = current_time,end_call\n" in text
    assert "VOICE_TURN_HALF_DUPLEX = false\n" in text


def test_list_shows_the_defaults_of_the_profile() -> None:
    text = render(load({"VOICE_PROFILE": "gpu"}))
    assert f"VOICE_LLM_MODEL = {LLMConfig().model}" not in text
    assert "VOICE_GATEWAY_MAX_SESSIONS = 8\n" in text
    assert "a whole number of sessions from 1 to 1000; default: 8" in text
