"""The shipped Kubernetes manifest and systemd service, in a network without a default route.

`podman play kube` runs the unchanged manifest without a cluster. A stand-in for systemd runs the
commands of the service.
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

from appliance import settings
from tests.e2e.appliance import QUESTIONS
from tests.host.hosts import ROOT, USER
from tests.image import sealed
from tests.image.sealed import METRICS_PORT, PORT, ULIMITS, Built, Network
from tests.units import reading

MANIFEST = ROOT / "ops/units/cpu/kubernetes.yaml"
SERVICE = ROOT / "ops/units/cpu/voice-appliance.service"
CURRENT = "localhost/voice-appliance:current"
RELEASE = f"localhost/voice-appliance:{settings.VERSION}-cpu"
POD, CONTAINER = "voice-appliance-pod-0", "voice-appliance-pod-0-voice-appliance"
SECRET = "voice-appliance-token"
CERTIFICATES = "voice-appliance-tls"
READY_SECONDS = 300.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclasses.dataclass(frozen=True)
class IsolatedHost:
    """A host without a default route, on which the image is the current release."""

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

    def fetch(self, path: str, port: int) -> str:
        return sealed.fetch(self.network, path, port)


@pytest.fixture(scope="module")
def site(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedHost]:
    folder = tmp_path_factory.mktemp("site")
    # By default podman stores its networks in one folder for the whole machine.
    conf = (built.host.folder / "containers.conf").read_text()
    networks = f'[network]\nnetwork_config_dir = "{folder}/networks"\n'
    (folder / "containers.conf").write_text(conf + networks)
    built.host.must("podman", "tag", built.id.removeprefix("sha256:"), CURRENT, RELEASE)
    try:
        with sealed.network() as network:
            yield IsolatedHost(built, network, folder)
    finally:
        built.host.must("podman", "untag", CURRENT, CURRENT, RELEASE)


# --- the manifest


@pytest.fixture(scope="module")
def token(site: IsolatedHost) -> Path:
    path = site.folder / "token"
    path.write_text(secrets.token_urlsafe(32))
    return path


@pytest.fixture(scope="module")
def pod(site: IsolatedHost, token: Path) -> Iterator[IsolatedHost]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "data": {"voice-token": base64.b64encode(token.read_bytes()).decode()},
    }
    path = site.folder / "secret.yaml"
    path.write_text(yaml.safe_dump(secret))
    # podman 4.3 would mount the certificate in base64, too, so this pod is behind a proxy.
    manifest = site.folder / "kubernetes.yaml"
    text = MANIFEST.read_text(encoding="utf-8").replace(", scheme: HTTPS", "")
    last = "            - {name: VOICE_JOURNAL_FORMAT"
    setting = '            - {name: VOICE_GATEWAY_PLAIN_NETWORK, value: "true"}\n'
    assert last in text
    manifest.write_text(text.replace(last, setting + last))
    certificates = site.folder / "certificates.yaml"
    certificates.write_text(yaml.safe_dump(secret | {"metadata": {"name": CERTIFICATES}}))
    try:
        site.must("podman", "secret", "create", SECRET, path)
        site.must("podman", "secret", "create", CERTIFICATES, certificates)
        site.must("podman", "play", "kube", manifest)
        _wait_ready(site)
        yield site
    finally:
        site.run("podman", "pod", "rm", "--force", "--time=0", POD)
        site.run("podman", "secret", "rm", SECRET, CERTIFICATES)


def _wait_ready(site: IsolatedHost) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if site.fetch("/readyz", PORT):
            return
        time.sleep(0.5)
    log = site.run("podman", "logs", "--tail=20", CONTAINER)
    raise AssertionError(log.stdout + log.stderr)


def test_pod_answers_a_caller(pod: IsolatedHost, token: Path) -> None:
    # podman 4.3 mounts a Secret in base64, as written in the manifest; later versions decode it.
    inside = "/run/secrets/voice-appliance/voice-token"
    token.write_text(pod.must("podman", "exec", CONTAINER, "cat", inside))
    result = sealed.say(pod.network, token, pod.folder, QUESTIONS[0])
    assert result.exit_code == 0, result.stderr
    (turn,) = result.turns
    assert turn["outcome"] == "answered"
    assert "france" in turn["user_text"].lower()


def test_probes_of_the_manifest_succeed(pod: IsolatedHost) -> None:
    deployment = reading.documents(MANIFEST)["Deployment/voice-appliance"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = container[probe]["httpGet"]
        assert pod.fetch(request["path"], request["port"]), probe
    assert "voice_ready 1" in pod.fetch("/metrics", METRICS_PORT)


def test_pod_is_confined_as_the_manifest_says(pod: IsolatedHost) -> None:
    status = pod.must("podman", "exec", CONTAINER, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(USER)] * 4
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[kind], 16) == 0, kind
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    mounts = pod.must("podman", "exec", CONTAINER, "cat", "/proc/mounts")
    (root,) = (line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/")
    assert root.split(",")[0] == "ro"
    memory = pod.must("podman", "inspect", "--format={{.HostConfig.Memory}}", CONTAINER)
    assert int(memory) == reading.from_flag_files("cpu").memory


def test_pod_drains_on_pre_stop_and_stops_cleanly(pod: IsolatedHost) -> None:
    deployment = reading.documents(MANIFEST)["Deployment/voice-appliance"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    pod.must("podman", "exec", CONTAINER, *container["lifecycle"]["preStop"]["exec"]["command"])
    assert not pod.fetch("/readyz", PORT)
    assert pod.fetch("/healthz", PORT)
    stop = reading.from_flag_files("cpu").stop
    pod.must("podman", "pod", "stop", f"--time={stop}", POD)
    assert pod.must("podman", "inspect", "--format={{.State.ExitCode}}", CONTAINER) == "0"


# --- the service


class ServiceManager:
    """Runs the commands of the service as systemd does, and receives its notifications."""

    def __init__(self, site: IsolatedHost, etc: Path, environment: str = "") -> None:
        self._site = site
        self._etc = etc
        (etc / "tls").mkdir(parents=True)
        (etc / "runtime").mkdir()  # as RuntimeDirectory= does
        plain = "VOICE_GATEWAY_PLAIN_NETWORK=true\n"  # test_operating.py calls over TLS
        (etc / "appliance.env").write_text(plain + environment)
        token = etc / "token"
        token.write_text(secrets.token_urlsafe(32))
        os.chown(token, USER, USER)
        token.chmod(0o400)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(etc / "notify"))
        self._socket.settimeout(60)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the commands of one key in their order, until one fails."""
        for words in reading.commands(SERVICE, name):
            done = self._run(shlex.join(words))
            if done.returncode and not words[0].startswith("-"):
                break
        return done

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        line = line.removeprefix("-").replace("/etc/voice-appliance", str(self._etc))
        line = line.replace("/run/voice-appliance", str(self._etc / "runtime"))
        # journald does not run here.
        line = line.replace("--log-driver=journald", "--log-driver=k8s-file")
        line = line.replace("--ulimit=core=0:0", shlex.join(["--ulimit=core=0:0", *ULIMITS]))
        return self._site.run(*shlex.split(line), NOTIFY_SOCKET=str(self._etc / "notify"))

    def main_pid(self) -> int:
        """Wait for the notification that the container is running; return the main process."""
        received = ""
        while "READY=1" not in received or "MAINPID" not in received:
            received += self._socket.recv(4096).decode() + "\n"
        match = re.search(r"MAINPID=(\d+)", received)
        assert match
        return int(match[1])

    def close(self) -> None:
        self.run("ExecStopPost")
        self._socket.close()


