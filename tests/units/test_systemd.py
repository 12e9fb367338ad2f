"""systemd and quadlet accept the units without warnings."""

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
    for name in (
        "voice-appliance.service",
        "voice-appliance@.service",
        "voice-appliance-docker.service",
        "voice-appliance-docker@.service",
    )
]
# The keys of [Container] in podman 4.5 that we use (podman-systemd.unit(5)).
QUADLET_KEYS = set(
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


def verify(path: Path) -> str:
    """Return the warnings of systemd; it exits with 0 even if it ignores a key."""
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


@pytest.fixture
def analyze() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("THE UNITS ARE NOT VERIFIED: NO systemd-analyze ON THIS MACHINE")


def without_engine(path: Path, folder: Path) -> Path:
    """Copy a unit and replace its engine by a program that every machine has."""
    text = re.sub(r"/usr/bin/(podman|docker)", "/bin/true", path.read_text(encoding="utf-8"))
    copy = folder / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("path", SERVICES, ids=ids)
def test_systemd_verifies_a_service_without_warnings(
    analyze: None, path: Path, tmp_path: Path
) -> None:
    assert verify(without_engine(path, tmp_path)) == ""


def test_systemd_warns_of_an_unknown_key(analyze: None, tmp_path: Path) -> None:
    copy = without_engine(SERVICES[0], tmp_path)
    copy.write_text(copy.read_text().replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in verify(copy)


@pytest.mark.parametrize("path", SERVICES, ids=ids)
def test_service_restarts_only_where_that_helps(path: Path) -> None:
    sections = reading.unit(path)
    service = dict(sections["Service"])
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "78 79"
    assert int(dict(sections["Unit"])["StartLimitBurst"]) > 0
    assert int(service["TimeoutStopSec"]) > reading.from_service(path).stop
    assert int(service["LogRateLimitBurst"]) > 0


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "name",
    [
        "voice-appliance.service",
        "voice-appliance@.service",
        "voice-appliance-docker.service",
        "voice-appliance-docker@.service",
        "voice-appliance.container",
        "voice-appliance@.container",
    ],
)
def test_container_engine_started_by_a_unit_dumps_no_core(profile: str, name: str) -> None:
    assert dict(reading.unit(UNITS / profile / name)["Service"])["LimitCORE"] == "0"


@pytest.mark.parametrize("profile", PROFILES)
def test_quadlet_has_only_documented_keys(profile: str) -> None:
    sections = reading.unit(UNITS / profile / "voice-appliance.container")
    assert {name for name, _ in sections["Container"]} <= QUADLET_KEYS
    # The other sections are systemd's, and the same as in the plain service.
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


def generate(generator: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run quadlet's generator on the unit in the folder."""
    environ = os.environ | {"QUADLET_UNIT_DIRS": str(folder)}
    command = [str(generator), "-dryrun"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", PROFILES)
def test_quadlet_generates_the_service(generator: Path, profile: str, tmp_path: Path) -> None:
    shutil.copy(UNITS / profile / "voice-appliance.container", tmp_path)
    done = generate(generator, tmp_path)
    assert done.returncode == 0, done.stderr
    service_path = tmp_path / "voice-appliance.service"
    service_path.write_text(done.stdout.partition("---\n")[2], encoding="utf-8")
    service = dict(reading.unit(service_path)["Service"])
    assert service["Type"] == "notify"
    metrics = "--publish ${METRICS_ADDRESS}:9465:9465"  # systemd substitutes it
    for wanted in ("--sdnotify=conmon", "--read-only", "--cap-drop all", "--memory=", metrics):
        assert wanted in service["ExecStart"]
    assert " --device nvidia.com/gpu=all " in service["ExecStart"] or profile == "cpu"


@pytest.mark.parametrize("profile", PROFILES)
def test_quadlet_generates_the_template(generator: Path, profile: str, tmp_path: Path) -> None:
    shutil.copy(UNITS / profile / "voice-appliance@.container", tmp_path)
    done = generate(generator, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "---voice-appliance@.service---" in done.stdout
    service_path = tmp_path / "voice-appliance@.service"
    service_path.write_text(done.stdout.partition("---\n")[2], encoding="utf-8")
    sections = dict(reading.unit(service_path))
    line = dict(sections["Service"])["ExecStart"]
    for wanted in (
        "--name voice-appliance-%i ",
        "--publish ${CALLS_PORT}:8765 ",
        "--publish ${METRICS_ADDRESS}:${METRICS_PORT}:9465 ",
    ):
        assert wanted in line, line
    assert line.endswith(" localhost/voice-appliance:current-%i")
    assert " --device nvidia.com/gpu=%i " in line or profile == "cpu"
    files = reading.get_all(sections["Service"], "EnvironmentFile")
    assert files == ["/etc/voice-appliance/instances/%i.env"]


def test_quadlet_rejects_an_unknown_key(generator: Path, tmp_path: Path) -> None:
    text = (UNITS / "gpu/voice-appliance.container").read_text(encoding="utf-8")
    copy = tmp_path / "voice-appliance.container"
    copy.write_text(text.replace("HealthCmd", "HealthCommand"), encoding="utf-8")
    done = generate(generator, tmp_path)
    assert done.returncode == 1
    assert "unsupported key 'HealthCommand'" in done.stderr
