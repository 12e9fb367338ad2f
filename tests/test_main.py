"""The door: verbs, exit codes, and errors told without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from appliance import __main__ as door
from appliance import run_folder
from appliance.errors import MissingWeights, ModelSick, UnknownVoice
from appliance.settings import Settings, walk
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


def test_settings_prints_every_setting_with_its_value_default_and_meaning() -> None:
    done = appliance("settings", VOICE_GATEWAY_PORT="9000")
    assert done.returncode == 0
    for section, name, _ in walk(Settings()):
        assert f"VOICE_{section}_{name}".upper() + " = " in done.stdout
    assert "VOICE_GATEWAY_PORT = 9000\n    port to listen on (default: 8765)" in done.stdout


def test_an_error_of_the_catalogue_is_one_line_with_advice_and_its_exit_code() -> None:
    done = appliance("gateway", VOICE_GATEWAY_PRT="1")
    assert done.returncode == 78
    assert done.stderr == ""
    line = json.loads(done.stdout)
    assert line["reason"] == "bad_setting"
    assert "VOICE_GATEWAY_PORT" in line["what"]
    assert "python -m appliance settings" in line["advice"]
    assert line["exit_code"] == 78
    assert "trace" not in line


def test_on_a_terminal_an_error_is_told_to_a_person() -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "gateway"],
        env={**os.environ, "VOICE_GATEWAY_PRT": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    output, _ = process.communicate()
    told = os.read(ours, 4096).decode()
    os.close(ours)
    assert process.returncode == 78
    assert output == b""
    assert "did you mean VOICE_GATEWAY_PORT" in told
    assert "python -m appliance settings" in told
    assert "Traceback" not in told


def test_a_variable_that_would_record_callers_keeps_every_process_from_starting() -> None:
    done = appliance("gateway", PIPECAT_SMART_TURN_LOG_DATA="1")
    assert done.returncode == 78
    assert "PIPECAT_SMART_TURN_LOG_DATA" in json.loads(done.stdout)["what"]


def test_help_names_every_verb() -> None:
    done = appliance("--help")
    assert done.returncode == 0
    for verb in door.VERBS:
        assert f"\n    {verb}" in done.stdout


def test_a_plan_can_be_had_for_a_card_that_is_not_here_whatever_the_profile() -> None:
    done = appliance("plan", "--card", "L4", "--weights", "fp8")
    assert done.returncode == 0
    assert "NVIDIA L4" in done.stdout and "Kokoro" in done.stdout


def test_a_plan_that_is_refused_has_the_exit_code_of_the_engine() -> None:
    done = appliance("plan", "--card", "A10", "--weights", "fp8")
    assert done.returncode == 78
    assert json.loads(done.stdout)["reason"] == "bad_setting"


def test_an_unknown_verb_is_refused() -> None:
    assert appliance("sing").returncode == 2


ROOM = """
import os, sys
from appliance import __main__ as door
from appliance.errors import EngineBusy, MissingWeights, ModelSick, UnknownVoice

def room(given, asked):
    {body}

door.VERBS = {{"tts": door.Verb(room, "")}}
sys.exit(door.main(["tts"], os.environ))
"""


def room(body: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The door with a room of this body in place of tts's."""
    return subprocess.run(
        [sys.executable, "-c", ROOM.format(body=body)],
        env={**os.environ, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_room_gets_the_settings_and_runs_with_the_switches_set() -> None:
    body = "print(given.gateway.port, os.environ['ORT_DISABLE_TELEMETRY']); return 3"
    done = room(body, VOICE_GATEWAY_PORT="9000")
    assert done.stdout == "9000 1\n"
    assert done.returncode == 3


def test_a_defect_is_a_crash_in_the_log_without_its_words() -> None:
    done = room("raise ValueError('zanzibar')")
    assert done.returncode == 70
    assert "zanzibar" not in done.stdout + done.stderr
    line = json.loads(done.stdout)
    assert line["event"] == "crashed"
    assert line["error"] == "ValueError"


def test_stopping_from_the_keyboard_is_no_failure() -> None:
    done = room("raise KeyboardInterrupt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_refusal_to_start_is_left_for_boot(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert room("raise MissingWeights(path='a.onnx')", **supervised).returncode == 78
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), MissingWeights)
    assert room("raise UnknownVoice(voice='x', known='y')", **supervised).returncode == 78
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), UnknownVoice)


def test_an_engine_whose_model_is_sick_leaves_word_of_it(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert room("raise ModelSick(engine='tts')", **supervised).returncode == 70
    assert isinstance(run_folder.read_failure(tmp_path, "tts"), ModelSick)


def test_what_may_pass_by_itself_is_not_left_for_boot(tmp_path: Path) -> None:
    supervised = {"VOICE_PATHS_RUN": str(tmp_path), "SUPERVISOR_ENABLED": "1"}
    assert room("raise EngineBusy(engine='tts')", **supervised).returncode == 1
    assert run_folder.read_failure(tmp_path, "tts") is None


def test_a_process_started_by_hand_leaves_nothing_for_boot(tmp_path: Path) -> None:
    done = room("raise MissingWeights(path='a.onnx')", VOICE_PATHS_RUN=str(tmp_path))
    assert done.returncode == 78
    assert list(tmp_path.iterdir()) == []


def built_model(folder: Path) -> dict[str, str]:
    """The settings of a small production model, quantised, built and listed."""
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
    given = [str(word) for name, value in arguments.items() for word in (f"--{name}", value)]
    assert bundle(["ultravox", *given]) == 0
    return {
        "VOICE_PROFILE": "gpu",
        "VOICE_PATHS_WEIGHTS": str(folder / "weights"),
        "VOICE_PATHS_LOCK": str(lock),
        "VOICE_LLM_MODEL": "ultravox-tiny",
    }


def test_verify_says_that_the_production_model_is_whole_and_sound(tmp_path: Path) -> None:
    given = built_model(tmp_path)
    done = appliance("verify", **given)
    assert done.returncode == 0, done.stdout
    assert "seal intact" in done.stdout
    assert "every byte read" in done.stdout
    assert "model sound: ultravox-tiny, int8" in done.stdout
    assert "sizes and names only" in appliance("verify", "--quick", **given).stdout


def test_verify_refuses_a_sealed_model_that_would_answer_nonsense(tmp_path: Path) -> None:
    given = built_model(tmp_path)
    config = tmp_path / "weights" / "ultravox-tiny" / "config.json"
    tree = json.loads(config.read_text())
    tree["quantization_config"]["ignore"] = []
    config.write_text(json.dumps(tree))
    lock = Path(given["VOICE_PATHS_LOCK"])
    sealed = manifest.read(lock)
    weights = tuple(
        replace(weight, size_bytes=config.stat().st_size, sha256=sha256_of(config))
        if weight.path == "ultravox-tiny/config.json"
        else weight
        for weight in sealed.weights
    )
    lock.write_text(manifest.render(replace(sealed, weights=weights)))
    done = appliance("verify", **given)
    assert done.returncode == 78
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["reason"] == "bad_checkpoint"
    assert "ignore" in line["what"]
