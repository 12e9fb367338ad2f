"""The real image operated as the guide says, on a host without a route, with what came in the
release folder and nothing else: activated, which includes its acceptance test, looked at, upgraded
to a release that is no good, and stopped.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.speed import ANY_SPEED
from tests.e2e.appliance import QUESTIONS
from tests.image.conftest import Delivered
from tests.image.sealed import LIMITS, USER, Network, say

SECONDS = 900  # for a start and an acceptance test on a busy machine
SPOKEN = ("paris", "france", "clara")
FIRST, NEXT = "0.1.0-cpu", "0.2.0-cpu"
WENT_BACK = 10


@dataclass(frozen=True)
class Site:
    """The host as its operator sees it."""

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
            VOICE_SMOKE_TEST=str(self.etc / "smoke-test"),
        )

    def accepts_after(self, *options: str) -> None:
        """Fewer checks than the acceptance would make by itself, at any speed."""
        wrapped = self.etc / "smoke-test"
        command = " ".join((str(self.delivered.release / "smoke-test"), *options, *ANY_SPEED))
        wrapped.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        wrapped.chmod(0o755)

    def report(self, verdict: str) -> dict[str, Any]:
        """The one report that says so: passed or failed."""
        (path,) = (self.state / "reports").glob(f"*-{verdict}.json")
        assert path.with_suffix(".html").exists()
        assert path.with_suffix(".json.sig").exists()
        return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def site(
    delivered: Delivered, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = Site(delivered, network, folder / "etc", folder / "state")
    made.etc.mkdir()
    token = made.etc / "token"
    token.write_text(secrets.token_urlsafe(32))
    os.chown(token, USER, USER)
    token.chmod(0o400)
    flags = (f"--network=ns:/run/netns/{network.inside}", *LIMITS)
    (made.etc / "host.flags").write_text("\n".join(flags) + "\n")
    made.accepts_after("--turns=4", "--interruptions=2")
    yield made
    made.voicectl("stop")


@pytest.fixture(scope="module")
def activated(site: Site) -> str:
    """What voicectl printed as it made the release the one that runs."""
    done = site.voicectl("activate", FIRST)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def failed(report: dict[str, Any]) -> list[str]:
    """What was not as it should be."""
    return [it["found"] for it in report["checks"] if it["state"] == "fail"]


def test_it_is_accepted_before_it_counts_as_active(site: Site, activated: str) -> None:
    report = site.report("passed")
    assert failed(report) == []
    assert site.delivered.image.id in str(report)
    print(activated)


def test_one_screen_tells_how_it_is(site: Site, activated: str) -> None:
    status = site.voicectl("status")
    print(status.stdout)
    assert status.returncode == 0
    for word in ("0.1.0", "gateway", "llm", "tts", "exporter", "guard", "activated"):
        assert word in status.stdout
    assert max(map(len, status.stdout.splitlines())) <= 80


def test_the_first_call_is_made_in_writing_with_the_client_that_is_inside(
    site: Site, activated: str
) -> None:
    asked = site.delivered.image.host.run(
        *("podman", "exec", "voice-appliance", "python", "-m", "client", "ask"),
        *("What is the capital of France?", "--token-file", "/run/secrets/voice-token"),
    )
    assert asked.returncode == 0, asked.stderr
    assert "Paris" in asked.stdout


def test_the_calls_of_the_acceptance_can_be_traced_afterwards(site: Site, activated: str) -> None:
    calls = site.voicectl("trace")
    assert calls.returncode == 0, calls.stderr
    session = re.search(r"\b[0-9a-f]{12}\b", calls.stdout)
    assert session, calls.stdout
    assert "answered" in site.voicectl("trace", session.group()).stdout


def test_a_bundle_for_support_holds_no_word_that_was_said(site: Site, activated: str) -> None:
    into = site.state / "bundle.tar.zst"
    made = site.voicectl("bundle", "--out", str(into))
    assert made.returncode == 0, made.stderr
    plain = site.state / "bundle.tar"
    subprocess.run(["zstd", "--quiet", "-d", into, "-o", plain], check=True)
    with tarfile.open(plain) as archive:
        # The acceptance's own report says what the acceptance said; that is no caller.
        files = [it for it in archive if it.isfile() and "/reports/" not in it.name]
        texts = [str(archive.extractfile(member).read()).lower() for member in files]  # type: ignore[union-attr]
    assert len(files) > 5
    assert '"event":"turn"' in "".join(texts).replace('": "', '":"')
    for word in SPOKEN:
        assert not any(re.search(rf"\b{word}\b", text) for text in texts), word


def test_drained_it_takes_no_calls_and_undone_it_does(site: Site, activated: str) -> None:
    assert site.voicectl("drain", "--wait", "30").returncode == 0
    assert site.voicectl("status").returncode == 3
    assert site.voicectl("drain", "--undo").returncode == 0
    assert site.voicectl("status").returncode == 0


@dataclass(frozen=True)
class Vain:
    """An upgrade that came to nothing: the next release, and what voicectl said."""

    image_id: str
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def rejected(site: Site, activated: str) -> Iterator[Vain]:
    """The next release starts and takes calls, but cuts every answer off after one word."""
    host, tag = site.delivered.image.host, f"localhost/voice-appliance:{NEXT}"
    container = host.must("buildah", "from", "--pull-never", f"localhost/voice-appliance:{FIRST}")
    version = f"org.opencontainers.image.version={NEXT.removesuffix('-cpu')}"
    fault = "VOICE_LLM_REPLY_TOKENS=1"
    host.must("buildah", "config", f"--label={version}", f"--env={fault}", container)
    host.must("buildah", "commit", "--quiet", "--rm", container, tag)
    site.accepts_after("--turns=4", "--skip=interruption,overload")
    done = site.voicectl("activate", NEXT)
    yield Vain(host.must("podman", "image", "inspect", "--format", "{{.Id}}", tag), done)
    host.must("podman", "rmi", "--force", tag)


def test_an_upgrade_that_answers_wrongly_goes_back_by_itself(site: Site, rejected: Vain) -> None:
    print(rejected.done.stdout + rejected.done.stderr)
    assert rejected.done.returncode == WENT_BACK
    assert f"{NEXT} failed: the smoke test ended with exit code 1" in rejected.done.stderr
    assert f"{FIRST} is current again, and takes calls" in rejected.done.stderr
    called = say(site.network, site.etc / "token", site.state, QUESTIONS[0])
    assert "paris" in called.turns[0]["reply_text"].lower(), called.stderr


def test_status_and_releases_show_the_old_one_and_nothing_is_gone(
    site: Site, rejected: Vain
) -> None:
    status = site.voicectl("status")
    assert status.returncode == 0
    assert f"Release: {FIRST}" in status.stdout
    assert NEXT not in status.stdout
    listed = json.loads(site.voicectl("releases", "--json").stdout)
    assert {it["release"]: it["slot"] for it in listed} == {FIRST: "current", NEXT: ""}
    ids = {it["id"].removeprefix("sha256:") for it in listed}
    assert ids == {site.delivered.image.id.removeprefix("sha256:"), rejected.image_id}


def test_the_report_of_the_one_that_failed_says_why_and_is_kept(site: Site, rejected: Vain) -> None:
    report = site.report("failed")
    assert rejected.image_id in str(report)
    assert "'What is the capital of France?' was answered 'The'" in failed(report)
    assert failed(site.report("passed")) == []


def test_stopped_it_says_so_and_its_exit_code_too(site: Site, activated: str) -> None:
    assert site.voicectl("stop").returncode == 0
    stopped = site.voicectl("status")
    assert stopped.returncode == 3
    assert "inactive" in stopped.stdout
