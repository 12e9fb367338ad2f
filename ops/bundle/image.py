"""Lay out the build context of the image, and write the lock of a built image.

`python -m ops.bundle.image stage | record`. The lock of a built image is the lock inside the image
plus an `image` entry.
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
from ops.bundle.context import layer_contents, stage

# The layers above the weights, in the order of the Dockerfile's COPY lines.
UPPER_LAYERS = ("operating system", "packages: CUDA", "packages: PyTorch", "packages", "our code")


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.bundle.image", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    staging = commands.add_parser("stage", help="lay out the build context")
    staging.add_argument("--root", type=Path, default=Path(), help="folder of the repository")
    staging.add_argument("--weights", type=Path, default=Path("weights"))
    staging.add_argument("--profile", default="cpu")
    staging.add_argument(
        "--model", default="", help="language model of the image (default: that of the profile)"
    )
    staging.add_argument(
        "--context", type=Path, required=True, help="folder to create, or to replace"
    )
    recording = commands.add_parser("record", help="write the lock of a built image, print its id")
    recording.add_argument("--context", type=Path, required=True, help="build context of the image")
    recording.add_argument(
        "--inspected", type=Path, required=True, help="output of `buildah inspect --type image`"
    )
    recording.add_argument("--base", default="", help="NAME=SHA256 of the base image's tar")
    recording.add_argument("--into", type=Path, required=True, help="the lock to write")
    args = parser.parse_args(arguments)
    try:
        if args.command == "stage":
            stage(args.root, args.weights, args.profile, args.context, args.model)
        else:
            inspected = json.loads(args.inspected.read_text(encoding="utf-8"))
            print(record(args.context, inspected, args.base, args.into))
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return problem.exit_code
    return 0


def record(context: Path, inspected: Mapping[str, Any], base: str, lock: Path) -> str:
    """Write the lock of a built image: the lock in its context plus the `image` entry.

    Return the id of the image.
    """
    inside = locks.read(context / "code/image-manifest.lock")
    image = image_entry(inspected, layer_contents(context), base)
    extra = {**inside.extra, "image": image}
    lock.write_text(locks.render(replace(inside, extra=extra)), encoding="utf-8")
    return str(image["id"])


def image_entry(
    inspected: Mapping[str, Any], contents: Mapping[str, str], base: str
) -> dict[str, Any]:
    """Build the `image` entry from the output of `buildah inspect --type image`.

    contents  models by weights folder, see `layer_contents`
    base      name of the base image, optionally followed by = and the SHA-256 of its tar
    """
    config = inspected["OCIv1"]
    labels = config["config"]["Labels"]
    diff_ids = config["rootfs"]["diff_ids"]
    sizes = [layer["size"] for layer in json.loads(inspected["Manifest"])["layers"]]
    holds = [f"weights: {models or 'none'}" for models in contents.values()] + [*UPPER_LAYERS]
    name, _, sha256 = base.partition("=")
    return {
        "id": "sha256:" + inspected["FromImageID"].removeprefix("sha256:"),
        "manifest_digest": inspected["FromImageDigest"],
        "profile": labels["voice.profile"],
        "version": labels["org.opencontainers.image.version"],
        "base": {"name": name, "sha256": sha256},
        "size_bytes": sum(sizes),
        "layers": [
            {"diff_id": diff_id, "size_bytes": size, "holds": content}
            for diff_id, size, content in zip(diff_ids, sizes, holds, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
