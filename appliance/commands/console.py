"""The commands of the operator's console."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from appliance.commands.command import Command
from appliance.settings import Settings


def _status(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    form = "json" if args.json else "plain" if args.plain else "screen"
    return commands.status(settings, form, args.colour, args.lines)


def _status_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.status_options(parser)


def _exit_reason(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    form = "json" if args.json else "plain" if args.plain else "screen"
    return commands.exit_reason(form, args.exit_code, args.out_of_memory, args.lines)


def _exit_reason_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.exit_reason_options(parser)


def _logs(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.logs(args.output, args.unit, args.colour)


def _logs_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.logs_options(parser)


def _trace(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.trace(args.session, args.colour)


def _trace_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.trace_options(parser)


def _drain(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    if args.undo:
        return drain.undo(settings.paths.run, commands.print_line)
    wait = settings.gateway.session_seconds if args.wait == commands.LONGEST_CALL else args.wait
    return drain.drain(settings.paths.run, wait, commands.print_line)


def _open(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    return drain.open_again(settings.paths.run, commands.print_line)


def _close(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    return drain.close(settings.paths.run, commands.print_line)


def _drain_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.drain_options(parser)


def _audit(settings: Settings, args: Namespace) -> int:
    from appliance.console import audit

    return audit.main(settings.audit.folder, args)


def _audit_options(parser: ArgumentParser) -> None:
    from appliance.console import audit

    audit.add_options(parser)


def _token(settings: Settings, args: Namespace) -> int:
    from appliance.console import tokens

    return tokens.main(settings.gateway.token_store, args)


def _token_options(parser: ArgumentParser) -> None:
    from appliance.console import tokens

    tokens.add_options(parser)


def _tls(settings: Settings, args: Namespace) -> int:
    from appliance.tls import command

    return command.main(args)


def _tls_options(parser: ArgumentParser) -> None:
    from appliance.tls import command

    command.add_options(parser)


def _bundle(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.bundle(settings)


def _bundle_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.bundle_options(parser)


COMMANDS: Mapping[str, Command] = {
    "status": Command("show the state of the appliance", _status, _status_options),
    "exit-reason": Command(
        "show why a container exited, with its log on stdin", _exit_reason, _exit_reason_options
    ),
    "logs": Command("filter and format the log on stdin", _logs, _logs_options),
    "trace": Command("draw a call from the log on stdin, or list all", _trace, _trace_options),
    "drain": Command("refuse new calls; calls in progress continue", _drain, _drain_options),
    "open": Command("let callers in: undo close and drain", _open),
    "close": Command("refuse new calls, except those of the acceptance test", _close),
    "audit": Command(
        "check the hash chain of the audit log, or print its head", _audit, _audit_options
    ),
    "token": Command(
        "create, list or revoke named access tokens",
        _token,
        _token_options,
        log_to_stderr=True,  # stdout is the token, or the list
    ),
    "tls": Command(
        "make, show, renew and export the certificates of this host",
        _tls,
        _tls_options,
        defaults={"VOICE_JOURNAL_LEVEL": "warning"},
        log_to_stderr=True,  # stdout is the answer
    ),
    "bundle": Command("write a support bundle, with the log on stdin", _bundle, _bundle_options),
}
