"""`ops/smoke-test --here` on the real appliance, as its operator runs it; and on bad ones."""

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
from tests.e2e.appliance import ROOT, Appliance


@dataclass
class Run:
    """What an operator sees and has afterwards."""

    done: subprocess.CompletedProcess[str]
    out: Path

    @property
    def report(self) -> Path:
        (path,) = self.out.glob("smoke-test-*.json")
        return path

    @property
    def tree(self) -> dict[str, Any]:
        return dict(json.loads(self.report.read_text()))

    def states(self) -> dict[str, set[str]]:
        """The states of each check's results."""
        found: dict[str, set[str]] = {}
        for one in self.tree["checks"]:
            found.setdefault(one["check"], set()).add(one["state"])
        return found

    def failed(self) -> str:
        return "\n".join(
            f"{one['check']}: {one['found']}"
            for one in self.tree["checks"]
            if one["state"] == "fail"
        )


def smoke_test(folder: Path, appliance: Appliance, *options: str, **settings: str) -> Run:
    command = [ROOT / "ops/smoke-test", "--here", "--out", folder / "reports"]
    done = subprocess.run(
        [*map(str, command), *options],
        env=appliance.environment() | {"VOICE_ETC": str(folder / "etc")} | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    return Run(done, folder / "reports")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance")).start()
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="module")
def accepted(appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("accepted")
    wishes = ["--turns", "4", "--interruptions", "1", "--kill", *ANY_SPEED]
    return smoke_test(folder, appliance, *wishes)


def test_a_good_appliance_is_accepted(accepted: Run) -> None:
    assert accepted.done.returncode == 0, accepted.done.stdout + accepted.done.stderr
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
    assert "ACCEPTED" in accepted.done.stderr + accepted.done.stdout


def test_the_report_names_what_was_tested(accepted: Run) -> None:
    about = accepted.tree["about"]
    assert about["lock_sha256"]
    assert about["host"] == os.uname().nodename
    assert about["kernel"] == os.uname().release
    assert about["profile"] == "cpu"
    assert len(accepted.tree["turns"]) == 4
    assert all(turn["stages"] for turn in accepted.tree["turns"])
    assert len(accepted.tree["stops"]) == 1
    assert accepted.report.name.endswith("-passed.json")
    assert "The capital of France" in accepted.report.with_suffix(".html").read_text()


def test_every_process_was_killed_and_came_back(accepted: Run, appliance: Appliance) -> None:
    found = [one["found"] for one in accepted.tree["checks"] if one["check"] == "recovery"]
    for name in ("gateway", "llm", "tts", "exporter"):
        assert any(line.startswith(f"{name}: back after") for line in found)
        assert appliance.metric(f'voice_process_restarts_total{{process="{name}"}}') >= 1


@pytest.mark.parametrize("kind", ["json", "html"])
def test_the_report_is_signed_with_a_key_of_this_site(accepted: Run, kind: str) -> None:
    report = accepted.report.with_suffix(f".{kind}")

    def verified(content: bytes) -> bool:
        command = ["ssh-keygen", "-Y", "verify", "-n", "voice-appliance-report"]
        command += ["-I", "voice-appliance-site", "-f", str(accepted.out / "report_signers")]
        command += ["-s", f"{report}.sig"]
        return subprocess.run(command, input=content, capture_output=True).returncode == 0

    assert verified(report.read_bytes())
    assert not verified(report.read_bytes().replace(b"pass", b"fail"))
    key = accepted.out.parent / "etc/site_key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_the_words_of_the_test_are_in_no_log(accepted: Run, appliance: Appliance) -> None:
    log = appliance.log.read_text().lower()
    assert not [word for word in ("paris", "peter", "story") if word in log]


def test_a_changed_file_a_wrong_token_and_a_limit_are_each_named(
    accepted: Run, appliance: Appliance, tmp_path: Path
) -> None:
    """Beside the running appliance: what the test is pointed at is not what it should be."""
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
    assert run.done.returncode == 1
    assert json.loads(run.done.stdout) == run.tree
    assert run.report.name.endswith("-failed.json")
    failed = run.failed()
    assert f"{victim.relative_to(weights)} was changed" in failed
    assert "conversation: wrong or missing access token" in failed
    assert {name for name, states in run.states().items() if "fail" in states} == {
        "seal",
        "conversation",
        "interruption",
        "overload",
    }


def test_an_appliance_slower_than_its_limit_is_not_accepted(
    accepted: Run, appliance: Appliance, tmp_path: Path
) -> None:
    wishes = ["--interruptions=1", *ANY_SPEED, "--limit", "interruption_p95=0"]
    run = smoke_test(tmp_path, appliance, *wishes, "--skip=conversation,overload", "--quick-seal")
    assert run.done.returncode == 1
    assert run.failed().startswith("interruption: silent at the caller after")
    assert len(run.failed().splitlines()) == 1
    assert "sizes and names only" in str(run.tree["checks"])
    assert "NOT ACCEPTED" in run.done.stdout + run.done.stderr
