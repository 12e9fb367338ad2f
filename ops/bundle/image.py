"""python -m ops.bundle.image stage | record: what a build needs, and what came out of it.

`record` writes the lock that travels with the image: the one inside it and its `image` entry.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance.weights import manifest as locks
from ops.bundle.context import contents, stage

# The layers above the weights, in the order of the Dockerfile's COPY lines.
ABOVE = ("operating system", "packages: CUDA", "packages: PyTorch", "packages", "our code")


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.bundle.image", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    staging = commands.add_parser("stage", help="lay out the build context")
    staging.add_argument("--root", type=Path, default=Path(), help="of the repository")
    staging.add_argument("--weights", type=Path, default=Path("weights"))
    staging.add_argument("--profile", default="cpu")
    staging.add_argument("--slim", action="store_true", help="fallback models in place of larger")
    staging.add_argument("--context", type=Path, required=True, help="folder to make anew")
    recording = commands.add_parser("record", help="write the lock of a built image")
    recording.add_argument("--context", type=Path, required=True, help="what it was built of")
    recording.add_argument("--inspected", type=Path, required=True, help="`buildah inspect` of it")
    recording.add_argument("--base", default="", help="NAME=SHA256 of the base's tar")
    recording.add_argument("--into", type=Path, required=True, help="the lock to write")
    given = parser.parse_args(arguments)
    try:
        if given.command == "stage":
            stage(given.root, given.weights, given.profile, given.context, given.slim)
        else:
            inspected = json.loads(given.inspected.read_text(encoding="utf-8"))
            record(given.context, inspected, given.base, given.into)
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return problem.exit_code
    return 0


def record(context: Path, inspected: Mapping[str, Any], base: str, into: Path) -> None:
    """Writes the image's lock: the one inside it, and `image` with what only a build can tell."""
    inside = locks.read(context / "code/image-manifest.lock")
    sealed = {**inside.sealed, "image": entry(inspected, contents(context), base)}
    into.write_text(locks.render(replace(inside, sealed=sealed)), encoding="utf-8")


def entry(inspected: Mapping[str, Any], folders: Mapping[str, str], base: str) -> dict[str, Any]:
    """The `image` entry, from what `buildah inspect --type image` says.

    `folders` tells what each weights folder holds; `base` is NAME=SHA256 of the base's tar, or the
    name alone.
    """
    config = inspected["OCIv1"]
    labels = config["config"]["Labels"]
    diff_ids = config["rootfs"]["diff_ids"]
    sizes = [layer["size"] for layer in json.loads(inspected["Manifest"])["layers"]]
    held = [f"weights: {models or 'none'}" for models in folders.values()] + [*ABOVE]
    name, _, sha256 = base.partition("=")
    return {
        "id": "sha256:" + inspected["FromImageID"].removeprefix("sha256:"),
        "manifest_digest": inspected["FromImageDigest"],
        "profile": labels["voice.profile"],
        "version": labels["org.opencontainers.image.version"],
        "base": {"name": name, "sha256": sha256},
        "size_bytes": sum(sizes),
        "layers": [
            {"diff_id": diff_id, "size_bytes": size, "holds": what}
            for diff_id, size, what in zip(diff_ids, sizes, held, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
