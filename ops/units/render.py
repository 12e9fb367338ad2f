#!/usr/bin/env python3
"""Render the unit files from values.toml and templates/. For developers, before a commit.

    ops/units/render.py            write the files
    ops/units/render.py --check    exit with 1 and name the files that are not up to date

In a template `${name}` is a value. A line that begins with `gpu|` or `cpu|` is only for that
profile, and a line that begins with `podman|` or `docker|` only for that engine.
"""

from __future__ import annotations

import re
import string
import sys
import tomllib
from pathlib import Path

UNITS = Path(__file__).resolve().parent
PROFILES = ("cpu", "gpu")
# Rendered for each profile: file -> template, engine.
FILES = {
    "host.flags": ("host.flags", ""),
    "voice-appliance.container": ("voice-appliance.container", "podman"),
    "voice-appliance.service": ("voice-appliance.service", "podman"),
    "voice-appliance-docker.service": ("voice-appliance.service", "docker"),
    "compose.yaml": ("compose.yaml", "docker"),
    "kubernetes.yaml": ("kubernetes.yaml", ""),
}
SIZE = re.compile(r"\d+[mg]")
CONDITION = re.compile(r"(cpu|gpu|podman|docker)\|(.*\n)")


def values(profile: str) -> dict[str, object]:
    """Return the values of a profile and the shared values; adds sizes in Kubernetes units."""
    tables = tomllib.loads((UNITS / "values.toml").read_text(encoding="utf-8"))
    merged: dict[str, object] = tables["both"] | tables[profile] | {"profile": profile}
    sizes = {name: size for name, size in merged.items() if SIZE.fullmatch(str(size))}
    merged |= {f"{name}_k8s": str(size).upper() + "i" for name, size in sizes.items()}
    numbers = {name: size for name, size in merged.items() if isinstance(size, int)}
    merged["systemd_stop_seconds"] = numbers["stop_seconds"] + numbers["tidy_seconds"]
    merged["grace_seconds"] = numbers["drain_seconds"] + numbers["stop_seconds"]
    merged["startup_attempts"] = (
        numbers["start_timeout_seconds"] // numbers["startup_interval_seconds"]
    )
    return merged


def render(template: str, values: dict[str, object], engine: str = "") -> str:
    """Render one file. Raises KeyError for an unknown value."""
    kept = []
    for line in template.splitlines(keepends=True):
        conditional = CONDITION.fullmatch(line)
        if conditional is None:
            kept.append(line)
        elif conditional[1] in (values["profile"], engine):
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
            files[UNITS / profile / name] = render(template(source), values(profile), engine)
    return files


def main(arguments: list[str]) -> int:
    stale = []
    for path, text in render_all().items():
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(UNITS.parent)))
    if stale:
        print(f"not up to date: {', '.join(stale)}; run ops/units/render.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
