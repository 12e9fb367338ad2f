"""Docker's client accepts the flags; the compose and Kubernetes files match their schemas."""

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
VALIDATORS = {  # schemas are in their Python packages: no network is needed
    "compose.yaml": ("check_jsonschema", "--builtin-schema=vendor.compose-spec"),
    "kubernetes.yaml": ("kubernetes_validate", "--strict"),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("source", ["service", "flags"])
def test_docker_accepts_every_flag(profile: str, source: str, tmp_path: Path) -> None:
    """No daemon runs here: a connection error means that the client accepted all flags."""
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
    answer = subprocess.run(
        [docker, *flags[1:]],
        env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "docker daemon" in answer.stderr.lower(), answer.stderr
    assert "unknown flag" not in answer.stderr


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the validator for files of this name."""
    command = [sys.executable, "-m", *VALIDATORS[path.name], str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", VALIDATORS)
def test_file_matches_its_schema(profile: str, name: str) -> None:
    checked = validate(UNITS / profile / name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    if name == "kubernetes.yaml":
        assert checked.stdout.count(" passed ") == 6


@pytest.mark.parametrize(
    ("name", "key"), [("compose.yaml", "pids_limit"), ("kubernetes.yaml", "preStop")]
)
def test_validator_rejects_an_unknown_key(name: str, key: str, tmp_path: Path) -> None:
    text = (UNITS / "gpu" / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace(key, f"{key}s"), encoding="utf-8")
    checked = validate(tmp_path / name)
    assert checked.returncode == 1
    assert f"'{key}s' was unexpected" in checked.stdout + checked.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_network_policy_allows_only_calls_and_scrapes_from_one_namespace(profile: str) -> None:
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    policy = objects["NetworkPolicy/voice-appliance"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    calls, scrapes = policy["ingress"]
    assert [port["port"] for port in calls["ports"]] == [8765]
    assert "from" not in calls  # everybody
    assert [port["port"] for port in scrapes["ports"]] == [9465]
    name = {"kubernetes.io/metadata.name": "monitoring"}
    assert scrapes["from"] == [{"namespaceSelector": {"matchLabels": name}}]
    template = objects["Deployment/voice-appliance"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]


@pytest.mark.parametrize("profile", PROFILES)
def test_pod_meets_the_restricted_security_standard(profile: str) -> None:
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    labels = objects["Namespace/voice-appliance"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = objects["Deployment/voice-appliance"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"emptyDir", "secret"}
    assert pod["automountServiceAccountToken"] is False
    # Otherwise Kubernetes sets VOICE_APPLIANCE_PORT, an unknown setting that prevents the start.
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("profile", PROFILES)
def test_replicas_are_drained_and_replaced_one_at_a_time(profile: str) -> None:
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    deployment = objects["Deployment/voice-appliance"]["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    budget = objects["PodDisruptionBudget/voice-appliance"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    (container,) = deployment["template"]["spec"]["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:5] == ["python", "-m", "appliance", "drain", "--wait"]


@pytest.mark.parametrize("profile", PROFILES)
def test_replicas_are_spread_over_the_nodes_that_have_what_they_need(profile: str) -> None:
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    deployment = objects["Deployment/voice-appliance"]["spec"]
    pod = deployment["template"]["spec"]
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"] == deployment["selector"]
    gpu = profile == "gpu"
    assert pod.get("runtimeClassName") == ("nvidia" if gpu else None)
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert pod.get("tolerations", []) == [taint] * gpu


@pytest.mark.parametrize("profile", PROFILES)
def test_rollback_restores_image_and_settings(profile: str) -> None:
    """Both are in the template that `kubectl rollout undo` restores, and the tag does not move."""
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    assert not any(key.startswith("ConfigMap/") for key in objects)
    (container,) = objects["Deployment/voice-appliance"]["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in container
    assert container["image"].rpartition(":")[2] not in ("current", "previous", "latest")
