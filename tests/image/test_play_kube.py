"""The shipped units really run the image: the Kubernetes manifest, and the service line by line.

No cluster and no systemd is needed: `podman play kube` plays the manifest as it is, and the test
does what systemd would with the lines of the service. Both in a network without a route.
"""

from __future__ import annotations

import base64
import ctypes
import dataclasses
import os
import re
import secrets
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.appliance import QUESTIONS
from tests.image import sealed
from tests.image.hosts import ROOT
from tests.image.sealed import METRICS_PORT, PORT, USER, Built, Network
from tests.units import reading

MANIFEST = ROOT / "ops/units/cpu/kubernetes.yaml"
SERVICE = ROOT / "ops/units/cpu/voice-appliance.service"
CURRENT = "localhost/voice-appliance:current"
POD, CONTAINER = "voice-appliance-pod-0", "voice-appliance-pod-0-voice-appliance"
SECRET = "voice-appliance-token"
READY_SECONDS = 300.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclasses.dataclass(frozen=True)
class Site:
    """A host with the image as its current one, on which nothing else can be reached."""

    built: Built
    network: Network
    folder: Path

    def run(self, *command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        at = self.network.at(self.network.inside)
        conf = str(self.folder / "containers.conf")
        return self.built.host.run(*at, *command, **{"CONTAINERS_CONF": conf, **environ})

    def must(self, *command: str | Path) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def page(self, path: str, port: int) -> str:
        return sealed.page(self.network, path, port)


@pytest.fixture(scope="module")
def site(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    # podman notes its networks for the whole machine, unless it is told where.
    conf = (built.host.folder / "containers.conf").read_text()
    networks = f'[network]\nnetwork_config_dir = "{folder}/networks"\n'
    (folder / "containers.conf").write_text(conf + networks)
    built.host.must("podman", "tag", built.id.removeprefix("sha256:"), CURRENT)
    try:
        with sealed.network() as network:
            yield Site(built, network, folder)
    finally:
        built.host.must("podman", "untag", CURRENT, CURRENT)


# --- the manifest


@pytest.fixture(scope="module")
def token(site: Site) -> Path:
    path = site.folder / "token"
    path.write_text(secrets.token_urlsafe(32))
    return path


@pytest.fixture(scope="module")
def pod(site: Site, token: Path) -> Iterator[Site]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "data": {"voice-token": base64.b64encode(token.read_bytes()).decode()},
    }
    path = site.folder / "secret.yaml"
    path.write_text(yaml.safe_dump(secret))
    try:
        site.must("podman", "secret", "create", SECRET, path)
        site.must("podman", "play", "kube", MANIFEST)
        _wait_ready(site)
        yield site
    finally:
        site.run("podman", "pod", "rm", "--force", "--time=0", POD)
        site.run("podman", "secret", "rm", SECRET)


def _wait_ready(site: Site) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if site.page("/readyz", PORT):
            return
        time.sleep(0.5)
    log = site.run("podman", "logs", "--tail=20", CONTAINER)
    raise AssertionError(log.stdout + log.stderr)


def test_a_caller_is_answered_by_the_pod(pod: Site, token: Path) -> None:
    # podman 4.3 hands in a Secret as it is written, in base64; later ones decode it.
    inside = "/run/secrets/voice-appliance/voice-token"
    token.write_text(pod.must("podman", "exec", CONTAINER, "cat", inside))
    called = sealed.say(pod.network, token, pod.folder, QUESTIONS[0])
    assert called.exit_code == 0, called.stderr
    (turn,) = called.turns
    assert turn["outcome"] == "answered"
    assert "france" in turn["user_text"].lower()


def test_the_kubelet_finds_what_it_is_told_to_ask(pod: Site) -> None:
    deployment = reading.documents(MANIFEST)["Deployment/voice-appliance"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert pod.page(asked["path"], asked["port"]), probe
    assert "voice_ready 1" in pod.page("/metrics", METRICS_PORT)


def test_the_pod_is_confined_as_the_manifest_says(pod: Site) -> None:
    status = pod.must("podman", "exec", CONTAINER, "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split() == [str(USER)] * 4
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[kind], 16) == 0, kind
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    mounts = pod.must("podman", "exec", CONTAINER, "cat", "/proc/mounts")
    (root,) = (line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/")
    assert root.split(",")[0] == "ro"
    memory = pod.must("podman", "inspect", "--format={{.HostConfig.Memory}}", CONTAINER)
    assert int(memory) == reading.from_flag_files("cpu").memory


def test_the_pod_takes_no_more_calls_once_it_is_told_to_go_and_stops_in_order(pod: Site) -> None:
    deployment = reading.documents(MANIFEST)["Deployment/voice-appliance"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    pod.must("podman", "exec", CONTAINER, *container["lifecycle"]["preStop"]["exec"]["command"])
    assert not pod.page("/readyz", PORT)
    assert pod.page("/healthz", PORT)
    stop = reading.from_flag_files("cpu").stop
    pod.must("podman", "pod", "stop", f"--time={stop}", POD)
    assert pod.must("podman", "inspect", "--format={{.State.ExitCode}}", CONTAINER) == "0"


# --- the service


class Systemd:
    """Does with the lines of the service what systemd does, and hears what it would be told."""

    def __init__(self, site: Site, etc: Path, environment: str = "") -> None:
        self._site = site
        self._etc = etc
        (etc / "tls").mkdir(parents=True)
        (etc / "appliance.env").write_text(environment)
        token = etc / "token"
        token.write_text(secrets.token_urlsafe(32))
        os.chown(token, USER, USER)
        token.chmod(0o400)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(etc / "notify"))
        self._socket.settimeout(60)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        line = shlex.join(reading.command(SERVICE, name))
        line = line.removeprefix("-").replace("/etc/voice-appliance", str(self._etc))
        # There is no journal here.
        line = line.replace("--log-driver=journald", "--log-driver=k8s-file")
        return self._site.run(*shlex.split(line), NOTIFY_SOCKET=str(self._etc / "notify"))

    def started(self) -> int:
        """What is told once the container runs: the process whose exit code is the unit's."""
        told = ""
        while "READY=1" not in told or "MAINPID" not in told:
            told += self._socket.recv(4096).decode() + "\n"
        match = re.search(r"MAINPID=(\d+)", told)
        assert match
        return int(match[1])

    def close(self) -> None:
        self.run("ExecStopPost")
        self._socket.close()


@pytest.fixture
def orphans() -> Iterator[None]:
    """A process whose parent has ended is ours, as it would be systemd's."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_service_has_started_when_calls_are_taken_and_stops_in_order(
    site: Site, tmp_path: Path, orphans: None
) -> None:
    systemd = Systemd(site, tmp_path / "etc")
    try:
        assert systemd.run("ExecStartPre").returncode == 0
        assert systemd.run("ExecStart").returncode == 0
        pid = systemd.started()
        waited = systemd.run("ExecStartPost")
        assert waited.returncode == 0, waited.stderr
        assert site.page("/readyz", PORT)
        assert not site.page("/metrics", METRICS_PORT)  # they are read on the host itself
        here = f"http://127.0.0.1:{METRICS_PORT}/metrics"
        assert "voice_ready 1" in site.must("curl", "--silent", "--fail", "--max-time", "5", here)
        assert systemd.run("ExecStop").returncode == 0
        assert ended(pid) == 0
    finally:
        systemd.close()


def test_what_an_operator_has_to_put_right_is_the_units_exit_code(
    site: Site, tmp_path: Path, orphans: None
) -> None:
    systemd = Systemd(site, tmp_path / "etc", "VOICE_NONSENSE=1\n")
    try:
        systemd.run("ExecStartPre")
        systemd.run("ExecStart")
        pid = systemd.started()
        assert systemd.run("ExecStartPost").returncode != 0
        (final,) = reading.values(reading.unit(SERVICE)["Service"], "RestartPreventExitStatus")
        assert str(ended(pid)) in final.split()
    finally:
        systemd.close()
