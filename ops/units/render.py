#!/usr/bin/env python3
"""Renders the unit files from values.toml and templates/. On the connected side, before a commit.

    ops/units/render.py            writes them
    ops/units/render.py --check    exits with 1, and names them, when some are not as rendered

In a template `${name}` is a value, and a line that begins with `gpu|` or `cpu|` is for that
profile only, as `podman|` and `docker|` are for that engine.
"""

from __future__ import annotations

import re
import string
import sys
import tomllib
from pathlib import Path

UNITS = Path(__file__).resolve().parent
PROFILES = ("cpu", "gpu")
# Made once for each profile: file -> template, engine.
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
    """What both profiles share, and what `profile` adds; sizes also as Kubernetes writes them."""
    tables = tomllib.loads((UNITS / "values.toml").read_text(encoding="utf-8"))
    found: dict[str, object] = tables["both"] | tables[profile] | {"profile": profile}
    sizes = {name: size for name, size in found.items() if SIZE.fullmatch(str(size))}
    found |= {f"{name}_k8s": str(size).upper() + "i" for name, size in sizes.items()}
    number = {name: size for name, size in found.items() if isinstance(size, int)}
    found["systemd_stop_seconds"] = number["stop_seconds"] + number["tidy_seconds"]
    found["grace_seconds"] = number["drain_seconds"] + number["stop_seconds"]
    found["startup_attempts"] = (
        number["start_timeout_seconds"] // number["startup_interval_seconds"]
    )
    return found


def render(template: str, given: dict[str, object], engine: str = "") -> str:
    """One file. Raises KeyError for a value that there is not."""
    kept = []
    for line in template.splitlines(keepends=True):
        conditional = CONDITION.fullmatch(line)
        if conditional is None:
            kept.append(line)
        elif conditional[1] in (given["profile"], engine):
            kept.append(conditional[2])
    return string.Template("".join(kept)).substitute(given, engine=engine)


def everything() -> dict[Path, str]:
    """Every file with what has to be in it."""

    def template(name: str) -> str:
        return (UNITS / "templates" / name).read_text(encoding="utf-8")

    # Of the smaller profile; the other's host.flags override what differs.
    made = {UNITS.parent / "container.flags": render(template("container.flags"), values("cpu"))}
    for profile in PROFILES:
        for name, (source, engine) in FILES.items():
            made[UNITS / profile / name] = render(template(source), values(profile), engine)
    return made


def main(arguments: list[str]) -> int:
    stale = []
    for path, text in everything().items():
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(UNITS.parent)))
    if stale:
        print(f"not as rendered: {', '.join(stale)}; run ops/units/render.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
