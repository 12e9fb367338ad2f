"""`python -m appliance COMMAND`: run one process of the appliance, or a command for operators.

The commands are in `appliance/commands/`.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from appliance import core_dumps, journal, journal_fields, offline, run_folder
from appliance.commands import COMMANDS
from appliance.commands.checks import check_settings
from appliance.errors import ApplianceError, BadSetting, CannotStart, ModelUnhealthy
from appliance.processes import NAMES
from appliance.settings import Settings, load

SUPERVISED = "SUPERVISOR_ENABLED"  # set by supervisord for its programs
RUN_FOLDER = "VOICE_PATHS_RUN"
EXIT_CRASHED = 70  # EX_SOFTWARE of sysexits.h: a bug, not a wrong setting


def main(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Run a command. Return its exit code, or the exit code of the error that it raises."""
    core_dumps.disable()
    core_dumps.hide_memory()
    name = next(iter(argv), "")
    stream = sys.stderr.buffer if name in COMMANDS and COMMANDS[name].log_to_stderr else None
    settings = Settings()
    journal.configure(settings.journal, name, stream=stream)  # until the settings are loaded
    try:
        offline.apply(environ)  # before any package and its libraries are imported
        args = _parse(argv)
        if name == "settings" and args.check is not None:
            return check_settings(args.check, environ)
        settings = load({**COMMANDS[name].defaults, **environ})
        journal.configure(settings.journal, name, stream=stream)
        return COMMANDS[name].run(settings, args)
    except ApplianceError as error:
        final = error.exit_code == CannotStart.exit_code or isinstance(error, ModelUnhealthy)
        if SUPERVISED in environ and name in NAMES and final:
            # Taken from the environment, where boot always sets it: the settings may be invalid.
            folder = Path(environ.get(RUN_FOLDER, settings.paths.run))
            run_folder.write_failure(folder, name, error)
        return _report(name, error)
    except KeyboardInterrupt:
        return 0
    except Exception:
        journal.get().critical("crashed", exc_info=True, exit_code=EXIT_CRASHED)
        return EXIT_CRASHED


def run() -> int:
    """Run the command `voice-appliance`."""
    return main(sys.argv[1:], os.environ)


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m appliance",
        description="Run one process of the voice appliance, or a command for operators.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        options = subparsers.add_parser(name, help=command.help, description=command.help)
        if name in argv[:1]:
            command.add_options(options)
    return parser.parse_args(argv)


def _report(command: str, error: ApplianceError) -> int:
    """Print an error as text on a terminal, otherwise log it. Return its exit code."""
    errors = [error, *error.others] if isinstance(error, BadSetting) else [error]
    if sys.stderr.isatty():
        for each in errors:
            print(f"{command}: {each}", file=sys.stderr)
        print(f"\n  {error.advice}", file=sys.stderr)
        print(f"  ({error.reason}, exit code {error.exit_code})", file=sys.stderr)
        return error.exit_code
    for each in errors:
        fields = journal_fields.describe(each)
        fields.pop("trace")
        fields.pop("caused_by", None)
        journal.get().critical("stopped by an error", exit_code=error.exit_code, **fields)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(run())
