"""The statement of a proof as one page of text. No I/O."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.egress_proof.statement import Leaving

COLUMNS = 80
MAX_LEFT = 20  # destinations on the page; the JSON has all
ABOUT = (
    ("host", "Host"),
    ("image_id", "Image"),
    ("release", "Release"),
    ("version", "Version"),
    ("profile", "Profile"),
    ("lock_sha256", "Lock, SHA-256"),
    ("kernel", "Kernel"),
    ("engine", "Engine"),
    ("began", "Began"),
    ("ended", "Ended"),
    ("flags_left_out", "Flags left out"),
)


def render(statement: Mapping[str, Any]) -> str:
    """Return the page. Raises KeyError or TypeError."""
    return "\n".join(_lines(statement)) + "\n"


def _lines(statement: Mapping[str, Any]) -> Iterator[str]:
    yield "VOICE APPLIANCE: STATEMENT ON NETWORK USE"
    yield ""
    yield from _wrap("", _verdict(statement))
    yield from (line for problem in statement["problems"] for line in _wrap("  - ", problem))
    yield ""
    for name, title in ABOUT:
        yield from _wrap(f"{title + ':':16}", str(statement["about"].get(name) or "-"))
    yield ""
    yield "What left"
    left = [Leaving(**entry) for entry in statement["left"]]
    yield from (line for entry in left[:MAX_LEFT] for line in _wrap("  - ", str(entry)))
    more = sum(entry.packets for entry in left[MAX_LEFT:]) + statement["left_to_more_destinations"]
    if more:
        yield f"  - {more} packets to further destinations"
    if not left and not more:
        yield "  nothing"
    yield ""
    yield "What was run"
    for phase in statement["phases"]:
        answered = f", {phase['answered']} answers" if phase["answered"] else ""
        text = (
            f"{phase['found']}{answered}, {phase['seconds']:.0f} s,"
            f" {phase['packets_within']} packets within"
        )
        yield from _wrap(f"  {'ok' if phase['ok'] else 'FAILED':7}", f"{phase['name']}: {text}")
    yield ""
    yield "Packets sent on purpose, and seen"
    for sender, test in statement["self_tests"].items():
        yield from _wrap(f"  {sender:10}", ", ".join(test["seen"]) or "none")
        if test["not_seen"]:
            yield from _wrap(f"  {'':10}", f"NOT SEEN: {', '.join(test['not_seen'])}")
    yield ""
    yield "What this does not prove"
    yield from (line for limit in statement["not_proven"] for line in _wrap("  - ", limit))


def _verdict(statement: Mapping[str, Any]) -> str:
    watched = "IPv4 and IPv6" if statement["watched"]["ipv6"] else "IPv4"
    if statement["passed"]:
        return (
            f"NOTHING LEFT. Every packet over {watched} in the appliance's network namespace was"
            " recorded through start, calls, killed processes and stop. None was addressed to"
            " another machine."
        )
    if statement["left"] or statement["left_to_more_destinations"]:
        return "NOT PROVEN: PACKETS LEFT."
    return "NOT PROVEN: THE PROOF IS INCOMPLETE."


def _wrap(head: str, text: str) -> list[str]:
    printable = "".join(char if char.isprintable() else " " for char in text)
    lines = textwrap.wrap(
        printable,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,  # a hash stays in one piece
    )
    return lines or [head.rstrip()]
