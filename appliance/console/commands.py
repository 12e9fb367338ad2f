"""From pure to printed: reads stdin, writes stdout, returns the exit code of the verb."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from appliance.console import logs as lines
from appliance.console import status as screen
from appliance.console import trace as calls
from appliance.console import trace as timeline
from appliance.console.logs import OUTPUTS, UNITS
from appliance.console.state import gathered, judged
from appliance.console.terminal import COLOURS, WIDTH, Paint, cut, wanted
from appliance.settings import Settings

NO_SUCH_CALL = 1
CUT_OFF = 1  # the bundle was not taken to its end
USAGE = 2  # as argparse has it


def status(given: Settings, form: str, colour: str, count: int) -> int:
    """Prints the state in one form: "screen", "json" or "plain"; the exit code tells it, too."""
    # Read first: whoever pipes the log in may wait for us to take it.
    tail = deque(stdin(), maxlen=count) if count > 0 else ()
    facts = gathered(given)
    paint = Paint(wanted(colour, sys.stdout.isatty()))
    if form == "json":
        print(screen.as_json(facts))
    elif form == "plain":
        print(screen.plain(facts))
    else:
        log = [cut(lines.shown(lines.read(text), "short", Paint(False)), WIDTH) for text in tail]
        print(screen.screen(facts, paint, log))
    return judged(facts).exit_code


def logs(output: str, unit: str, colour: str) -> int:
    """Prints the lines of stdin, or those about one unit, each as it comes."""
    paint = Paint(wanted(colour, sys.stdout.isatty()))
    with until_nobody_reads():
        for text in stdin():
            line = lines.read(text)
            if not unit or lines.about(line, unit):
                print(lines.shown(line, output, paint), flush=True)
    return 0


def trace(session: str, colour: str) -> int:
    """Prints the timeline of one call of the log on stdin, or the list of all."""
    paint = Paint(wanted(colour, sys.stdout.isatty()))
    found = calls.calls(map(lines.read, stdin()))
    with until_nobody_reads():
        if not session:
            print(timeline.listed(found, paint))
            return 0
        for call in found:
            if call.session == session:
                print(timeline.timeline(call, paint))
                return 0
        print(f"no call {session!r} in this log; without a name all are listed", file=sys.stderr)
    return NO_SUCH_CALL


def bundle(given: Settings) -> int:
    """Writes the support bundle, with the log on stdin, to stdout."""
    from appliance.console.bundle import write

    if sys.stdout.isatty():
        print("this is a tar archive; send it to a file", file=sys.stderr)
        return USAGE
    log = () if sys.stdin.isatty() else stdin()
    with until_nobody_reads():
        write(given, log, sys.stdout.buffer)
        return 0
    return CUT_OFF


def tell(what: str) -> None:
    """Prints a line at once."""
    print(what, flush=True)


def stdin() -> Iterator[str]:
    """The lines of stdin as they come; a byte that is no text is replaced."""
    if sys.stdin.isatty():
        print("reading log lines from the terminal; pipe the log in", file=sys.stderr)
    arriving: Iterable[bytes] = iter(sys.stdin.buffer.readline, b"")
    for raw in arriving:
        yield raw.decode("utf-8", "replace")


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Ends quietly when the reader has seen enough, as `| head` has."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more as it exits; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def status_options(parser: argparse.ArgumentParser) -> None:
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


def logs_options(parser: argparse.ArgumentParser) -> None:
    """`logs`."""
    parser.add_argument("--output", choices=OUTPUTS, default="short", help="cat: without times")
    parser.add_argument("--unit", choices=UNITS, default="", help="lines of, or about, one process")
    _colour(parser)


def trace_options(parser: argparse.ArgumentParser) -> None:
    """`trace`."""
    parser.epilog = "Exit code: 0; 1 when the log has no such call."
    parser.add_argument("session", nargs="?", default="", help="a call; without it: all, listed")
    _colour(parser)


def drain_options(parser: argparse.ArgumentParser) -> None:
    """`drain`."""
    parser.epilog = (
        "Exit code: 0 done (with --wait: no call is left); 75 calls are left after SECONDS, and "
        "new ones are still refused; 3 nothing runs here. A drain outlives a restart of the "
        "gateway, and ends with the appliance."
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", type=float, metavar="SECONDS", help="until no call is left")
    how.add_argument("--undo", action="store_true", help="take calls again")


def bundle_options(parser: argparse.ArgumentParser) -> None:
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
