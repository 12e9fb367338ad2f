"""The support bundle."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from appliance import run_folder
from appliance.console.bundle import FOLDER, write_bundle
from appliance.errors import BadSetting
from appliance.settings import ExporterConfig, GatewayConfig, LLMConfig, PathsConfig, Settings
from tests.console import log_lines

ROOT = Path(__file__).parents[2]
CANARY = "zanzibar"
SITE_WORD = "Quetzalcoatl"  # in texts that the site has set


def write_and_unpack(folder: Path, *log: str) -> dict[str, str]:
    """Write a bundle of an appliance that is not running; return its files."""
    token = folder / "token"
    token.write_text("a-secret-token-of-an-operator")
    run = folder / "run"
    run.mkdir(exist_ok=True)
    run_folder.write_restarts(run, {"tts": 2})
    refused = BadSetting(name="gateway.token_file", why=f"no such file: {SITE_WORD}")
    run_folder.write_reason(run, refused)
    run_folder.write_failure(run, "gateway", refused)
    settings = Settings(
        paths=PathsConfig(run=run, lock=ROOT / "image-manifest.lock"),
        gateway=GatewayConfig(port=1, token_file=str(token)),
        exporter=ExporterConfig(port=1),
        llm=LLMConfig(system_prompt=f"You know {SITE_WORD}.", greeting=SITE_WORD, examples=""),
    )
    out = io.BytesIO()
    write_bundle(settings, log, out)
    out.seek(0)
    files = {}
    with tarfile.open(fileobj=out) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            files[entry.name.removeprefix(f"{FOLDER}/")] = content.read().decode()
    return files


def test_bundle_has_state_settings_packages_lock_host_and_log(tmp_path: Path) -> None:
    files = write_and_unpack(tmp_path, *log_lines.TEXTS)
    assert json.loads(files["status.json"])["exit_code"] in (3, 4)
    assert "VOICE_GATEWAY_PORT = 1" in files["settings.txt"]
    assert "prometheus_client==" in files["packages.txt"].replace("-", "_")
    assert json.loads(files["lock.txt"])["files"] > 0
    assert json.loads(files["run/restarts.json"]) == {"tts": 2}
    assert json.loads(files["run/gateway/failed.json"]) == {"reason": "bad_setting"}
    assert json.loads(files["run/reason.json"])["exit_code"] == 78
    assert json.loads(files["status.json"])["reason"]["reason"] == "bad_setting"
    assert "MemTotal" in files["host.txt"]
    assert "card" in files["plan.txt"].lower()
    events = [json.loads(line)["event"] for line in files["log.jsonl"].splitlines()]
    assert events.count("turn") == 2 and events[-1] == "lines left out"


def test_unavailable_part_says_so_in_its_file(tmp_path: Path) -> None:
    assert write_and_unpack(tmp_path)["metrics.txt"].startswith("not available: ")


def test_bundle_has_no_word_of_a_caller_and_no_secret(tmp_path: Path) -> None:
    lines = [
        log_lines.event(1, "turn", user_text=f"my name is {CANARY}", turn=1),
        log_lines.event(2, "library", message=CANARY),
        f"Traceback: {CANARY}",
        CANARY,
    ]
    for content in write_and_unpack(tmp_path, *lines).values():
        assert CANARY not in content
        assert "a-secret-token" not in content
        assert SITE_WORD not in content


def test_bundle_shows_numbers_and_the_lengths_of_texts(tmp_path: Path) -> None:
    settings = write_and_unpack(tmp_path)["settings.txt"]
    assert "VOICE_LLM_SYSTEM_PROMPT = (a text of 22 characters)" in settings
    assert "VOICE_LLM_MODEL = " in settings and "VOICE_GATEWAY_PORT = 1\n" in settings
