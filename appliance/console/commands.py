"""The console's commands: options, input, output and exit codes.

Log lines are read from stdin, because only the host can access the log.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from appliance.console.collect import collect_facts
from appliance.console.exit_reason import (
    find_exit_reason,
    render_exit_json,
    render_exit_plain,
    render_exit_screen,
)
from appliance.console.logs import FORMATS, UNITS, format_line, is_about, parse_line
from appliance.console.state import judge
from appliance.console.status import render_json, render_plain, render_screen
from appliance.console.terminal import COLOUR_MODES, WIDTH, Paint, truncate, use_colour
from appliance.console.trace import collect_calls, render_list, render_timeline
from appliance.settings import Settings

NO_SUCH_CALL = 1
INCOMPLETE = 1  # the reader closed the pipe before the bundle was complete
USAGE = 2  # the exit code of argparse
LONGEST_CALL = -1.0  # `drain --wait` without a number: as long as a call may last


def status(settings: Settings, form: str, colour: str, line_count: int) -> int:
    """Print the state as "screen", "json" or "plain", and return its exit code."""
    # Read the log first, because its writer may block until then.
    tail = deque(read_stdin(), maxlen=line_count) if line_count > 0 else ()
    facts = collect_facts(settings)
    if form == "json":
        print(render_json(facts))
    elif form == "plain":
        print(render_plain(facts))
    else:
        print(render_screen(facts, _paint(colour), _format_tail(tail)))
    return judge(facts).exit_code


def status_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.epilog = (
        "Exit code: 0 if calls are accepted (running or degraded); 3 if no calls are accepted "
        "(starting, draining, closed, degraded, broken or stopped); 4 if the state is unknown. "
        "--json includes the name of the state."
    )
    _add_form(parser, plain="a line per process, without colour")
    _add_line_count(parser)
    _add_colour(parser)


def exit_reason(form: str, exit_code: int | None, out_of_memory: bool, line_count: int) -> int:
    """Print why a container exited, from its exit code and its log on stdin."""
    texts = list(read_stdin())
    why = find_exit_reason(map(parse_line, texts), exit_code, out_of_memory)
    if form == "json":
        print(render_exit_json(why))
    elif form == "plain":
        print(render_exit_plain(why))
    else:
        tail = texts[-line_count:] if line_count > 0 else []
        print("\n".join([render_exit_screen(why), *([""] if tail else []), *_format_tail(tail)]))
    return 0


def exit_reason_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `exit-reason`."""
    _add_form(parser, plain="one line")
    parser.add_argument(
        "--exit-code",
        type=int,
        metavar="N",
        help="the container's exit code; default: from the log",
    )
    parser.add_argument(
        "--out-of-memory",
        action="store_true",
        help="state that the kernel killed the container for lack of memory",
    )
    _add_line_count(parser)


def logs(output: str, unit: str, colour: str) -> int:
    """Print the lines of stdin, or those about one unit, as they arrive."""
    paint = _paint(colour)
    with _closed_pipe_ends_output():
        for text in read_stdin():
            line = parse_line(text)
            if not unit or is_about(line, unit):
                print(format_line(line, output, paint), flush=True)
    return 0


def logs_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `logs`."""
    parser.add_argument(
        "--output", choices=FORMATS, default="short", help="format; cat omits time and process"
    )
    parser.add_argument(
        "--unit", choices=UNITS, default="", help="show only lines from or about one unit"
    )
    _add_colour(parser)


def trace(session: str, colour: str) -> int:
    """Print the timeline of one call in the log on stdin, or a list of all calls."""
    paint = _paint(colour)
    calls = collect_calls(map(parse_line, read_stdin()))
    with _closed_pipe_ends_output():
        if not session:
            print(render_list(calls, paint))
            return 0
        for call in calls:
            if call.session == session:
                print(render_timeline(call, paint))
                return 0
        print(f"no call {session!r} in this log; omit SESSION to list all calls", file=sys.stderr)
    return NO_SUCH_CALL


def trace_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trace`."""
    parser.epilog = "Exit code: 0 if the call was found or all calls were listed; otherwise 1."
    parser.add_argument(
        "session", nargs="?", default="", help="session of the call; default: list all calls"
    )
    _add_colour(parser)


def drain_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `drain`."""
    parser.epilog = (
        "Exit code: 0 on success (with --wait: all calls have ended); 75 if calls are still in "
        "progress after SECONDS (new calls stay refused); 3 if the appliance is not running. "
        "SECONDS defaults to gateway.session_seconds, because no call lasts longer. A "
        "drain survives a restart of the gateway, but not a restart of the appliance."
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--wait",
        type=float,
        nargs="?",
        const=LONGEST_CALL,
        metavar="SECONDS",
        help="wait until all calls have ended",
    )
    mode.add_argument("--undo", action="store_true", help="accept calls again")


def bundle(settings: Settings) -> int:
    """Write the support bundle to stdout, with the log on stdin."""
    from appliance.console.bundle import write_bundle  # slow import that no other command needs

    if sys.stdout.isatty():
        print("the output is a tar archive: redirect it to a file", file=sys.stderr)
        return USAGE
    log = () if sys.stdin.isatty() else read_stdin()
    with _closed_pipe_ends_output():
        write_bundle(settings, log, sys.stdout.buffer)
        return 0
    return INCOMPLETE


def bundle_options(parser: argparse.ArgumentParser) -> None:
    """Add the help of `bundle`."""
    parser.epilog = (
        "A bundle contains nothing that a caller said: log lines keep only listed fields "
        "(journal_fields.py) and no free text. Only settings.txt and host.txt describe this host."
    )


def print_line(text: str) -> None:
    """Print a line immediately."""
    print(text, flush=True)


def read_stdin() -> Iterator[str]:
    """Yield the lines of stdin as they arrive; bytes that are not UTF-8 are replaced."""
    if sys.stdin.isatty():
        print("reading log lines from the terminal; pipe the log in", file=sys.stderr)
    lines: Iterable[bytes] = iter(sys.stdin.buffer.readline, b"")
    for line in lines:
        yield line.decode("utf-8", "replace")


def _paint(colour: str) -> Paint:
    return Paint(use_colour(colour, sys.stdout.isatty()))


def _format_tail(texts: Iterable[str]) -> list[str]:
    """Format log lines for the end of a screen, without colour so that they can be truncated."""
    lines = (format_line(parse_line(text), "short", Paint(False)) for text in texts)
    return [truncate(line, WIDTH) for line in lines]


@contextmanager
def _closed_pipe_ends_output() -> Iterator[None]:
    """Exit without an error message when the reader closes the pipe, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again at exit and would then report the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _add_form(parser: argparse.ArgumentParser, plain: str) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--plain", action="store_true", help=plain)


def _add_line_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lines", type=int, default=0, metavar="N", help="also show the last N log lines of stdin"
    )


def _add_colour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--colour", "--color", choices=COLOUR_MODES, default="auto", help="auto: only on a terminal"
    )
