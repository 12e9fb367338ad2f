"""The programs that `voicectl prove-offline` runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from appliance.commands.command import Command
from appliance.settings import Settings


def _watch_egress(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import watcher

    return watcher.watch(args.run_id)


def _egress_probe(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import sender

    sender.send(args.run_id, args.sender)
    return 0


def _egress_statement(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import command

    return command.main(settings, args.page)


def _run_id_options(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="identifies this run: hexadecimal digits")


def _egress_probe_options(parser: ArgumentParser) -> None:
    from appliance.egress_proof.probes import SENDERS

    _run_id_options(parser)
    parser.add_argument("sender", choices=SENDERS, help="who sends")


def _egress_statement_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--page", action="store_true", help="read a statement from stdin and print it as text"
    )


COMMANDS: Mapping[str, Command] = {
    "watch-egress": Command(
        "record every packet in this network namespace until SIGTERM",
        _watch_egress,
        _run_id_options,
        log_to_stderr=True,  # stdout is the record
    ),
    "egress-probe": Command(
        "send packets on purpose, which watch-egress must see",
        _egress_probe,
        _egress_probe_options,
        log_to_stderr=True,
    ),
    "egress-statement": Command(
        "write the statement made of the records of a proof on stdin",
        _egress_statement,
        _egress_statement_options,
        log_to_stderr=True,  # stdout is the statement
    ),
}
