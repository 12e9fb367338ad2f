"""`ops/smoke-test --here` on the real appliance, and on one with faults."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.speed import ANY_SPEED
from tests.conftest import FAST
from tests.e2e.appliance import ROOT, Appliance


@dataclass
class SmokeTestRun:
    """A finished run and its report folder."""

    process: subprocess.CompletedProcess[str]
    out: Path

    @property
    def report(self) -> Path:
        (path,) = self.out.glob("smoke-test-*.json")
        return path

    @property
    def tree(self) -> dict[str, Any]:
        return dict(json.loads(self.report.read_text()))

    def states(self) -> dict[str, set[str]]:
        """Return the result states by check."""
        states: dict[str, set[str]] = {}
        for result in self.tree["checks"]:
            states.setdefault(result["check"], set()).add(result["state"])
        return states

    def failed(self) -> str:
        return "\n".join(
            f"{result['check']}: {result['found']}"
            for result in self.tree["checks"]
            if result["state"] == "fail"
        )


def smoke_test(folder: Path, appliance: Appliance, *options: str, **settings: str) -> SmokeTestRun:
    command = [ROOT / "ops/smoke-test", "--here", "--out", folder / "reports"]
    process = subprocess.run(
        [*map(str, command), *options],
        env=appliance.environment() | {"VOICE_ETC": str(folder / "etc")} | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    return SmokeTestRun(process, folder / "reports")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance"), FAST).start()
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="module")
def accepted(appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> SmokeTestRun:
    folder = tmp_path_factory.mktemp("accepted")
    options = ["--turns", "4", "--interruptions", "1", "--kill", *ANY_SPEED]
    return smoke_test(folder, appliance, *options)


def test_intact_appliance_is_accepted(accepted: SmokeTestRun) -> None:
    assert accepted.process.returncode == 0, accepted.process.stdout + accepted.process.stderr
    assert accepted.states() == {
        "ready": {"pass"},
        "seal": {"pass"},
        "container": {"skipped"},
        "words": {"pass"},
        "memory": {"pass"},
        "latency": {"pass"},
        "interruption": {"pass"},
        "overload": {"pass"},
        "metrics": {"pass"},
        "recovery": {"pass"},
        "egress": {"pass"},
    }
    assert "ACCEPTED" in accepted.process.stderr + accepted.process.stdout


def test_report_names_what_was_tested(accepted: SmokeTestRun) -> None:
    about = accepted.tree["about"]
    assert about["lock_sha256"]
    assert about["host"] == os.uname().nodename
    assert about["kernel"] == os.uname().release
    assert about["profile"] == "cpu"
    assert len(accepted.tree["turns"]) >= 4  # a misheard question about the name is asked again
    assert all(turn["stages"] for turn in accepted.tree["turns"])
    assert len(accepted.tree["stops"]) == 1
    assert accepted.report.name.endswith("-passed.json")
    assert "Paris" in accepted.report.with_suffix(".html").read_text()


def test_every_process_was_killed_and_restarted(
    accepted: SmokeTestRun, appliance: Appliance
) -> None:
    checks = accepted.tree["checks"]
    findings = [result["found"] for result in checks if result["check"] == "recovery"]
    for name in ("gateway", "llm", "tts", "exporter"):
        assert any(line.startswith(f"{name}: recovered after") for line in findings)
        assert appliance.metric(f'voice_process_restarts_total{{process="{name}"}}') >= 1


@pytest.mark.parametrize("kind", ["json", "html"])
def test_report_is_signed_with_the_key_of_this_site(accepted: SmokeTestRun, kind: str) -> None:
    report = accepted.report.with_suffix(f".{kind}")

    def verify(content: bytes) -> bool:
        command = ["ssh-keygen", "-Y", "verify", "-n", "voice-appliance-report"]
        command += ["-I", "voice-appliance-site", "-f", str(accepted.out / "report_signers")]
        command += ["-s", f"{report}.sig"]
        return subprocess.run(command, input=content, capture_output=True).returncode == 0

    assert verify(report.read_bytes())
    assert not verify(report.read_bytes().replace(b"pass", b"fail"))
    key = accepted.out.parent / "etc/site_key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_words_of_the_conversation_are_not_in_the_log(
    accepted: SmokeTestRun, appliance: Appliance
) -> None:
    log = appliance.log.read_text().lower()
    assert not [word for word in ("paris", "peter", "story") if word in log]


def test_changed_weights_and_wrong_token_are_named(
    accepted: SmokeTestRun, appliance: Appliance, tmp_path: Path
) -> None:
    """The appliance is intact, but the test gets a changed weights folder and a wrong token."""
    weights = tmp_path / "weights"
    for path in (ROOT / "weights").rglob("*"):
        if path.is_file():
            link = weights / path.relative_to(ROOT / "weights")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    victim = min((path for path in weights.rglob("*.json")), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.unlink()
    victim.write_bytes(content)
    token = tmp_path / "token"
    token.write_text("not-the-right-token-at-all")
    run = smoke_test(
        tmp_path,
        appliance,
        "--json",
        VOICE_PATHS_WEIGHTS=str(weights),
        VOICE_GATEWAY_TOKEN_FILE=str(token),
    )
    assert run.process.returncode == 1
    assert json.loads(run.process.stdout) == run.tree
    assert run.report.name.endswith("-failed.json")
    failed = run.failed()
    assert f"{victim.relative_to(weights)} was changed" in failed
    assert "refused the call (401): The access token is missing or wrong" in failed
    assert {name for name, states in run.states().items() if "fail" in states} == {
        "seal",
        "conversation",
        "interruption",
        "overload",
    }


def test_appliance_slower_than_a_limit_is_not_accepted(
    accepted: SmokeTestRun, appliance: Appliance, tmp_path: Path
) -> None:
    options = ["--interruptions=1", *ANY_SPEED, "--limit", "interruption_p95=0"]
    run = smoke_test(tmp_path, appliance, *options, "--skip=conversation,overload", "--quick-seal")
    assert run.process.returncode == 1
    assert run.failed().startswith("interruption: silent at the caller after")
    assert len(run.failed().splitlines()) == 1
    assert "sizes and names only" in str(run.tree["checks"])
    assert "NOT ACCEPTED" in run.process.stdout + run.process.stderr