@pytest.fixture
def orphans() -> Iterator[None]:
    """Adopt orphaned processes, as systemd does."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def wait_for_exit(pid: int) -> int:
    """Wait until the process ends; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_service_start_waits_until_ready_and_the_service_stops_cleanly(
    site: IsolatedHost, tmp_path: Path, orphans: None
) -> None:
    systemd = ServiceManager(site, tmp_path / "etc")
    try:
        assert systemd.run("ExecStartPre").returncode == 0
        folder = (tmp_path / "etc/access").stat()
        assert (folder.st_uid, folder.st_mode & 0o777) == (USER, 0o700)  # of the named tokens
        assert systemd.run("ExecStart").returncode == 0
        pid = systemd.main_pid()
        done = systemd.run("ExecStartPost")
        assert done.returncode == 0, done.stderr
        assert site.fetch("/readyz", PORT)
        assert not site.fetch("/metrics", METRICS_PORT)  # published on the host's loopback only
        url = f"http://127.0.0.1:{METRICS_PORT}/metrics"
        assert "voice_ready 1" in site.must("curl", "--silent", "--fail", "--max-time", "5", url)
        assert systemd.run("ExecStop").returncode == 0
        assert wait_for_exit(pid) == 0
    finally:
        systemd.close()


def test_bad_setting_gives_an_exit_code_that_prevents_a_restart(
    site: IsolatedHost, tmp_path: Path, orphans: None
) -> None:
    systemd = ServiceManager(site, tmp_path / "etc", "VOICE_NONSENSE=1\n")
    try:
        systemd.run("ExecStartPre")
        systemd.run("ExecStart")
        pid = systemd.main_pid()
        assert systemd.run("ExecStartPost").returncode != 0
        (final,) = reading.get_all(reading.unit(SERVICE)["Service"], "RestartPreventExitStatus")
        assert str(wait_for_exit(pid)) in final.split()
    finally:
        systemd.close()
