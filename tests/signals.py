"""Signal dispositions of the processes that tests start."""

from __future__ import annotations

import sys

_RESTORE_AND_EXEC = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_{disposition}); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def with_default_sigint(*command: str) -> list[str]:
    """`command`, started so that SIGINT ends it or can be handled by it.

    A child inherits an ignored SIGINT from a test run under nohup or in a background job. Python
    then installs no KeyboardInterrupt handler, and bash cannot trap the signal. The command is
    exec'd, so the process id stays that of the caller's child.
    """
    return [sys.executable, "-c", _RESTORE_AND_EXEC.format(disposition="DFL"), *command]


def with_ignored_sigint(*command: str) -> list[str]:
    """`command`, started as nohup or a background job of a script starts it."""
    return [sys.executable, "-c", _RESTORE_AND_EXEC.format(disposition="IGN"), *command]
