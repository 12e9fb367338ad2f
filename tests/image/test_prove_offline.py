"""voicectl prove-offline: the real image keeps to itself, and one that does not is found out."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.egress_proof.statement import PHASES
from tests.host.hosts import OPS, USER, Host
from tests.host.test_docker import docker
from tests.image.sealed import LIMITS, ULIMITS, Built

__all__ = ["docker"]

SECONDS = 1500  # for a proof on a busy machine
REPOSITORY = "localhost/voice-appliance"
RELEASE, LEAKY, WAITING = "0.1.0-cpu", "0.1.1-cpu", "0.1.2-cpu"

# Sends one packet to an address that is for documentation only (RFC 5737), and ends.
LEAK = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("198.51.100.9", 4000))
"""
WAIT = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"


@dataclasses.dataclass(frozen=True)
class ProofSite:
    """A host with the real image, which is not running."""

    built: Built
    host: Host
    etc: Path
    state: Path
    engine: str = "podman"

    def command(self, *words: str) -> list[str]:
        return [str(OPS / "voicectl"), "--engine", self.engine, "prove-offline", *words]

    @property
    def environ(self) -> dict[str, str]:
        return {"VOICE_ETC": str(self.etc), "VOICE_STATE": str(self.state)}

    def prove(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.host.run_within(SECONDS, *self.command(*words), **self.environ)

    def statement(self, verdict: str, folder: Path) -> dict[str, Any]:
        """The only statement with a verdict; its two files have valid signatures."""
        (path,) = folder.glob(f"offline-proof-*-{verdict}.json")
        for signed in (path, path.with_suffix(".txt")):
            subprocess.run(
                ["ssh-keygen", "-Y", "verify", "-f", folder / "report_signers", "-n",
                 "voice-appliance-report", "-I", "voice-appliance-site", "-s", f"{signed}.sig"],
                input=signed.read_bytes(), check=True,
            )  # fmt: skip
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def containers(self) -> list[str]:
        return self.host.must(self.engine, "ps", "--all", "--format", "{{.Names}}").split()

    def tag_with_boot(self, release: str, program: str) -> None:
        """Make a release whose container runs a program instead of the appliance."""
        host = self.built.host
        container = host.must("buildah", "from", "--pull-never", self.built.tag)
        entrypoint = json.dumps(["python", "-c", program])
        host.must("buildah", "config", f"--entrypoint={entrypoint}", container)
        version = release.removesuffix("-cpu")
        host.must("buildah", "config", f"--label=org.opencontainers.image.version={version}",
                  container)  # fmt: skip
        host.must("buildah", "commit", "--quiet", "--rm", container, f"{REPOSITORY}:{release}")


@pytest.fixture(scope="module")
def proof_site(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProofSite]:
    folder = tmp_path_factory.mktemp("site")
    made = ProofSite(built, built.host, folder / "etc", folder / "state")
    made.etc.mkdir()
    token = made.etc / "token"
    token.write_text(secrets.token_urlsafe(32))
    os.chown(token, USER, USER)
    token.chmod(0o400)
    flags = ("--publish=8765:8765", *LIMITS, *ULIMITS)
    (made.etc / "host.flags").write_text("\n".join(flags) + "\n")
    built.host.must("podman", "tag", built.tag, f"{REPOSITORY}:{RELEASE}")
    made.tag_with_boot(LEAKY, LEAK)
    made.tag_with_boot(WAITING, WAIT)
    yield made
    for tag in (f"{REPOSITORY}:{release}" for release in (RELEASE, LEAKY, WAITING)):
        built.host.run("podman", "untag", tag, tag)  # with one name it would remove all tags


def check_leak(proof_site: ProofSite) -> None:
    """Prove a release that sends a packet: the proof fails and names it."""
    done = proof_site.prove(LEAKY)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT PROVEN: PACKETS LEFT." in done.stdout
    statement = proof_site.statement("failed", proof_site.state / "reports")
    (left,) = statement["left"]
    assert (left["protocol"], left["address"], left["port"]) == ("udp", "198.51.100.9", 4000)
    assert (left["packets"], left["phase"]) == (1, "boot")
    assert statement["problems"][0] == "packets that left: 1"
    assert statement["self_tests"]["watcher"]["not_seen"] == []
    assert proof_site.containers() == []


def test_one_packet_that_leaves_is_named_and_the_proof_fails(proof_site: ProofSite) -> None:
    check_leak(proof_site)


def test_docker_finds_a_packet_that_leaves_like_podman(
    proof_site: ProofSite, docker: Host, tmp_path: Path
) -> None:
    archive = docker.folder / "leaky.tar"
    proof_site.host.must("podman", "save", "--quiet", "--output", archive, f"{REPOSITORY}:{LEAKY}")
    docker.must("docker", "load", "--quiet", "--input", archive)
    archive.unlink()
    check_leak(dataclasses.replace(proof_site, host=docker, state=tmp_path, engine="docker"))


def test_interrupted_proof_leaves_neither_container_nor_statement(
    proof_site: ProofSite, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        proof_site.command("--out", str(tmp_path), WAITING),
        env=proof_site.built.host.environ | proof_site.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "--- boot\n" in process.stdout
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert proof_site.containers() == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_leaves_the_real_image(proof_site: ProofSite, tmp_path: Path) -> None:
    done = proof_site.prove("--json", "--out", str(tmp_path), RELEASE)
    print(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    statement = proof_site.statement("passed", tmp_path)
    assert json.loads(done.stdout) == statement
    assert statement["left"] == []
    assert statement["problems"] == []
    phases = {phase["name"]: phase for phase in statement["phases"]}
    assert tuple(phases) == PHASES
    assert all(phase["ok"] for phase in phases.values()), phases
    assert phases["calls"]["answered"] >= 1
    assert phases["calls after the failure"]["answered"] >= 1
    recovered = [check for check in phases["failure"]["checks"] if "recovered after" in check]
    assert {"llm", "tts"} <= {check.split(": ")[2] for check in recovered}
    for sender in ("watcher", "appliance"):
        assert statement["self_tests"][sender]["not_seen"] == []
        assert "DNS lookup" in statement["self_tests"][sender]["seen"]
    assert statement["watched"]["packets_not_recorded"] == 0
    about = statement["about"]
    assert about["image_id"].removeprefix("sha256:") == proof_site.built.id.removeprefix("sha256:")
    assert about["flags_left_out"] == "--publish=8765:8765"
    assert len(about["lock_sha256"]) == 64
    assert proof_site.containers() == []
