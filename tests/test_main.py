"""The command line: verbs, exit codes, and errors without a traceback."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import run_folder
from appliance.commands import COMMANDS
from appliance.errors import MissingWeights, ModelUnhealthy, UnknownVoice
from appliance.settings import FIELDS, variable
from appliance.weights import manifest
from appliance.weights.seal import sha256_of
from ops.bundle.__main__ import main as bundle
from tests.golden.parts import take_apart

ROOT = Path(__file__).parents[1]


def appliance(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        env={**os.environ, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_settings_lists_every_setting_with_its_meaning_and_allowed_values() -> None:
    done = appliance("settings", VOICE_GATEWAY_PORT="9000")
    assert done.returncode == 0
    for name in FIELDS:
        assert f"{variable(name)} = " in done.stdout
    assert "VOICE_GATEWAY_PORT = 9000\n    TCP port that clients connect to\n" in done.stdout


def test_settings_check_accepts_valid_settings_in_one_line() -> None:
    done = appliance("settings", "--check", VOICE_TTS_SPEED="1.2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "all settings are valid (profile cpu)\n"


def test_settings_check_prints_a_line_for_each_wrong_setting_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "voice.toml"
    file.write_text('profile = "gpu"\n[tts]\nspeed = 3\n[llm]\nlanguage = "de"\nmodl = "x"\n')
    done = appliance("settings", "--check", str(file), VOICE_GATEWAY_PORT="0")
    assert (done.returncode, done.stderr) == (78, "")
    assert done.stdout.splitlines() == [
        "llm.modl: there is no such setting (did you mean llm.model?)",
        "VOICE_GATEWAY_PORT: '0' is not a whole number from 1 to 65535",
        "llm.language: 'de' is not en (English); other languages are not supported",
        "tts.speed: 3 is not a number from 0.5 to 2",
    ]


def test_settings_check_prints_a_line_for_each_wrong_line_of_the_lexicon(tmp_path: Path) -> None:
    file = tmp_path / "lexicon.tsv"
    file.write_text("Kefzol\tkef zole\nKeflex\nAncef\t/2/\n")
    done = appliance("settings", "--check", VOICE_TTS_LEXICON_FILE=str(file))
    assert (done.returncode, done.stderr) == (78, "")
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{file}, line 2: it has 0 TABs")
    assert second == f"{file}, line 3: '2' is not a phoneme of the voice"


def test_boot_with_a_wrong_lexicon_starts_nothing(tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "lexicon.tsv"
    file.write_text("Keflex\n")
    done = appliance("boot", VOICE_PATHS_RUN=str(run), VOICE_TTS_LEXICON_FILE=str(file))
    assert done.returncode == 78
    assert json.loads(done.stdout)["reason"] == "bad_lexicon"
    assert not run.exists()


def test_settings_check_names_a_file_that_is_missing_as_it_was_given() -> None:
    done = appliance("settings", "--check", "none.toml")
    assert done.returncode == 78
    assert done.stdout.startswith("none.toml: ")
    done = appliance("settings", "--check", VOICE_CONFIG="none.toml")
    assert done.stdout.startswith("VOICE_CONFIG: none.toml: ")


def test_settings_check_needs_the_lock_only_to_know_the_voices(tmp_path: Path) -> None:
    anywhere = {"VOICE_PATHS_LOCK": str(tmp_path / "none"), "VOICE_PATHS_WEIGHTS": str(tmp_path)}
    assert appliance("settings", "--check", VOICE_TTS_VOICE="nobody", **anywhere).returncode == 0
    done = appliance("settings", "--check", VOICE_TTS_VOICE="af_heart:2,nobody")
    assert done.returncode == 78
    assert done.stdout.startswith("VOICE_TTS_VOICE: there is no voice 'nobody'; the voices are ")
    assert "am_adam" in done.stdout and len(done.stdout.splitlines()) == 1


def test_settings_check_reports_model_voice_network_and_lexicon_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lexicon.tsv"
    file.write_text("Keflex\n")
    done = appliance(
        *("settings", "--check"),
        VOICE_LLM_MODEL="none",
        VOICE_TTS_VOICE="nobody",
        VOICE_GATEWAY_HOST="0.0.0.0",
        VOICE_TTS_LEXICON_FILE=str(file),
    )
    assert (done.returncode, done.stderr) == (78, "")
    names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert names == [
        "VOICE_LLM_MODEL",
        "VOICE_TTS_VOICE",
        "gateway.tls_certificate",
        f"{file}, line 1",
    ]


@pytest.mark.parametrize("verb", ["boot", "gateway", "llm", "tts"])
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("VOICE_TTS_SPEED", "3", "0.5 to 2"),
        ("VOICE_LLM_TEMPERATURE", "3", "0 to 2"),
        ("VOICE_LLM_REPLY_TOKENS", "5000", "1 to 4096"),
        ("VOICE_GATEWAY_PORT", "99999", "1 to 65535"),
        ("VOICE_GATEWAY_MAX_SESSIONS", "-1", "1 to 1000"),
        ("VOICE_SUPERVISION_LOAD_SECONDS", "nan", "above 0, at most 86400"),
        ("VOICE_LLM_ENGINE", "whisper", "small, vllm"),
    ],
)
def test_process_with_a_wrong_setting_ends_at_once_and_starts_nothing(
    tmp_path: Path, verb: str, name: str, value: str, allowed: str
) -> None:
    """Processor time, because a shared machine may stall: a start takes 2 s of it and more."""
    run = tmp_path / "run"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = appliance(verb, VOICE_PATHS_RUN=str(run), **{name: value})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 78
    line = json.loads(done.stdout)
    assert line["event"] == "stopped by an error"
    assert name in line["what"] and value in line["what"] and allowed in line["what"]
    assert not run.exists()
    assert after.ru_utime - before.ru_utime < 2


def test_boot_with_a_voice_that_is_not_sealed_starts_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = appliance("boot", VOICE_PATHS_RUN=str(run), VOICE_TTS_VOICE="nobody")
    assert done.returncode == 78
    assert "there is no voice 'nobody'; the voices are af_alloy" in json.loads(done.stdout)["what"]
    assert not run.exists()


def test_every_wrong_setting_is_a_line_of_the_log() -> None:
    done = appliance("boot", VOICE_TTS_SPEED="3", VOICE_GATEWAY_PORT="0", VOICE_LLM_MODLE="x")
    assert done.returncode == 78
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["exit_code"] for line in lines} == {78}
    for name, line in zip(
        ("VOICE_LLM_MODLE", "VOICE_GATEWAY_PORT", "VOICE_TTS_SPEED"), lines, strict=True
    ):
        assert name in line["what"]


def test_error_of_the_catalogue_is_one_log_line_with_advice_and_its_exit_code() -> None:
    done = appliance("gateway", VOICE_GATEWAY_PRT="1")
    assert done.returncode == 78
    assert done.stderr == ""
    line = json.loads(done.stdout)
    assert line["reason"] == "bad_setting"
    assert "VOICE_GATEWAY_PORT" in line["what"]
    assert "python -m appliance settings" in line["advice"]
    assert line["exit_code"] == 78
    assert "trace" not in line


def test_error_on_a_terminal_is_written_for_a_person() -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "gateway"],
        env={**os.environ, "VOICE_GATEWAY_PRT": "1", "VOICE_TTS_SPEED": "3"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    output, _ = process.communicate()
    text = os.read(ours, 4096).decode()
    os.close(ours)
    assert process.returncode == 78
    assert output == b""
    assert "did you mean VOICE_GATEWAY_PORT" in text
    assert "VOICE_TTS_SPEED" in text
    assert text.count("python -m appliance settings") == 1
    assert "Traceback" not in text


def test_variable_that_would_record_callers_stops_every_process() -> None:
    done = appliance("gateway", PIPECAT_SMART_TURN_LOG_DATA="1")
    assert done.returncode == 78
    assert "PIPECAT_SMART_TURN_LOG_DATA" in json.loads(done.stdout)["what"]


def test_help_names_every_verb() -> None:
    done = appliance("--help")
    assert done.returncode == 0
    for verb in COMMANDS:
        assert f"\n    {verb}" in done.stdout


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_of_its_own(verb: str) -> None:
    done = appliance(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m appliance {verb}" in done.stdout


@pytest.mark.parametrize("verb", ["boot", "gateway", "llm", "tts", "exporter", "guard"])
def test_command_line_of_a_process_imports_no_other_package(verb: str) -> None:
    program = (
        f"import sys; from appliance import __main__ as c; c._parse([{verb!r}]); "
        "print(*sorted({m.split('.')[1] for m in sys.modules if m.startswith('appliance.')}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    common = {
        "__main__",
        "commands",
        "errors",
        "journal",
        "journal_fields",
        "core_dumps",
        "memory",
        "offline",
        "processes",
        "run_folder",
    }
    assert set(done.stdout.split()) <= common | {"settings"}


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        (["plan", "--card", "foo"], "RTX-4090"),
        (["plan", "--weights", "w2a16"], "w4a16"),
        (["smoke-test", "--skip", "foo"], "overload"),
        (["smoke-test", "--skip", "seal,foo"], "overload"),
    ],
)
def test_unknown_choice_is_a_usage_error_that_lists_the_choices(
    words: list[str], choice: str
) -> None:
    done = appliance(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {words[1]}: invalid choice: '" in done.stderr
    assert choice in done.stderr


def test_plan_for_another_card_works_on_every_profile() -> None:
    done = appliance("plan", "--card", "L4", "--weights", "fp8")
    assert done.returncode == 0
    assert "NVIDIA L4" in done.stdout and "Kokoro" in done.stdout


def test_plan_without_a_gpu_engine_names_the_profile() -> None:
    done = appliance("plan", "--card", "L4", VOICE_PROFILE="cpu")
    assert done.returncode == 78
    assert "VOICE_PROFILE=gpu" in json.loads(done.stdout)["what"]


def test_plan_that_is_refused_has_the_exit_code_of_the_engine() -> None:
    done = appliance("plan", "--card", "A10", "--weights", "fp8")
    assert done.returncode == 78
    assert json.loads(done.stdout)["reason"] == "bad_setting"


def test_unknown_verb_is_a_usage_error() -> None:
    assert appliance("sing").returncode == 2


@pytest.mark.parametrize("verb", ["guard", "smoke-test"])
def test_log_goes_to_stderr_where_stdout_is_for_something_else(verb: str) -> None:
    done = appliance(verb, VOICE_TTS_SPEED="3")
    assert (done.returncode, done.stdout) == (78, "")
    assert "VOICE_TTS_SPEED" in json.loads(done.stderr)["what"]


PROCESS = """
import os, sys
from appliance import __main__ as command_line
from appliance.commands.command import Command
from appliance.errors import EngineBusy, MissingWeights, ModelUnhealthy, UnknownVoice

