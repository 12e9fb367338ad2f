"""The real image operated as docs/operations.md describes, on a host without a network.

Only the files of the release folder are used. The release is activated with its acceptance test,
inspected, upgraded to a broken release, and stopped.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.speed import ANY_SPEED
from tests.e2e.appliance import QUESTIONS
from tests.host.hosts import USER
from tests.image.conftest import Delivered
from tests.image.sealed import INSIDE, LIMITS, PORT, ULIMITS, Network, fetch, say

SECONDS = 900  # for a start and an acceptance test on a busy machine
SPOKEN = ("paris", "france", "clara")
FIRST, NEXT = "0.1.0-cpu", "0.2.0-cpu"
ROLLED_BACK = 10


@dataclass(frozen=True)
class ReleaseHost:
    """The host that the release was delivered to, as its operator sees it."""

    delivered: Delivered
    network: Network
    etc: Path
    state: Path

    def voicectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.delivered.image.host.run_within(
            SECONDS,
            self.delivered.release / "voicectl",
            *words,
            VOICE_ETC=str(self.etc),
            VOICE_STATE=str(self.state),
            VOICE_RUN=str(self.etc / "runtime"),
            VOICE_SMOKE_TEST=str(self.etc / "smoke-test"),
        )

    def set_smoke_test(self, *options: str) -> None:
        """Shorten the acceptance test, and let it accept any speed."""
        wrapped = self.etc / "smoke-test"
        command = " ".join((str(self.delivered.release / "smoke-test"), *options, *ANY_SPEED))
        wrapped.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        wrapped.chmod(0o755)

    def report(self, verdict: str) -> dict[str, Any]:
        """The only report with this verdict: passed or failed."""
        (path,) = (self.state / "reports").glob(f"*-{verdict}.json")
        assert path.with_suffix(".html").exists()
        assert path.with_suffix(".json.sig").exists()
        return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def site(
    delivered: Delivered, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReleaseHost]:
    folder = tmp_path_factory.mktemp("site")
    site = ReleaseHost(delivered, network, folder / "etc", folder / "state")
    site.etc.mkdir()
    token = site.etc / "token"
    token.write_text(secrets.token_urlsafe(32))
    os.chown(token, USER, USER)
    token.chmod(0o400)
    flags = (f"--network=ns:/run/netns/{network.inside}", *LIMITS, *ULIMITS)
    (site.etc / "host.flags").write_text("\n".join(flags) + "\n")
    site.set_smoke_test("--turns=4", "--interruptions=2")
    made = site.voicectl("tls", "init", "--name", INSIDE)
    assert made.returncode == 0, made.stdout + made.stderr
    yield site
    site.voicectl("stop")


@pytest.fixture(scope="module")
def activated(site: ReleaseHost) -> str:
    """The output of the activation."""
    done = site.voicectl("activate", FIRST)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def failed(report: dict[str, Any]) -> list[str]:
    """The findings of the failed checks."""
    return [check["found"] for check in report["checks"] if check["state"] == "fail"]


def test_activation_includes_a_passed_acceptance_test(site: ReleaseHost, activated: str) -> None:
    report = site.report("passed")
    assert failed(report) == []
    assert site.delivered.image.id in str(report)
    print(activated)


def test_status_fits_one_screen_and_names_all_processes(site: ReleaseHost, activated: str) -> None:
    status = site.voicectl("status")
    print(status.stdout)
    assert status.returncode == 0
    for word in ("0.1.0", "gateway", "llm", "tts", "exporter", "guard", "activated"):
        assert word in status.stdout
    assert max(map(len, status.stdout.splitlines())) <= 80


def test_client_in_the_image_makes_a_first_call_in_writing(
    site: ReleaseHost, activated: str
) -> None:
    answer = site.delivered.image.host.run(
        *("podman", "exec", "voice-appliance", "python", "-m", "client", "ask"),
        *("What is the capital of France?", "--token-file", "/run/secrets/voice-token"),
        *("--url", "wss://localhost:8765/ws", "--ca", "/run/secrets/tls/ca.pem"),
    )
    assert answer.returncode == 0, answer.stderr
    assert "Paris" in answer.stdout


def test_calls_are_encrypted_with_a_certificate_that_status_and_ca_pem_show(
    site: ReleaseHost, activated: str
) -> None:
    ca = site.etc / "tls/ca.pem"
    assert fetch(site.network, "/ca.pem", PORT, ca) == ca.read_text()
    assert "TLS: on; certificate valid until" in site.voicectl("status").stdout
    shown = site.voicectl("tls")
    assert shown.returncode == 0, shown.stderr
    assert INSIDE in shown.stdout and "(the CA of this site)" in shown.stdout
    assert (site.etc / "tls/key.pem").stat().st_uid == USER
    assert (site.etc / "tls/key.pem").stat().st_mode & 0o777 == 0o400


def test_renewed_certificate_is_served_without_a_restart(site: ReleaseHost, activated: str) -> None:
    renewed = site.voicectl("tls", "renew", "--force")
    assert renewed.returncode == 0, renewed.stderr
    deadline = time.monotonic() + 60
    while "new certificate loaded" not in site.voicectl("logs").stdout:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert '"takes_calls": true' in site.voicectl("status", "--json").stdout
    called = say(
        site.network, site.etc / "token", site.state, QUESTIONS[0], ca=site.etc / "tls/ca.pem"
    )
    assert "paris" in called.turns[0]["reply_text"].lower(), called.stderr


def test_calls_of_the_acceptance_test_can_be_traced(site: ReleaseHost, activated: str) -> None:
    calls = site.voicectl("trace")
    assert calls.returncode == 0, calls.stderr
    session = re.search(r"\b[0-9a-f]{12}\b", calls.stdout)
    assert session, calls.stdout
    assert "answered" in site.voicectl("trace", session.group()).stdout


def test_support_bundle_has_no_spoken_word(site: ReleaseHost, activated: str) -> None:
    into = site.state / "bundle.tar.zst"
    answer = site.voicectl("bundle", "--out", str(into))
    assert answer.returncode == 0, answer.stderr
    plain = site.state / "bundle.tar"
    subprocess.run(["zstd", "--quiet", "-d", into, "-o", plain], check=True)
    with tarfile.open(plain) as archive:
        # The acceptance report quotes the questions of the test itself, which are not a caller's.
        files = [file for file in archive if file.isfile() and "/reports/" not in file.name]
        texts = [str(archive.extractfile(member).read()).lower() for member in files]  # type: ignore[union-attr]
    assert len(files) > 5
    assert '"event":"turn"' in "".join(texts).replace('": "', '":"')
    for word in SPOKEN:
        assert not any(re.search(rf"\b{word}\b", text) for text in texts), word


def test_drained_appliance_takes_no_calls_until_undone(site: ReleaseHost, activated: str) -> None:
    assert site.voicectl("drain", "--wait", "30").returncode == 0
    assert site.voicectl("status").returncode == 3
    assert site.voicectl("drain", "--undo").returncode == 0
    assert site.voicectl("status").returncode == 0


@dataclass(frozen=True)
class FailedUpgrade:
    """An upgrade that failed: the image of the next release, and the result of voicectl."""

    image_id: str
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def rejected(site: ReleaseHost, activated: str) -> Iterator[FailedUpgrade]:
    """An upgrade to a release that takes calls but cuts every answer off after one word."""
    host, tag = site.delivered.image.host, f"localhost/voice-appliance:{NEXT}"
    container = host.must("buildah", "from", "--pull-never", f"localhost/voice-appliance:{FIRST}")
    version = f"org.opencontainers.image.version={NEXT.removesuffix('-cpu')}"
    fault = "VOICE_LLM_REPLY_TOKENS=1"
    host.must("buildah", "config", f"--label={version}", f"--env={fault}", container)
    host.must("buildah", "commit", "--quiet", "--rm", container, tag)
    # The seal was read in full when the first release was activated.
    site.set_smoke_test("--turns=4", "--quick-seal", "--skip=interruption,overload")
    done = site.voicectl("activate", NEXT)
    yield FailedUpgrade(host.must("podman", "image", "inspect", "--format", "{{.Id}}", tag), done)
    host.must("podman", "rmi", "--force", tag)


def test_upgrade_that_answers_wrongly_goes_back(site: ReleaseHost, rejected: FailedUpgrade) -> None:
    print(rejected.done.stdout + rejected.done.stderr)
    assert rejected.done.returncode == ROLLED_BACK
    assert f"{NEXT} failed: the smoke test exited with code 1" in rejected.done.stderr
    assert f"{FIRST} is current again, and accepts calls" in rejected.done.stderr
    called = say(
        site.network, site.etc / "token", site.state, QUESTIONS[0], ca=site.etc / "tls/ca.pem"
    )
    assert "paris" in called.turns[0]["reply_text"].lower(), called.stderr


def test_status_and_releases_show_the_old_release_as_current(
    site: ReleaseHost, rejected: FailedUpgrade
) -> None:
    status = site.voicectl("status")
    assert status.returncode == 0
    assert f"Release: {FIRST}" in status.stdout
    assert NEXT not in status.stdout
    listed = json.loads(site.voicectl("releases", "--json").stdout)
    slots = {release["release"]: release["slot"] for release in listed}
    assert slots == {FIRST: "current", NEXT: ""}
    ids = {release["id"].removeprefix("sha256:") for release in listed}
    assert ids == {site.delivered.image.id.removeprefix("sha256:"), rejected.image_id}


def test_report_of_the_failed_upgrade_is_kept_and_says_why(
    site: ReleaseHost, rejected: FailedUpgrade
) -> None:
    report = site.report("failed")
    assert rejected.image_id in str(report)
    assert "'What is the capital of France?' was answered 'The'" in failed(report)
    assert failed(site.report("passed")) == []


def test_stopped_appliance_is_inactive_with_exit_code_3(site: ReleaseHost, activated: str) -> None:
    assert site.voicectl("stop").returncode == 0
    stopped = site.voicectl("status")
    assert stopped.returncode == 3
    assert "inactive" in stopped.stdout
