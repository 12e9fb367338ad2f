"""The real image operated as the guide says, on a host without a route: activated, which includes
its acceptance test, looked at, and stopped; with what came in the release folder and nothing else.
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

import pytest

from tests.acceptance.test_here import ANY_SPEED
from tests.image.conftest import Delivered
from tests.image.sealed import LIMITS, USER, Network

SECONDS = 900  # for a start and an acceptance test on a busy machine
SPOKEN = ("paris", "france", "clara")


@dataclass(frozen=True)
class Site:
    """The host as its operator sees it."""

    delivered: Delivered
    etc: Path
    state: Path

    def voicectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.delivered.image.host.run(
            self.delivered.release / "voicectl",
            *words,
            timeout_seconds=SECONDS,
            VOICE_ETC=str(self.etc),
            VOICE_STATE=str(self.state),
            VOICE_SMOKE_TEST=str(self.etc / "smoke-test"),
        )


@pytest.fixture(scope="module")
def site(
    delivered: Delivered, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = Site(delivered, folder / "etc", folder / "state")
    made.etc.mkdir()
    token = made.etc / "token"
    token.write_text(secrets.token_urlsafe(32))
    os.chown(token, USER, USER)
    token.chmod(0o400)
    flags = (f"--network=ns:/run/netns/{network.inside}", *LIMITS)
    (made.etc / "host.flags").write_text("\n".join(flags) + "\n")
    few = made.etc / "smoke-test"  # fewer turns than it would speak by itself, at any speed
    options = " ".join(("--turns=4", "--interruptions=2", *ANY_SPEED))
    few.write_text(f'#!/bin/sh\nexec "{delivered.release}/smoke-test" {options} "$@"\n')
    few.chmod(0o755)
    yield made
    made.voicectl("stop")


@pytest.fixture(scope="module")
def activated(site: Site) -> str:
    """What voicectl printed as it made the release the one that runs."""
    done = site.voicectl("activate", "0.1.0-cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_accepted_before_it_counts_as_active(site: Site, activated: str) -> None:
    (report,) = (site.state / "reports").rglob("*.json")
    told = json.loads(report.read_text(encoding="utf-8"))
    failed = [check for check in told["checks"] if check["state"] == "fail"]
    assert failed == []
    print(activated)


def test_the_report_is_signed_and_names_what_was_tested(site: Site, activated: str) -> None:
    (report,) = (site.state / "reports").rglob("*.json")
    assert site.delivered.image.id in report.read_text(encoding="utf-8")
    assert list(report.parent.glob("*.html"))
    assert list(report.parent.glob("*.sig"))


def test_one_screen_tells_how_it_is(site: Site, activated: str) -> None:
    status = site.voicectl("status")
    print(status.stdout)
    assert status.returncode == 0
    for word in ("0.1.0", "gateway", "ultravox", "kokoro", "exporter", "guard", "activated"):
        assert word in status.stdout
    assert max(map(len, status.stdout.splitlines())) <= 80


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


def test_stopped_it_says_so_and_its_exit_code_too(site: Site, activated: str) -> None:
    assert site.voicectl("stop").returncode == 0
    stopped = site.voicectl("status")
    assert stopped.returncode == 3
    assert "inactive" in stopped.stdout
