"""systemd and quadlet accept the units, without a word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.units import quadlet, reading
from tests.units.reading import OPS, PROFILES

UNITS = OPS / "units"
SERVICES = [
    UNITS / profile / name
    for profile in PROFILES
    for name in ("voice-appliance.service", "voice-appliance-docker.service")
]
# What quadlet knows in [Container] since podman 4.5, of what we use (podman-systemd.unit(5)).
KNOWN = set(
    re.findall(
        r"\w+",
        """
        AddDevice ContainerName DropCapability Environment EnvironmentFile HealthCmd HealthInterval
        HealthRetries HealthStartPeriod HealthTimeout Image LogDriver Network NoNewPrivileges
        PodmanArgs PublishPort ReadOnly Timezone Tmpfs Volume
        """,
    )
)


def ids(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def verified(path: Path) -> str:
    """What systemd says of a unit; it exits with 0 even when it ignores a key."""
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


@pytest.fixture
def analyze() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("THE UNITS ARE NOT VERIFIED: NO systemd-analyze ON THIS MACHINE")


def here(path: Path, folder: Path) -> Path:
    """The unit with an engine that this machine has: which one a host has is its own affair."""
    text = re.sub(r"/usr/bin/(podman|docker)", "/bin/true", path.read_text(encoding="utf-8"))
    copy = folder / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("path", SERVICES, ids=ids)
def test_systemd_has_nothing_to_say_of_a_service(analyze: None, path: Path, tmp_path: Path) -> None:
    assert verified(here(path, tmp_path)) == ""


def test_systemd_would_say_so(analyze: None, tmp_path: Path) -> None:
    copy = here(SERVICES[0], tmp_path)
    copy.write_text(copy.read_text().replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in verified(copy)


@pytest.mark.parametrize("path", SERVICES, ids=ids)
def test_a_service_starts_again_only_where_that_helps(path: Path) -> None:
    sections = reading.unit(path)
    service = dict(sections["Service"])
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "78 79"
    assert int(dict(sections["Unit"])["StartLimitBurst"]) > 0
    assert int(service["TimeoutStopSec"]) > reading.from_service(path).stop
    assert int(service["LogRateLimitBurst"]) > 0


@pytest.mark.parametrize("profile", PROFILES)
def test_the_quadlet_has_only_keys_that_are_documented(profile: str) -> None:
    sections = reading.unit(UNITS / profile / "voice-appliance.container")
    assert {name for name, _ in sections["Container"]} <= KNOWN
    # The rest is systemd's own, and the same as where there is no quadlet.
    plain = reading.unit(UNITS / profile / "voice-appliance.service")
    assert set(sections["Service"]) <= set(plain["Service"])
    assert sections["Install"] == plain["Install"]
    for name in ("ExecStartPost", "Restart", "RestartPreventExitStatus", "TimeoutStopSec"):
        assert dict(sections["Service"])[name] == dict(plain["Service"])[name]


@pytest.fixture(scope="module")
def generator() -> Path:
    try:
        return quadlet.program()
    except (OSError, subprocess.SubprocessError) as problem:
        pytest.skip(f"QUADLET IS NOT RUN: NO PODMAN 4.4 HERE, NOR FROM DEBIAN 13: {problem}")


def generated(generator: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What quadlet would make of the one unit in the folder."""
    environ = os.environ | {"QUADLET_UNIT_DIRS": str(folder)}
    command = [str(generator), "-dryrun"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", PROFILES)
def test_quadlet_makes_a_service_of_it(generator: Path, profile: str, tmp_path: Path) -> None:
    shutil.copy(UNITS / profile / "voice-appliance.container", tmp_path)
    done = generated(generator, tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "voice-appliance.service"
    made.write_text(done.stdout.partition("---\n")[2], encoding="utf-8")
    service = dict(reading.unit(made)["Service"])
    assert service["Type"] == "notify"
    metrics = "--publish ${METRICS_ADDRESS}:9465:9465"  # systemd fills it in
    for wanted in ("--sdnotify=conmon", "--read-only", "--cap-drop all", "--memory=", metrics):
        assert wanted in service["ExecStart"]
    assert " --device nvidia.com/gpu=all " in service["ExecStart"] or profile == "cpu"


def test_quadlet_would_say_so(generator: Path, tmp_path: Path) -> None:
    text = (UNITS / "gpu/voice-appliance.container").read_text(encoding="utf-8")
    copy = tmp_path / "voice-appliance.container"
    copy.write_text(text.replace("HealthCmd", "HealthCommand"), encoding="utf-8")
    done = generated(generator, tmp_path)
    assert done.returncode == 1
    assert "unsupported key 'HealthCommand'" in done.stderr
