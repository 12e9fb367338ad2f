"""Docker, compose and Kubernetes accept what is theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.units import reading
from tests.units.reading import OPS, PROFILES

UNITS = OPS / "units"
VALIDATORS = {  # with the schemas in their packages
    "compose.yaml": ("check_jsonschema", "--builtin-schema=vendor.compose-spec"),
    "kubernetes.yaml": ("kubernetes_validate", "--strict"),
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
        words = reading.command(UNITS / profile / "voice-appliance-docker.service", "ExecStart")
        env_file = f"--env-file={tmp_path}/appliance.env"
        flags = [env_file if word.startswith("--env-file=") else word for word in words]
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


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    """What the validator of a file of that name says."""
    command = [sys.executable, "-m", *VALIDATORS[path.name], str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", VALIDATORS)
def test_the_file_fits_the_schemas_of_its_kind(profile: str, name: str) -> None:
    checked = validated(UNITS / profile / name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    if name == "kubernetes.yaml":
        assert checked.stdout.count(" passed ") == 7


@pytest.mark.parametrize(
    ("name", "key"), [("compose.yaml", "pids_limit"), ("kubernetes.yaml", "preStop")]
)
def test_its_validator_would_say_so(name: str, key: str, tmp_path: Path) -> None:
    text = (UNITS / "gpu" / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace(key, f"{key}s"), encoding="utf-8")
    checked = validated(tmp_path / name)
    assert checked.returncode == 1
    assert f"'{key}s' was unexpected" in checked.stdout + checked.stderr


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
