#!/usr/bin/env python3
"""Print parts of an image-manifest.lock as lines that bash can read. Connected side only.

    ops/lock_env.py image LOCK              profile, version, image id and layers, as NAME=VALUE
    ops/lock_env.py licences LOCK PROFILE   one line per model: name, licence and origin

Standard library only: ops/export runs it with the system's Python.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


def image_lines(lock: dict[str, Any]) -> Iterator[str]:
    """Yield the lock's `image` entry, lowest layer first. Raises ValueError if it is invalid."""
    image = lock.get("image")
    if not isinstance(image, dict) or not IMAGE_ID.fullmatch(str(image.get("id"))):
        raise ValueError("has no image entry")
    if not image.get("version") or not image.get("profile"):
        raise ValueError("has no version or profile for its image")
    if not image.get("layers"):
        raise ValueError(f"has no layers for image {image['id']}")
    yield f"PROFILE={image['profile']}"
    yield f"VERSION={image['version']}"
    yield f"IMAGE_ID={image['id']}"
    yield f"LAYERS={len(image['layers'])}"
    for number, layer in enumerate(image["layers"]):
        yield f"LAYER_{number}_DIFF_ID={layer['diff_id']}"
        yield f"LAYER_{number}_BYTES={layer['size_bytes']}"


def licence_lines(lock: dict[str, Any], profile: str) -> Iterator[str]:
    """Yield the models that the image of a profile contains."""
    for name, source in sorted(lock.get("sources", {}).items()):
        if profile in source["profiles"] and source["purpose"] == "run":
            yield f"{name}: {source['licence']}; from {source['origin']}"


def main(arguments: list[str]) -> int:
    """Run the command and return the exit code."""
    match arguments:
        case ["image", path]:
            profile = ""
        case ["licences", path, profile]:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        lock = json.loads(Path(path).read_text(encoding="utf-8"))
        lines = licence_lines(lock, profile) if profile else image_lines(lock)
        print("\n".join(lines))
    except json.JSONDecodeError as problem:
        print(f"error: {path} is not JSON: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"error: {path} cannot be read: {problem.strerror}", file=sys.stderr)
        return 1
    except ValueError as problem:
        print(f"error: {path} {problem}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, AttributeError):
        print(f"error: {path} is not an image-manifest.lock", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
