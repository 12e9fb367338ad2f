"""Every unit file runs the appliance with the values of values.toml."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import errors, settings
from appliance.errors import ApplianceError
from appliance.supervision.boot import CONF, REAP_SECONDS, environment, stop_seconds
from tests.units import reading
from tests.units.reading import OPS, PROFILES, RunLine, in_bytes

UNITS = OPS / "units"
MANIFEST = "Deployment/voice-appliance"
STOPPED = ("program", "eventlistener")  # sections of supervisord.conf


def values(profile: str) -> dict[str, Any]:
    return dict(reading.renderer().values(profile))


def expected(profile: str) -> RunLine:
    """The run line of values.toml."""
    toml = values(profile)
    cache = toml.get("cache", "")
    folders = {"/run": toml["run_size"], "/tmp": toml["tmp_size"]}
    store = toml["token_store_folder"]
    environ = {"VOICE_GATEWAY_TOKEN_STORE": f"{store}/tokens"}
    if cache:
        folders |= {cache: toml["cache_size"], "/dev/shm": toml["shm_size"]}
        environ |= {
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
            f"{toml['etc']}/access:{store}:ro,z",
            f"/run/{toml['name']}:{toml['host_folder']}:ro,z",
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
        core="0:0",
    )


def test_files_are_up_to_date_with_their_templates() -> None:
    command = [sys.executable, str(UNITS / "render.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_check_names_the_files_that_a_changed_value_affects(tmp_path: Path) -> None:
    units = tmp_path / "ops/units"
    for name in ("values.toml", "render.py", *(f"templates/{p.name}" for p in _templates())):
        copy = units / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((UNITS / name).read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((OPS.parent / "pyproject.toml").read_bytes())
    script = [sys.executable, str(units / "render.py")]
    subprocess.run(script, check=True)
    assert subprocess.run([*script, "--check"], check=False).returncode == 0
    toml = units / "values.toml"
    toml.write_text(toml.read_text().replace('memory = "4g"', 'memory = "5g"'))
    stale = subprocess.run([*script, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert "cpu/compose.yaml" in stale.stderr and "facts/cpu.yaml" in stale.stderr
    assert "gpu" not in stale.stderr


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
    wanted = expected(profile)
    # voicectl activates no release in a container of compose.
    wanted.mounts -= {f"/run/voice-appliance:{values(profile)['host_folder']}:ro,z"}
    assert run == wanted


@pytest.mark.parametrize("profile", PROFILES)
def test_flag_files_have_the_values(profile: str) -> None:
    run = reading.from_flag_files(profile)
    wanted = expected(profile)
    # voicectl, or whoever runs the container by hand, adds these.
    wanted.image, wanted.mounts = "", {"/etc/localtime:/etc/localtime:ro"}
    del wanted.environ["VOICE_GATEWAY_TOKEN_STORE"]
    assert run == wanted


@pytest.mark.parametrize("profile", PROFILES)
def test_pod_has_the_values(profile: str) -> None:
    toml, wanted = values(profile), expected(profile)
    pod = reading.documents(UNITS / profile / "kubernetes.yaml")[MANIFEST]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    # The tag of the release, as ops/import sets it: an activation on a host does not move it.
    assert container["image"] == f"{toml['repository']}:{settings.VERSION}-{profile}"
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
    environ = {pair["name"]: pair["value"] for pair in container["env"]}
    # A key of the secret with the token, and so at another path.
    wanted.environ["VOICE_GATEWAY_TOKEN_STORE"] = "/run/secrets/voice-appliance/tokens"
    assert wanted.environ.items() <= environ.items()
    assert all(name.startswith("VOICE_") for name in environ.keys() - wanted.environ.keys())
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


@pytest.mark.parametrize("profile", PROFILES)
def test_pod_waits_for_the_longest_call(profile: str) -> None:
    manifest = reading.documents(UNITS / profile / "kubernetes.yaml")[MANIFEST]["spec"]
    pod, stop = manifest["template"]["spec"], expected(profile).stop
    (container,) = pod["containers"]
    environ = {pair["name"]: pair["value"] for pair in container["env"]}
    gateway = settings.load(
        {"VOICE_PROFILE": profile, **{n: v for n, v in environ.items() if n.startswith("VOICE_")}}
    ).gateway
    *_, drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(drain) == gateway.session_seconds == values(profile)["drain_seconds"]
    assert pod["terminationGracePeriodSeconds"] == int(drain) + stop
    start = values(profile)["start_timeout_seconds"]
    assert manifest["progressDeadlineSeconds"] == int(drain) + stop + start


@pytest.mark.parametrize("profile", PROFILES)
def test_named_tokens_of_a_pod_are_a_key_of_its_secret(profile: str) -> None:
    objects = reading.documents(UNITS / profile / "kubernetes.yaml")
    (container,) = objects[MANIFEST]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    wanted = f"{mounts['token']}/tokens"
    assert {"name": "VOICE_GATEWAY_TOKEN_STORE", "value": wanted} in container["env"]


def test_voicectl_and_the_units_mount_the_named_tokens_at_the_same_place() -> None:
    script = (OPS / "voicectl-host.sh").read_text(encoding="utf-8")
    store = values("cpu")["token_store_folder"]
    assert f"readonly TOKEN_STORE={store}/tokens " in script


def test_image_voicectl_and_the_units_agree_on_the_mark_of_a_closed_start() -> None:
    script = (OPS / "voicectl-host.sh").read_text(encoding="utf-8")
    folder = values("cpu")["host_folder"]
    assert f" HOST_FOLDER={folder} " in script
    assert "START_FOLDER=${VOICE_RUN:-$RUNTIME}/$NAME " in script
    (name,) = re.findall(r" START_CLOSED=\$START_FOLDER/(\S+) ", script)
    dockerfile = (OPS.parent / "Dockerfile").read_text(encoding="utf-8")
    assert f" VOICE_GATEWAY_START_CLOSED_FILE={folder}/{name} " in dockerfile


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "name",
    [
        "voice-appliance.service",
        "voice-appliance@.service",
        "voice-appliance-docker.service",
        "voice-appliance.container",
        "voice-appliance@.container",
    ],
)
def test_folder_of_the_mark_of_a_closed_start_is_there_before_the_container(
    profile: str, name: str
) -> None:
    path = UNITS / profile / name
    service = reading.unit(path)["Service"]
    (made,) = reading.get_all(service, "RuntimeDirectory")
    assert f"/run/{made}:{values(profile)['host_folder']}:ro,z" in path.read_text(encoding="utf-8")
    assert reading.get_all(service, "RuntimeDirectoryPreserve") == ["yes"]  # also in a restart


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "name",
    ["voice-appliance.service", "voice-appliance-docker.service", "voice-appliance.container"],
)
def test_unit_makes_the_folder_of_the_named_tokens_once(
    profile: str, name: str, tmp_path: Path
) -> None:
    toml = values(profile)
    *_, made = reading.commands(UNITS / profile / name, "ExecStartPre")
    etc, owner = tmp_path / "etc", str(os.getuid())
    words = [word.replace(toml["etc"], str(etc)) for word in made]
    words = [re.sub(rf"-([og]) {toml['user']}", rf"-\1 {owner}", word) for word in words]
    assert f"-o {owner} -g {owner}" in words[-1]  # for the user of the image, and here for us
    subprocess.run(words, check=True)
    assert (etc / "access").stat().st_mode & 0o777 == 0o700
    (etc / "access").chmod(0o750)  # what a site changed stays
    subprocess.run(words, check=True)
    assert (etc / "access").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("profile", PROFILES)
def test_stop_timeout_exceeds_the_time_of_an_orderly_stop(profile: str) -> None:
    loaded = settings.load({"VOICE_PROFILE": profile})
    wanted = values(profile)
    assert stop_seconds(loaded) < wanted["stop_seconds"] < wanted["systemd_stop_seconds"]


@pytest.mark.parametrize("profile", PROFILES)
def test_drain_may_take_as_long_as_a_call_everywhere(profile: str) -> None:
    """The setting is the one value; what cannot read it has the same number."""
    longest = settings.load({"VOICE_PROFILE": profile}).gateway.session_seconds
    assert values(profile)["drain_seconds"] == longest
    alerts = yaml.safe_load((OPS / "monitoring/alerts.yml").read_text(encoding="utf-8"))
    rules = {rule.get("alert"): rule for group in alerts["groups"] for rule in group["rules"]}
    assert rules["DrainForgotten"]["for"] == f"{longest / 3600:g}h"
    activation = (OPS / "voicectl-activation.sh").read_text(encoding="utf-8")
    assert "DRAIN_SECONDS=''" in activation  # voicectl leaves it to the setting


@pytest.mark.parametrize("profile", PROFILES)
def test_time_after_a_stop_signal_is_that_of_the_settings_everywhere(profile: str) -> None:
    loaded, wanted = settings.load({"VOICE_PROFILE": profile}), values(profile)
    gateway = int(environment({}, loaded, Path())["APPLIANCE_GATEWAY_STOP_SECONDS"])
    assert loaded.gateway.drain_seconds < gateway < stop_seconds(loaded)
    conf = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    conf.read_string(CONF.read_text(encoding="utf-8"))
    names = {"gateway": "%(ENV_APPLIANCE_GATEWAY_STOP_SECONDS)s"}
    programs = [section for section in conf if section.partition(":")[0] in STOPPED]
    for section in programs:
        name = section.partition(":")[2]
        assert conf[section]["stopwaitsecs"] == names.get(name, conf[section]["stopwaitsecs"])
    others = sum(
        int(conf[section]["stopwaitsecs"]) for section in programs if "gateway" not in section
    )
    assert stop_seconds(loaded) == gateway + others + REAP_SECONDS
    for name in ("voice-appliance.service", "voice-appliance@.service"):
        assert reading.from_service(UNITS / profile / name).stop == wanted["stop_seconds"]


def instantiated(path: Path, folder: Path, wanted: RunLine) -> Path:
    """Copy a template with what systemd would put in for an instance, in the names of `wanted`."""
    text = path.read_text(encoding="utf-8").replace("-%i", "").replace("%i", "all")
    for port, variable in zip(wanted.ports, ("CALLS_PORT", "METRICS_PORT"), strict=True):
        text = text.replace("${" + variable + "}", str(port))
    copy = folder / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["voice-appliance@.service", "voice-appliance-docker@.service"])
def test_instances_run_as_the_one_appliance_does(profile: str, name: str, tmp_path: Path) -> None:
    run = reading.from_service(instantiated(UNITS / profile / name, tmp_path, expected(profile)))
    run.mounts -= {"/etc/localtime:/etc/localtime:ro"}
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_instances_of_the_quadlet_run_as_the_one_appliance_does(
    profile: str, tmp_path: Path
) -> None:
    path = UNITS / profile / "voice-appliance@.container"
    run = reading.from_quadlet(instantiated(path, tmp_path, expected(profile)))
    assert run == expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "name",
    ["voice-appliance@.container", "voice-appliance@.service", "voice-appliance-docker@.service"],
)
def test_instances_share_no_name_port_card_or_release(profile: str, name: str) -> None:
    text = (UNITS / profile / name).read_text(encoding="utf-8")
    assert "/etc/voice-appliance/instances/%i.env" in text
    assert "localhost/voice-appliance:current-%i" in text
    assert "${CALLS_PORT}:8765" in text and "${METRICS_PORT}:9465" in text
    assert ("nvidia.com/gpu=%i" in text) == (profile == "gpu")
    assert not re.search(r"voice-appliance(?=[ \n;]).*podman|exec voice-appliance ", text)


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
    # The next start may succeed.
    of_the_host = {errors.ProgramFailed, errors.SupervisorFailed, errors.SocketTaken}
    final = {kind.exit_code for kind in refusals - of_the_host}
    assert {str(code) for code in final} == set(values("cpu")["no_restart_codes"].split())
    assert {kind.exit_code for kind in of_the_host}.isdisjoint(final)
    assert ApplianceError.exit_code not in final


def test_published_ports_are_those_of_the_settings() -> None:
    defaults = settings.Settings()
    assert {defaults.gateway.port, defaults.exporter.port} == set(expected("cpu").ports)
