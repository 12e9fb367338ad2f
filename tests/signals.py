"""Signal dispositions of the processes that tests start."""

from __future__ import annotations

import sys

_SET_SIGINT_AND_EXEC = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_{disposition}); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def with_default_sigint(*command: str) -> list[str]:
    """Return a command line that runs `command` with the default disposition of SIGINT and SIGHUP.

    A test run that a script starts in the background ignores SIGINT, and its children inherit
    that. Python then installs no KeyboardInterrupt handler, and bash cannot trap the signal. The
    command is exec'd, so the process id stays that of the caller's child.
    """
    return [sys.executable, "-c", _SET_SIGINT_AND_EXEC.format(disposition="DFL"), *command]


def with_ignored_sigint(*command: str) -> list[str]:
    """Return a command line that runs `command` with SIGINT ignored, as a script's job is."""
    return [sys.executable, "-c", _SET_SIGINT_AND_EXEC.format(disposition="IGN"), *command]
