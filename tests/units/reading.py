"""Parse every rendered file into one form of the run line, so that they can be compared."""

from __future__ import annotations

import importlib.util
import re
import shlex
import string
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

OPS = Path(__file__).resolve().parents[2] / "ops"
PROFILES = ("cpu", "gpu")
SCALE = {"": 1, "b": 1, "m": 1 << 20, "mi": 1 << 20, "g": 1 << 30, "gi": 1 << 30}


def renderer() -> ModuleType:
    """Load ops/units/render.py, a script that is not in a package."""
    spec = importlib.util.spec_from_file_location("render", OPS / "units/render.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class RunLine:
    """How the container is run; sizes in bytes, times in seconds."""

    image: str = ""
    memory: int = 0
    swap: int = 0  # memory and swap together
    processes: int = 0
    stop: int = 0
    folders: dict[str, int] = field(default_factory=dict)  # memory file systems, by path
    options: set[str] = field(default_factory=set)  # mount options of these
    environ: dict[str, str] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)  # to the address, empty for all
    mounts: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    health: tuple[str, int, int, int, int] = ("", 0, 0, 0, 0)  # command, interval, timeout, ...
    read_only: bool = False
    capabilities_dropped: str = ""
    no_new_privileges: bool = False
    core: str = ""  # limit for core dumps


def in_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([a-z]*)", str(text).lower())
    assert match, text
    return int(match[1]) * SCALE[match[2]]


def seconds(text: str) -> int:
    return int(str(text).removesuffix("s"))


def from_flags(flags: list[str]) -> RunLine:
    """Parse the flags of podman or Docker, followed by the image."""
    values: dict[str, list[str]] = {}
    *flags, image = flags
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        values.setdefault(name, []).append(value)

    def last(name: str) -> str:
        return values.get(name, [""])[-1]

    run = RunLine(image=image)
    run.memory, run.swap = in_bytes(last("memory")), in_bytes(last("memory-swap"))
    run.processes = int(last("pids-limit"))
    run.stop = int(last("stop-timeout"))
    for folder in values["tmpfs"]:
        _add_folder(run, folder)
    if "shm-size" in values:
        run.folders["/dev/shm"] = in_bytes(last("shm-size"))
    run.environ = dict(pair.split("=", 1) for pair in values.get("env", []))
    run.ports = dict(map(_port, values.get("publish", [])))
    run.mounts = set(values.get("volume", []))
    run.devices = set(values.get("device", []))
    times = ("health-interval", "health-timeout", "health-retries", "health-start-period")
    run.health = (last("health-cmd"), *(seconds(last(name)) for name in times))  # type: ignore[assignment]
    run.read_only = "read-only" in values
    run.capabilities_dropped = last("cap-drop")
    run.no_new_privileges = last("security-opt") == "no-new-privileges"
    run.core = last("ulimit").removeprefix("core=")
    return run


def from_flag_files(profile: str) -> RunLine:
    """Parse container.flags and host.flags."""
    paths = (OPS / "container.flags", OPS / "units" / profile / "host.flags")
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return from_flags([*(line for line in lines if line.startswith("--")), ""])


def unit(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Parse a unit file: keys and values of each section in order, continued lines joined."""
    text = re.sub(r"^[#;].*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        elif line:
            name, _, value = line.partition("=")
            current.append((name, value))
    return sections


def get_all(section: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in section if key == name]


def commands(path: Path, name: str) -> list[list[str]]:
    """Split a unit's commands into words as systemd does, with their variables replaced."""
    section = unit(path)["Service"]
    return [shlex.split(_substitute(line, section)) for line in get_all(section, name)]


def command(path: Path, name: str) -> list[str]:
    """Return the only command of this name."""
    (words,) = commands(path, name)
    return words


def _substitute(text: str, section: list[tuple[str, str]]) -> str:
    environ = dict(pair.split("=", 1) for pair in get_all(section, "Environment"))
    return string.Template(text).safe_substitute(environ)


def from_service(path: Path) -> RunLine:
    engine, verb, *rest = command(path, "ExecStart")
    assert Path(engine).name in ("podman", "docker") and verb == "run"
    return from_flags(rest)


def from_quadlet(path: Path) -> RunLine:
    section = unit(path)["Container"]

    def get(name: str) -> str:
        (value,) = get_all(section, name)
        return value

    flags = shlex.split(" ".join(get_all(section, "PodmanArgs")))
    flags += [f"--tmpfs={folder}" for folder in get_all(section, "Tmpfs")]
    flags += [f"--env={pair}" for pair in get_all(section, "Environment")]
    ports = get_all(section, "PublishPort")
    flags += [f"--publish={_substitute(port, unit(path)['Service'])}" for port in ports]
    flags += [f"--volume={mount}" for mount in get_all(section, "Volume")]
    flags += [f"--device={device}" for device in get_all(section, "AddDevice")]
    flags += [f"--health-cmd={get('HealthCmd')}", f"--health-interval={get('HealthInterval')}"]
    flags += [f"--health-timeout={get('HealthTimeout')}"]
    flags += [f"--health-retries={get('HealthRetries')}"]
    flags += [f"--health-start-period={get('HealthStartPeriod')}"]
    flags += [f"--cap-drop={get('DropCapability')}"]
    flags += ["--read-only"] * (get("ReadOnly") == "true")
    flags += ["--security-opt=no-new-privileges"] * (get("NoNewPrivileges") == "true")
    return from_flags([*flags, get("Image")])


def from_compose(path: Path) -> RunLine:
    (service,) = yaml.safe_load(path.read_text(encoding="utf-8"))["services"].values()
    run = RunLine(image=service["image"])
    run.memory, run.swap = in_bytes(service["mem_limit"]), in_bytes(service["memswap_limit"])
    run.processes = service["pids_limit"]
    run.stop = seconds(service["stop_grace_period"])
    for folder in service["tmpfs"]:
        _add_folder(run, folder)
    if "shm_size" in service:
        run.folders["/dev/shm"] = in_bytes(service["shm_size"])
    run.environ = service.get("environment", {})
    run.ports = dict(_port(_with_defaults(text)) for text in service["ports"])
    run.mounts = set(service["volumes"])
    deploy = service.get("deploy", {"resources": {"reservations": {"devices": []}}})
    for device in deploy["resources"]["reservations"]["devices"]:
        run.devices |= set(device["device_ids"])
    health = service["healthcheck"]
    times = (health["interval"], health["timeout"], health["retries"], health["start_period"])
    run.health = (health["test"][1], *map(seconds, times))
    run.read_only = service["read_only"]
    (run.capabilities_dropped,) = (name.lower() for name in service["cap_drop"])
    run.no_new_privileges = service["security_opt"] == ["no-new-privileges"]
    run.core = f"{service['ulimits']['core']}:{service['ulimits']['core']}"
    return run


def documents(path: Path) -> dict[str, Any]:
    """Parse a Kubernetes manifest: objects by kind and name."""
    objects = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return {f"{entry['kind']}/{entry['metadata']['name']}": entry for entry in objects}


def _add_folder(run: RunLine, text: str) -> None:
    path, _, text = text.partition(":")
    options = text.split(",")
    (size,) = (in_bytes(option[5:]) for option in options if option.startswith("size="))
    run.folders[path] = size
    run.options |= {",".join(option for option in options if not option.startswith("size="))}


def _with_defaults(text: str) -> str:
    """The text as compose reads it if its variables are not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _port(text: str) -> tuple[int, str]:
    *address, outside, inside = text.split(":")
    assert outside in (inside, "${CALLS_PORT}", "${METRICS_PORT}")  # those of an instance differ
    return int(inside), "".join(address)
