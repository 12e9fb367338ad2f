"""What the operator asks for: the verb's options. Every process reads them at the door, so nothing
is imported here."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

NAMES = (
    "ready",
    "seal",
    "container",
    "conversation",
    "interruption",
    "overload",
    "metrics",
    "recovery",
    "egress",
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What decides how the checks are made; `options` says what each means."""

    turns: int = 12
    interruptions: int = 4
    quick_seal: bool = False
    kill: bool = False
    wait_seconds: float = 60.0


def options(parser: argparse.ArgumentParser) -> None:
    """The verb's own command line."""
    own = Wishes()
    add = parser.add_argument
    add("--url", default="", help="where callers connect; default: by the settings, from here")
    add("--turns", type=int, default=own.turns, help=f"spoken questions ({own.turns})")
    add(
        "--interruptions",
        type=int,
        default=own.interruptions,
        help=f"answers to interrupt ({own.interruptions})",
    )
    add("--quick-seal", action="store_true", help="names and sizes of the sealed files only")
    add("--kill", action="store_true", help="also kill each process once and see it come back")
    add("--wait", type=float, default=own.wait_seconds, help="seconds until it has to be ready")
    add("--skip", default="", metavar="CHECK,...", help=f"of {', '.join(NAMES)}")
    add("--limit", action="append", default=[], metavar="NAME=SECONDS", help="another limit")
    add("--json", action="store_true", help="the report as JSON on stdout, the table on stderr")
    add("--page", action="store_true", help="only make the HTML page of a JSON report on stdin")
    for name in ("image-id", "container", "host"):
        add(f"--{name}", default="", help="for the report: what only the host knows")
