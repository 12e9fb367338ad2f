"""The points of the CIS benchmarks in docs/security.md hold in every file that runs the container.

The numbers are those of docker/docker-bench-security. Points about the host and about the daemon
are the site's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.units import reading
from tests.units.reading import OPS, PROFILES, RunLine

ROOT = OPS.parent
UNITS = OPS / "units"
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FILES = (
    "voice-appliance.service",
    "voice-appliance-docker.service",
    "voice-appliance.container",
    "compose.yaml",
    "host.flags",
    "kubernetes.yaml",
)
# Folders of the host whose content decides what the host does; single files of ours are below /etc.
SENSITIVE = re.compile(r"^/(boot|dev|lib|proc|sys|usr|var/run|run|etc)?/?:")
CHECKED_MOUNTS = {"/etc/localtime:/etc/localtime:ro"}


@dataclass(frozen=True)
class Runner:
    """One file that runs the container: its text without comments, and what it says."""

    text: str
    line: RunLine
    pod: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        return dict(self.pod["containers"][0]) if self.pod else {}


def runner(profile: str, name: str) -> Runner:
    path = UNITS / profile / name
    sources = [path] if name != "host.flags" else [path, OPS / "container.flags"]
    lines = [line for each in sources for line in each.read_text(encoding="utf-8").splitlines()]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    if name == "kubernetes.yaml":
        objects = reading.documents(path)
        template = objects["Deployment/voice-appliance"]["spec"]["template"]
        return Runner(text, RunLine(), template["spec"])
    readers: dict[str, Callable[[], RunLine]] = {
        "compose.yaml": lambda: reading.from_compose(path),
        "voice-appliance.container": lambda: reading.from_quadlet(path),
        "host.flags": lambda: reading.from_flag_files(profile),
    }
    read = readers.get(name, lambda: reading.from_service(path))
    return Runner(text, read(), {})


def has_user(run: Runner) -> bool:
    if run.pod:
        return bool(run.pod["securityContext"]["runAsUser"] == 10001)
    return "\nUSER 10001:10001\n" in DOCKERFILE and not re.search(
        r"--user|^User=|\buser:", run.text
    )


def has_health_check(run: Runner) -> bool:
    if run.pod:
        return {"startupProbe", "readinessProbe", "livenessProbe"} <= set(run.container)
    return run.line.health[0] == "python -m appliance health" and run.line.health[1] > 0


def mounts_nothing_sensitive(run: Runner) -> bool:
    if run.pod:
        return all("hostPath" not in volume for volume in run.pod["volumes"])
    return not [mount for mount in run.line.mounts - CHECKED_MOUNTS if SENSITIVE.match(mount)]


def limits_memory(run: Runner) -> bool:
    if run.pod:
        return bool(run.container["resources"]["limits"]["memory"])
    return 0 < run.line.memory == run.line.swap


def restricts_restarts(run: Runner) -> bool:
    """Ends after some failures: by the unit, voicectl or Kubernetes' growing waits.

    Compose is the exception that docs/security.md names.
    """
    return "--restart=always" not in run.text and "restart: always" not in run.text


def has_no_secret(run: Runner) -> bool:
    """Secrets are files, and no variable in the files or the image could be one."""
    names = re.findall(r"[A-Z_]{3,}(?==)", run.text + DOCKERFILE)
    secret = [name for name in names if re.search(r"TOKEN|KEY|SECRET|PASSWORD", name)]
    # Paths: the key of the certificate and the named tokens are mounted files, too.
    paths = ("_FILE", "_TLS_KEY", "_TOKEN_STORE")
    return {name for name in secret if not name.endswith(paths)} == set()


def drops_capabilities(run: Runner) -> bool:
    if run.pod:
        return bool(run.container["securityContext"]["capabilities"] == {"drop": ["ALL"]})
    return run.line.capabilities_dropped == "all" and not re.search(
        r"cap-add|AddCap|cap_add", run.text
    )


def reads_only(run: Runner) -> bool:
    if run.pod:
        return run.container["securityContext"]["readOnlyRootFilesystem"] is True
    return run.line.read_only


def gains_no_privileges(run: Runner) -> bool:
    if run.pod:
        return run.container["securityContext"]["allowPrivilegeEscalation"] is False
    return run.line.no_new_privileges


def limits_processes(run: Runner) -> bool:
    """Kubernetes has no such field: the kubelet's podPidsLimit."""
    return bool(run.pod) or run.line.processes > 0


def limits_core_dumps(run: Runner) -> bool:
    """Kubernetes has no such field: the processes set the limit themselves."""
    return bool(run.pod) or run.line.core == "0:0"


def serves_metrics_locally(run: Runner) -> bool:
    if run.pod:
        return "namespaceSelector" in run.text
    return run.line.ports == {8765: "", 9465: "127.0.0.1"}


def uses_gpu_devices_only(run: Runner) -> bool:
    return run.line.devices <= {"nvidia.com/gpu=all"}


def lacks(pattern: str) -> Callable[[Runner], bool]:
    return lambda run: re.search(pattern, run.text, re.IGNORECASE) is None


POINTS: dict[str, Callable[[Runner], bool]] = {
    "4.1": has_user,
    "4.6": has_health_check,
    "4.8": lambda _: "-perm /6000 -exec chmod a-s" in DOCKERFILE,
    "4.9": lambda _: re.search(r"^ADD ", DOCKERFILE, re.MULTILINE) is None,
    "4.10": has_no_secret,
    "5.4": drops_capabilities,
    "5.5": lacks(r"privileged(=|: *)true|--privileged"),
    "5.6": mounts_nothing_sensitive,
    "5.8": lambda run: all(port >= 1024 for port in run.line.ports),
    "5.10": lacks(r"--network=host|network_mode: host|Network=host|hostNetwork: true"),
    "5.11": limits_memory,
    "5.13": reads_only,
    "5.14": serves_metrics_locally,
    "5.15": restricts_restarts,
    "5.16": lacks(r"--pid=host|pid: host|hostPID: true"),
    "5.17": lacks(r"--ipc=host|ipc: host|hostIPC: true"),
    "5.18": uses_gpu_devices_only,
    "5.19": limits_core_dumps,
    "5.21": lacks(r"--uts=host|uts: host"),
    "5.22": lacks(r"seccomp[=:] *unconfined"),
    "5.26": gains_no_privileges,
    "5.29": limits_processes,
    "5.32": lacks(r"docker\.sock|podman\.sock|containerd\.sock"),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", FILES)
def test_every_cis_point_holds_in_every_unit(profile: str, name: str) -> None:
    run = runner(profile, name)
    assert [point for point, holds in POINTS.items() if not holds(run)] == []


def test_the_table_of_the_page_has_the_points_that_are_checked() -> None:
    rows = re.findall(r"^\| ([45]\.\d+) \| .+ \| .+ \|$", PAGE, re.MULTILINE)
    assert rows == list(POINTS)


@pytest.mark.parametrize(
    ("point", "bad"),
    [
        ("5.5", "--privileged"),
        ("5.10", "--network=host"),
        ("5.22", "--security-opt=seccomp=unconfined"),
        ("5.32", "--volume=/run/docker.sock:/run/docker.sock"),
        ("4.10", "--env=VOICE_TOKEN=x"),
        ("5.4", "--cap-add=SYS_ADMIN"),
    ],
)
def test_checks_see_a_bad_flag(point: str, bad: str) -> None:
    good = runner("cpu", "host.flags")
    assert not POINTS[point](Runner(f"{good.text}\n{bad}", good.line, {}))
