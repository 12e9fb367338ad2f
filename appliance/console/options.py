"""The command lines of this room's verbs."""

from __future__ import annotations

import argparse

from appliance.console.logs import OUTPUTS, UNITS
from appliance.console.terminal import COLOURS


def status(parser: argparse.ArgumentParser) -> None:
    """`status`."""
    parser.epilog = (
        "Exit code: 0 it takes calls (running, or degraded and still taking them); 3 it takes none "
        "(stopped, broken, starting, draining, degraded); 4 cannot tell. --json says which."
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for a program")
    form.add_argument("--plain", action="store_true", help="a line for each process, no colour")
    parser.add_argument(
        "--lines", type=int, default=0, metavar="N", help="the last N lines of the log on stdin"
    )
    _colour(parser)


def logs(parser: argparse.ArgumentParser) -> None:
    """`logs`."""
    parser.add_argument("--output", choices=OUTPUTS, default="short", help="cat: without times")
    parser.add_argument("--unit", choices=UNITS, default="", help="lines of, or about, one process")
    _colour(parser)


def trace(parser: argparse.ArgumentParser) -> None:
    """`trace`."""
    parser.epilog = "Exit code: 0; 1 when the log has no such call."
    parser.add_argument("session", nargs="?", default="", help="a call; without it: all, listed")
    _colour(parser)


def drain(parser: argparse.ArgumentParser) -> None:
    """`drain`."""
    parser.epilog = (
        "Exit code: 0 done (with --wait: no call is left); 75 calls are left after SECONDS, and "
        "new ones are still refused; 3 nothing runs here. A drain outlives a restart of the "
        "gateway, and ends with the appliance."
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", type=float, metavar="SECONDS", help="until no call is left")
    how.add_argument("--undo", action="store_true", help="take calls again")


def bundle(parser: argparse.ArgumentParser) -> None:
    """`bundle`."""
    parser.epilog = (
        "Nothing of a caller is in it: of log lines only the fields that the appliance lists "
        "(journal_fields.py), and of those no free text. Files that name this host are: settings, "
        "host."
    )


def _colour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--colour", "--color", choices=COLOURS, default="auto", help="auto: on a terminal"
    )
