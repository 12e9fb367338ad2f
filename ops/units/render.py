#!/usr/bin/env python3
"""Render the unit files, and what the Helm chart shares with them. For developers, before a commit.

Sources are values.toml, templates/ and the version in pyproject.toml.

    ops/units/render.py            write the files
    ops/units/render.py --check    exit with 1 and name the files that are not up to date

In a template `${name}` is a value. A line that begins with `gpu|` or `cpu|` is only for that
profile, a line that begins with `podman|` or `docker|` only for that engine, and a line that begins
with `instance|` only for the templates of systemd, of which a host runs one instance for each card.
"""

from __future__ import annotations

import re
import string
import sys
import tomllib
from pathlib import Path

UNITS = Path(__file__).resolve().parent
CHART = UNITS.parent / "helm/voice-appliance"
PROJECT = UNITS.parents[1] / "pyproject.toml"
PROFILES = ("cpu", "gpu")
# Rendered for each profile: file -> template, engine.
FILES = {
    "host.flags": ("host.flags", ""),
    "voice-appliance.container": ("voice-appliance.container", "podman"),
    "voice-appliance@.container": ("voice-appliance.container", "podman"),
    "voice-appliance.service": ("voice-appliance.service", "podman"),
    "voice-appliance@.service": ("voice-appliance.service", "podman"),
    "voice-appliance-docker.service": ("voice-appliance.service", "docker"),
    "voice-appliance-docker@.service": ("voice-appliance.service", "docker"),
    "compose.yaml": ("compose.yaml", "docker"),
    "kubernetes.yaml": ("kubernetes.yaml", ""),
}
INSTANCE = "%i"  # specifier of systemd: what follows the @ in the name of the unit
# Rendered once, into the chart: file -> template.
CHART_FILES = {"Chart.yaml": "helm-chart.yaml", "values.yaml": "helm-values.yaml"}
SIZE = re.compile(r"\d+[mg]")
CONDITION = re.compile(r"(cpu|gpu|podman|docker|instance)\|(.*\n)")


def values(profile: str, *, instance: bool = False) -> dict[str, object]:
    """Return the values of a profile and the shared values; adds sizes in Kubernetes units.

    instance  for a template: with the names, ports and card of an instance
    """
    tables = tomllib.loads((UNITS / "values.toml").read_text(encoding="utf-8"))
    merged: dict[str, object] = tables["both"] | tables[profile] | {"profile": profile}
    sizes = {name: size for name, size in merged.items() if SIZE.fullmatch(str(size))}
    merged |= {f"{name}_k8s": str(size).upper() + "i" for name, size in sizes.items()}
    numbers = {name: size for name, size in merged.items() if isinstance(size, int)}
    merged["systemd_stop_seconds"] = numbers["stop_seconds"] + numbers["tidy_seconds"]
    merged["grace_seconds"] = numbers["drain_seconds"] + numbers["stop_seconds"]
    # A replica is replaced in this time: the old one drains and stops, then the new one starts.
    merged["progress_seconds"] = numbers["start_timeout_seconds"] + sum(
        numbers[name] for name in ("drain_seconds", "stop_seconds")
    )
    merged["startup_attempts"] = (
        numbers["start_timeout_seconds"] // numbers["startup_interval_seconds"]
    )
    merged["version"] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    merged["release_image"] = f"{merged['repository']}:{merged['version']}-{profile}"
    return merged | _names(merged, instance=instance)


def _names(merged: dict[str, object], *, instance: bool) -> dict[str, object]:
    """Return what differs between the one appliance of a host and an instance."""
    name = merged["name"]
    names: dict[str, object] = {
        "unit": name,
        "title": "",
        "container": name,
        "published_calls": merged["calls_port"],
        "published_metrics": merged["metrics_port"],
    }
    if instance:
        names = {
            "unit": f"{name}@",
            "title": f", instance {INSTANCE}",
            "container": f"{name}-{INSTANCE}",
            "published_calls": "${CALLS_PORT}",
            "published_metrics": "${METRICS_PORT}",
            "image": f"{merged['image']}-{INSTANCE}",
        }
        if "device" in merged:
            names["device"] = f"{str(merged['device']).rpartition('=')[0]}={INSTANCE}"
    return names


def render(
    template: str, values: dict[str, object], engine: str = "", *, instance: bool = False
) -> str:
    """Render one file. Raises KeyError for an unknown value."""
    wanted = (values["profile"], engine, "instance" if instance else None)
    kept = []
    for line in template.splitlines(keepends=True):
        conditional = CONDITION.fullmatch(line)
        if conditional is None:
            kept.append(line)
        elif conditional[1] in wanted:
            kept.append(conditional[2])
    return string.Template("".join(kept)).substitute(values, engine=engine)


def render_all() -> dict[Path, str]:
    """Render every file and return the contents by path."""

    def template(name: str) -> str:
        return (UNITS / "templates" / name).read_text(encoding="utf-8")

    # From the values of the cpu profile; host.flags of the gpu profile overrides what differs.
    files = {UNITS.parent / "container.flags": render(template("container.flags"), values("cpu"))}
    for profile in PROFILES:
        for name, (source, engine) in FILES.items():
            instance = "@" in name
            files[UNITS / profile / name] = render(
                template(source), values(profile, instance=instance), engine, instance=instance
            )
    for name, source in CHART_FILES.items():
        files[CHART / name] = render(template(source), values("cpu"))
    for profile in PROFILES:
        files[CHART / "facts" / f"{profile}.yaml"] = render(
            template("helm-facts.yaml"), values(profile)
        )
    return files


def main(arguments: list[str]) -> int:
    stale = []
    for path, text in render_all().items():
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(UNITS.parent)))
    if stale:
        print(f"not up to date: {', '.join(stale)}; run ops/units/render.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
