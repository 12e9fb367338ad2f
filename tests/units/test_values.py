"""One place of values: every file says the same of how the appliance is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import errors, settings
from appliance.errors import ApplianceError
from appliance.supervision.boot import stop_seconds
from tests.units import reading
from tests.units.reading import OPS, PROFILES, Run, in_bytes

UNITS = OPS / "units"
MANIFEST = "Deployment/voice-appliance"


def values(profile: str) -> dict[str, Any]:
    return dict(reading.renderer().values(profile))


def expected(profile: str) -> Run:
    """What values.toml says."""
    given = values(profile)
    cache = given.get("cache", "")
    folders = {"/run": given["run_size"], "/tmp": given["tmp_size"]}
    environ = {}
    if cache:
        folders |= {cache: given["cache_size"], "/dev/shm": given["shm_size"]}
        environ = {
            "XDG_CACHE_HOME": cache,
            "VLLM_CACHE_ROOT": f"{cache}/vllm",
            "TRITON_CACHE_DIR": f"{cache}/triton",
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "CUDA_CACHE_PATH": f"{cache}/cuda",
        }
    return Run(
        image=given["image"],
        memory=in_bytes(given["memory"]),
        swap=in_bytes(given["memory"]),
        processes=given["pids"],
        stop=given["stop_seconds"],
        folders={path: in_bytes(size) for path, size in folders.items()},
        options={given["memory_options"] + ",mode=1777"},
        environ=environ,
        ports={given["calls_port"]: "", given["metrics_port"]: given["metrics_address"]},
        mounts={
            f"{given['etc']}/token:/run/secrets/voice-token:ro,z",
            f"{given['etc']}/tls:/run/secrets/tls:ro,z",
        },
        devices={given["device"]} if "device" in given else set(),
        health=(
            given["health_command"],
            given["health_interval_seconds"],
            given["health_timeout_seconds"],
            given["health_retries"],
            given["start_period_seconds"],
        ),
        read_only=True,
        capabilities_dropped="all",
        no_new_privileges=True,
    )


def test_the_files_are_as_rendered() -> None:
    command = [sys.executable, str(UNITS / "render.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_changed_value_is_noticed_until_it_is_rendered(tmp_path: Path) -> None:
    for name in ("values.toml", "render.py", *(f"templates/{p.name}" for p in _templates())):
        copy = tmp_path / "units" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((UNITS / name).read_bytes())
    script = [sys.executable, str(tmp_path / "units/render.py")]
    subprocess.run(script, check=True)
    assert subprocess.run([*script, "--check"], check=False).returncode == 0
    toml = tmp_path / "units/values.toml"
    toml.write_text(toml.read_text().replace('memory = "3g"', 'memory = "4g"'))
    stale = subprocess.run([*script, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert "cpu/compose.yaml" in stale.stderr and "gpu/" not in stale.stderr


def _templates() -> list[Path]:
    return sorted((UNITS / "templates").iterdir())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["voice-appliance.service", "voice-appliance-docker.service"])
def test_the_services_run_it_so(profile: str, name: str) -> None:
    run = reading.from_service(UNITS / profile / name)
    run.mounts -= {"/etc/localtime:/etc/localtime:ro"}  # podman has --tz=local
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_quadlet_runs_it_so(profile: str) -> None:
    found = reading.from_quadlet(UNITS / profile / "voice-appliance.container")
    assert found == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_compose_file_runs_it_so(profile: str) -> None:
    run = reading.from_compose(UNITS / profile / "compose.yaml")
    run.mounts -= {"/etc/localtime:/etc/localtime:ro"}
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_flag_files_run_it_so(profile: str) -> None:
    run = reading.from_flag_files(profile)
    wanted = expected(profile)
    # Whoever starts it by hand or by voicectl adds these.
    wanted.image, wanted.mounts = "", {"/etc/localtime:/etc/localtime:ro"}
    assert run == wanted


@pytest.mark.parametrize("profile", PROFILES)
def test_the_pod_is_run_so(profile: str) -> None:
    given, wanted = values(profile), expected(profile)
    pod = reading.documents(UNITS / profile / "kubernetes.yaml")[MANIFEST]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == wanted.image
    assert container["imagePullPolicy"] == "Never"
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert in_bytes(limits["memory"]) == in_bytes(requests["memory"]) == wanted.memory
    assert ("nvidia.com/gpu" in limits) == bool(wanted.devices)
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    folders = {
        mount["mountPath"]: in_bytes(volumes[mount["name"]]["emptyDir"]["sizeLimit"])
        for mount in container["volumeMounts"]
        if "emptyDir" in volumes[mount["name"]]
    }
    assert folders == wanted.folders
    assert all(v["emptyDir"]["medium"] == "Memory" for v in volumes.values() if "emptyDir" in v)
    assert {pair["name"]: pair["value"] for pair in container.get("env", [])} == wanted.environ
    assert {port["containerPort"] for port in container["ports"]} == set(wanted.ports)
    confined = container["securityContext"]
    assert confined["readOnlyRootFilesystem"] is True
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    waited = startup["periodSeconds"] * startup["failureThreshold"]
    assert waited == given["start_timeout_seconds"]
    _, interval, timeout, retries, _ = wanted.health
    assert liveness["periodSeconds"] == interval
    assert liveness["timeoutSeconds"] == timeout
    assert liveness["failureThreshold"] == retries
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    *_, drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert grace == int(drain) + wanted.stop


@pytest.mark.parametrize("profile", PROFILES)
def test_nobody_kills_it_before_an_orderly_stop_has_ended(profile: str) -> None:
    given = settings.load({"VOICE_PROFILE": profile})
    wanted = values(profile)
    assert stop_seconds(given) < wanted["stop_seconds"] < wanted["systemd_stop_seconds"]


@pytest.mark.parametrize("profile", PROFILES)
def test_whoever_waits_for_a_start_waits_long_enough(profile: str) -> None:
    given = settings.load({"VOICE_PROFILE": profile}).supervision
    wanted = values(profile)
    assert given.start_seconds < wanted["start_period_seconds"] < wanted["start_timeout_seconds"]
    # Else a start that fails late would be tried for ever.
    one_start = given.start_seconds + wanted["restart_seconds"]
    assert one_start * wanted["start_limit_burst"] < wanted["start_limit_seconds"]


def test_an_error_that_an_operator_has_to_put_right_is_not_tried_again() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    refusals = {kind for kind in kinds if issubclass(kind, errors.CannotStart)}
    of_the_host = {errors.ProgramFailed, errors.SupervisorFailed}  # the next start may go well
    final = {kind.exit_code for kind in refusals - of_the_host}
    assert {str(code) for code in final} == set(values("cpu")["no_restart_codes"].split())
    assert {kind.exit_code for kind in of_the_host}.isdisjoint(final)
    assert ApplianceError.exit_code not in final


def test_the_ports_are_those_the_image_listens_on() -> None:
    given = settings.Settings()
    assert {given.gateway.port, given.exporter.port} == set(expected("cpu").ports)
