"""Docker, compose and Kubernetes accept what is theirs, as far as they are on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.units import reading
from tests.units.reading import OPS, PROFILES

UNITS = OPS / "units"
# Of the compose specification, what we use.
KNOWN = {
    "cap_drop": list,
    "container_name": str,
    "deploy": dict,
    "env_file": str,
    "environment": dict,
    "healthcheck": dict,
    "image": str,
    "logging": dict,
    "mem_limit": str,
    "memswap_limit": str,
    "pids_limit": int,
    "ports": list,
    "pull_policy": str,
    "read_only": bool,
    "restart": str,
    "security_opt": list,
    "shm_size": str,
    "stop_grace_period": str,
    "tmpfs": list,
    "volumes": list,
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("source", ["service", "flags"])
def test_docker_knows_every_flag(profile: str, source: str, tmp_path: Path) -> None:
    """Its command line is read before anybody looks for the daemon, which is not there."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("DOCKER'S FLAGS ARE NOT CHECKED: NO docker ON THIS MACHINE")
    (tmp_path / "appliance.env").write_text("")
    if source == "service":
        service = reading.unit(UNITS / profile / "voice-appliance-docker.service")["Service"]
        (line,) = reading.values(service, "ExecStart")
        flags = shlex.split(line.replace("/etc/voice-appliance/appliance", f"{tmp_path}/appliance"))
    else:
        paths = (OPS / "container.flags", UNITS / profile / "host.flags")
        lines = [line for path in paths for line in path.read_text().splitlines()]
        flags = [docker, "run", *(line for line in lines if line.startswith("--")), "image"]
    asked = subprocess.run(
        [docker, *flags[1:]],
        env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "docker daemon" in asked.stderr.lower(), asked.stderr
    assert "unknown flag" not in asked.stderr


def compose_file(profile: str) -> dict[str, Any]:
    text = (UNITS / profile / "compose.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_compose_file_has_only_keys_of_its_specification(profile: str) -> None:
    found = compose_file(profile)
    assert set(found) == {"name", "services"}
    (service,) = found["services"].values()
    assert {name for name in service if not isinstance(service[name], KNOWN.get(name, ()))} == set()
    assert set(service["healthcheck"]) == {"test", "interval", "timeout", "retries", "start_period"}


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_reads_it(profile: str, tmp_path: Path) -> None:
    compose = [os.environ.get("COMPOSE") or shutil.which("docker-compose") or "docker", "compose"]
    if compose[0] != "docker":
        compose.pop()
    tried = subprocess.run([*compose, "version"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("COMPOSE IS NOT RUN: NO docker compose ON THIS MACHINE (set COMPOSE)")
    text = (UNITS / profile / "compose.yaml").read_text(encoding="utf-8")
    (tmp_path / "appliance.env").write_text("")
    path = tmp_path / "compose.yaml"
    path.write_text(text.replace("/etc/voice-appliance/appliance", f"{tmp_path}/appliance"))
    command = [*compose, "--file", str(path), "config", "--quiet"]
    read = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_manifest_fits_kubernetes_schemas(profile: str) -> None:
    """Set KUBERNETES_VALIDATE to the program of that name where the package is elsewhere."""
    beside = Path(sys.executable).with_name("kubernetes-validate")
    program = os.environ.get("KUBERNETES_VALIDATE") or (str(beside) if beside.exists() else "")
    if not program:
        pytest.skip("THE MANIFEST IS NOT CHECKED AGAINST SCHEMAS: NO kubernetes-validate HERE")
    command = [program, "--strict", str(UNITS / profile / "kubernetes.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stderr.count(" passed ") + checked.stdout.count(" passed ") == 7


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_leaves_the_pod_and_only_calls_and_scrapes_come_in(profile: str) -> None:
    found = reading.documents(UNITS / profile / "kubernetes.yaml")
    policy = found["NetworkPolicy/voice-appliance"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert ports == {8765, 9465}
    template = found["Deployment/voice-appliance"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_pod_has_no_right_that_a_restricted_namespace_would_refuse(profile: str) -> None:
    found = reading.documents(UNITS / profile / "kubernetes.yaml")
    labels = found["Namespace/voice-appliance"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = found["Deployment/voice-appliance"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"emptyDir", "secret"}
    assert pod["automountServiceAccountToken"] is False
    # Kubernetes would name a VOICE_APPLIANCE_PORT to it, which is no setting: it would not start.
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("profile", PROFILES)
def test_a_replica_is_drained_before_it_goes_and_one_at_a_time(profile: str) -> None:
    found = reading.documents(UNITS / profile / "kubernetes.yaml")
    deployment = found["Deployment/voice-appliance"]["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    budget = found["PodDisruptionBudget/voice-appliance"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    (container,) = deployment["template"]["spec"]["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:5] == ["python", "-m", "appliance", "drain", "--wait"]
