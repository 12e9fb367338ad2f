"""The support bundle."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from appliance import run_folder
from appliance.console.bundle import FOLDER, write
from appliance.settings import ExporterConfig, GatewayConfig, PathsConfig, Settings
from tests.console import recorded

ROOT = Path(__file__).parents[2]
CANARY = "zanzibar"


def bundled(folder: Path, *log: str) -> dict[str, str]:
    """The files of a bundle of an appliance that does not run."""
    token = folder / "token"
    token.write_text("a-secret-token-of-an-operator")
    run = folder / "run"
    run.mkdir(exist_ok=True)
    run_folder.write_restarts(run, {"tts": 2})
    given = Settings(
        paths=PathsConfig(run=run, lock=ROOT / "image-manifest.lock"),
        gateway=GatewayConfig(port=1, token_file=str(token)),
        exporter=ExporterConfig(port=1),
    )
    out = io.BytesIO()
    write(given, log, out)
    out.seek(0)
    found = {}
    with tarfile.open(fileobj=out) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            found[entry.name.removeprefix(f"{FOLDER}/")] = content.read().decode()
    return found


def test_it_has_what_support_asks_for(tmp_path: Path) -> None:
    found = bundled(tmp_path, *recorded.TEXTS)
    assert json.loads(found["status.json"])["exit_code"] in (3, 4)
    assert "VOICE_GATEWAY_PORT = 1" in found["settings.txt"]
    assert "prometheus_client==" in found["packages.txt"].replace("-", "_")
    assert json.loads(found["lock.txt"])["files"] > 0
    assert json.loads(found["run/restarts.json"]) == {"tts": 2}
    assert "MemTotal" in found["host.txt"]
    assert "card" in found["plan.txt"].lower()
    events = [json.loads(line)["event"] for line in found["log.jsonl"].splitlines()]
    assert events.count("turn") == 2 and events[-1] == "lines left out"


def test_a_part_that_cannot_be_had_says_so_in_its_place(tmp_path: Path) -> None:
    assert bundled(tmp_path)["metrics.txt"].startswith("not available: ")


def test_nothing_of_a_caller_and_no_secret_is_in_it(tmp_path: Path) -> None:
    lines = [
        recorded.text(1, "turn", user_text=f"my name is {CANARY}", turn=1),
        recorded.text(2, "library", message=CANARY),
        f"Traceback: {CANARY}",
        CANARY,
    ]
    for content in bundled(tmp_path, *lines).values():
        assert CANARY not in content
        assert "a-secret-token" not in content
