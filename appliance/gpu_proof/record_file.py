"""Reads and writes a record of measurements as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.gpu_proof.record import Record, from_tree, to_tree


def read(path: Path) -> Record:
    """Read a record. Raises ValueError if the file is not one, OSError if it cannot be read."""
    try:
        return from_tree(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write(path: Path, record: Record) -> None:
    """Write a record; a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(to_tree(record), indent=1, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)
