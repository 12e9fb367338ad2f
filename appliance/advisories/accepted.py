"""Findings that are accepted: which, why, and until when.

A TOML file with one table per finding. Every value is required:

    [[accepted]]
    id = "CVE-2024-0001"     # or any alias of it
    package = "example"
    reason = "Only the command line tool is affected, and nothing runs it."
    until = 2027-03-31       # the last day on which this holds
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from appliance.advisories.osv import BadData


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted finding. `until` is the last day on which it is accepted."""

    id: str
    package: str
    reason: str
    until: date


def read(path: Path) -> list[Accepted]:
    """Read the file. Raises BadData for a wrong or missing value, and for an entry without why."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise BadData(f"{path}: {problem}") from problem
    entries = tree.pop("accepted", [])
    if tree or not isinstance(entries, list):
        raise BadData(f"{path}: only tables [[accepted]] are allowed")
    return [_entry(path, entry) for entry in entries]


def _entry(path: Path, entry: object) -> Accepted:
    if not isinstance(entry, dict) or set(entry) != {"id", "package", "reason", "until"}:
        raise BadData(f"{path}: an entry needs exactly id, package, reason and until: {entry}")
    texts = [entry["id"], entry["package"], entry["reason"]]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise BadData(f"{path}: id, package and reason must be texts, and not empty: {entry}")
    until = entry["until"]
    if not isinstance(until, date) or isinstance(until, datetime):
        raise BadData(f"{path}: until must be a date, such as 2027-03-31: {entry}")
    return Accepted(entry["id"], entry["package"], entry["reason"].strip(), until)
