"""Every unit file runs the appliance with the values of values.toml."""

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
from tests.units.reading import OPS, PROFILES, RunLine, in_bytes

UNITS = OPS / "units"
MANIFEST = "Deployment/voice-appliance"


def values(profile: str) -> dict[str, Any]:
    return dict(reading.renderer().values(profile))


def expected(profile: str) -> RunLine:
    """The run line of values.toml."""
    toml = values(profile)
    cache = toml.get("cache", "")
    folders = {"/run": toml["run_size"], "/tmp": toml["tmp_size"]}
    environ = {}
    if cache:
        folders |= {cache: toml["cache_size"], "/dev/shm": toml["shm_size"]}
        environ = {
            "XDG_CACHE_HOME": cache,
            "VLLM_CACHE_ROOT": f"{cache}/vllm",
            "TRITON_CACHE_DIR": f"{cache}/triton",
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "CUDA_CACHE_PATH": f"{cache}/cuda",
        }
    return RunLine(
        image=toml["image"],
        memory=in_bytes(toml["memory"]),
        swap=in_bytes(toml["memory"]),
        processes=toml["pids"],
        stop=toml["stop_seconds"],
        folders={path: in_bytes(size) for path, size in folders.items()},
        options={toml["memory_options"] + ",mode=1777"},
        environ=environ,
        ports={toml["calls_port"]: "", toml["metrics_port"]: toml["metrics_address"]},
        mounts={
            f"{toml['etc']}/token:/run/secrets/voice-token:ro,z",
            f"{toml['etc']}/tls:/run/secrets/tls:ro,z",
        },
        devices={toml["device"]} if "device" in toml else set(),
        health=(
            toml["health_command"],
            toml["health_interval_seconds"],
            toml["health_timeout_seconds"],
            toml["health_retries"],
            toml["start_period_seconds"],
        ),
        read_only=True,
        capabilities_dropped="all",
        no_new_privileges=True,
    )


def test_files_are_up_to_date_with_their_templates() -> None:
    command = [sys.executable, str(UNITS / "render.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_check_names_the_files_that_a_changed_value_affects(tmp_path: Path) -> None:
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
def test_services_have_the_values(profile: str, name: str) -> None:
    run = reading.from_service(UNITS / profile / name)
    run.mounts -= {"/etc/localtime:/etc/localtime:ro"}  # podman has --tz=local
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_quadlet_has_the_values(profile: str) -> None:
    run = reading.from_quadlet(UNITS / profile / "voice-appliance.container")
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_file_has_the_values(profile: str) -> None:
    run = reading.from_compose(UNITS / profile / "compose.yaml")
    run.mounts -= {"/etc/localtime:/etc/localtime:ro"}
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_flag_files_have_the_values(profile: str) -> None:
    run = reading.from_flag_files(profile)
    wanted = expected(profile)
    # voicectl, or whoever runs the container by hand, adds these.
    wanted.image, wanted.mounts = "", {"/etc/localtime:/etc/localtime:ro"}
    assert run == wanted


@pytest.mark.parametrize("profile", PROFILES)
def test_pod_has_the_values(profile: str) -> None:
    toml, wanted = values(profile), expected(profile)
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
    assert waited == toml["start_timeout_seconds"]
    _, interval, timeout, retries, _ = wanted.health
    assert liveness["periodSeconds"] == interval
    assert liveness["timeoutSeconds"] == timeout
    assert liveness["failureThreshold"] == retries
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    *_, drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert grace == int(drain) + wanted.stop


@pytest.mark.parametrize("profile", PROFILES)
def test_stop_timeout_exceeds_the_time_of_an_orderly_stop(profile: str) -> None:
    loaded = settings.load({"VOICE_PROFILE": profile})
    wanted = values(profile)
    assert stop_seconds(loaded) < wanted["stop_seconds"] < wanted["systemd_stop_seconds"]


@pytest.mark.parametrize("profile", PROFILES)
def test_start_timeouts_exceed_the_time_of_a_slow_start(profile: str) -> None:
    supervision = settings.load({"VOICE_PROFILE": profile}).supervision
    wanted = values(profile)
    assert (
        supervision.start_seconds < wanted["start_period_seconds"] < wanted["start_timeout_seconds"]
    )
    # Otherwise a start that fails late would be repeated forever.
    one_start = supervision.start_seconds + wanted["restart_seconds"]
    assert one_start * wanted["start_limit_burst"] < wanted["start_limit_seconds"]


def test_unit_does_not_restart_after_errors_that_need_an_operator() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    refusals = {kind for kind in kinds if issubclass(kind, errors.CannotStart)}
    of_the_host = {errors.ProgramFailed, errors.SupervisorFailed}  # the next start may succeed
    final = {kind.exit_code for kind in refusals - of_the_host}
    assert {str(code) for code in final} == set(values("cpu")["no_restart_codes"].split())
    assert {kind.exit_code for kind in of_the_host}.isdisjoint(final)
    assert ApplianceError.exit_code not in final


def test_published_ports_are_those_of_the_settings() -> None:
    defaults = settings.Settings()
    assert {defaults.gateway.port, defaults.exporter.port} == set(expected("cpu").ports)