def process(settings, args):
    {body}

command_line.COMMANDS = {{"tts": Command("", process)}}
sys.exit(command_line.main(["tts"], os.environ))
"""


def process(body: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the verb tts with this body in place of the engine."""
    return subprocess.run(
        [sys.executable, "-c", PROCESS.format(body=body)],
        env={**os.environ, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_verb_gets_the_settings_and_runs_with_the_offline_switches() -> None:
    body = "print(settings.gateway.port, os.environ['ORT_DISABLE_TELEMETRY']); return 3"
    done = process(body, VOICE_GATEWAY_PORT="9000")
    assert done.stdout == "9000 1\n"
    assert done.returncode == 3


def test_unexpected_exception_is_logged_as_a_crash_without_its_message() -> None:
    done = process("raise ValueError('zanzibar')")
    assert done.returncode == 70
    assert "zanzibar" not in done.stdout + done.stderr
    line = json.loads(done.stdout)
    assert line["event"] == "crashed"
    assert line["error"] == "ValueError"


def test_ctrl_c_ends_a_process_quietly_with_exit_code_0() -> None:
    done = process("raise KeyboardInterrupt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_supervised_process_that_cannot_start_leaves_its_reason_for_boot(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert process("raise MissingWeights(path='a.onnx')", **supervised).returncode == 78
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), MissingWeights)
    assert process("raise UnknownVoice(voice='x', known='y')", **supervised).returncode == 78
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), UnknownVoice)


def test_supervised_engine_with_a_sick_model_leaves_its_reason_for_boot(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert process("raise ModelUnhealthy(engine='tts')", **supervised).returncode == 70
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), ModelUnhealthy)


def test_error_that_a_restart_can_cure_is_not_left_for_boot(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert process("raise EngineBusy(engine='tts')", **supervised).returncode == 1
    assert run_folder.read_failure(tmp_path, "tts") is None


def test_process_without_supervisord_leaves_nothing_for_boot(tmp_path: Path) -> None:
    done = process("raise MissingWeights(path='a.onnx')", VOICE_PATHS_RUN=str(tmp_path))
    assert done.returncode == 78
    assert list(tmp_path.iterdir()) == []


def built_model(folder: Path) -> dict[str, str]:
    """Builds and locks a tiny quantised checkpoint; the settings that use it."""
    adapter, text, features = take_apart(folder / "downloaded", scheme="int8")
    lock = folder / "image-manifest.lock"
    arguments = {
        "adapter": adapter,
        "text": text,
        "features": features,
        "name": "ultravox-tiny",
        "weights": folder / "weights",
        "lock": lock,
        "cache": folder / "cache",
    }
    options = [f"--{name}={value}" for name, value in arguments.items()]
    assert bundle(["ultravox", *options]) == 0
    return {
        "VOICE_PROFILE": "gpu",
        "VOICE_PATHS_WEIGHTS": str(folder / "weights"),
        "VOICE_PATHS_LOCK": str(lock),
        "VOICE_LLM_MODEL": "ultravox-tiny",
    }


def test_verify_accepts_an_intact_and_sound_checkpoint(tmp_path: Path) -> None:
    environ = built_model(tmp_path)
    done = appliance("verify", **environ)
    assert done.returncode == 0, done.stdout
    assert "seal intact" in done.stdout
    assert "every byte read" in done.stdout
    assert "code not sealed: this is a development checkout" in done.stdout
    assert "model sound: ultravox-tiny, int8" in done.stdout
    assert "sizes and names only" in appliance("verify", "--quick", **environ).stdout


def test_verify_refuses_an_intact_checkpoint_that_would_answer_nonsense(tmp_path: Path) -> None:
    environ = built_model(tmp_path)
    config = tmp_path / "weights" / "ultravox-tiny" / "config.json"
    tree = json.loads(config.read_text())
    tree["quantization_config"]["ignore"] = []
    config.write_text(json.dumps(tree))
    lock = Path(environ["VOICE_PATHS_LOCK"])
    sealed = manifest.read(lock)
    weights = tuple(
        replace(weight, size_bytes=config.stat().st_size, sha256=sha256_of(config))
        if weight.path == "ultravox-tiny/config.json"
        else weight
        for weight in sealed.weights
    )
    lock.write_text(manifest.render(replace(sealed, weights=weights)))
    done = appliance("verify", **environ)
    assert done.returncode == 78
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["reason"] == "bad_checkpoint"
    assert "ignore" in line["what"]


def test_gateway_on_a_network_needs_a_certificate_and_the_check_says_so() -> None:
    network = {"VOICE_GATEWAY_HOST": "0.0.0.0"}
    done = appliance("settings", "--check", **network)
    assert done.returncode == 78
    assert "voicectl tls init" in done.stdout
    proxied = {**network, "VOICE_GATEWAY_PLAIN_NETWORK": "true"}
    assert appliance("settings", "--check", **proxied).returncode == 0
    done = appliance("boot", **network)
    assert done.returncode == 78
    assert "plain_network" in done.stdout + done.stderr
