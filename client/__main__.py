"""voice talk | say FILE.wav... | ask TEXT | devices (without installation: python -m client ...)

Exit codes: 0 success, or the bot said goodbye; 2 usage, or a reply that was not saved; 3 refused or
wrong token; 4 cannot connect; 5 the call was dropped; 6 no answer; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import sys

from client import ask, config, devices, say, talk
from client.errors import ClientError
from client.stderr import print_error

PACKAGE = "voice_client"  # of the release's wheel, see ops/client_wheel.py
COMMANDS = {
    "talk": (talk, "talk with microphone and loudspeaker"),
    "say": (say, "speak WAV files, one turn each"),
    "ask": (ask, "ask a typed question"),
    "devices": (devices, "list microphones and loudspeakers"),
}


def version() -> str:
    """Return the version of the installed client. A checkout has none."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "(a checkout)"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands and flags."""
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add(
        "--url",
        action="append",
        help=f"URL of the appliance, such as wss://HOST:PORT/ws ({config.DEFAULT_URL}); repeat it"
        " for further hosts, which are called if this one cannot hold the call",
    )
    add("--token-file", metavar="FILE", help="file that holds the access token")
    add("--ca", metavar="FILE", help="PEM file of the certificate authority to trust")
    add("--cert", metavar="FILE", help="PEM file of this client's certificate, if callers need one")
    add("--key", metavar="FILE", help="PEM file of the key of --cert")
    add("--config", metavar="FILE", help=f"settings file ({config.DEFAULT_FILE})")
    add(
        "--prebuffer",
        dest="prebuffer_seconds",
        type=float,
        metavar="SECONDS",
        help="audio to buffer against jitter (0.08; up to 0.15 on a bad network)",
    )
    add(
        "--retry",
        type=float,
        default=15.0,
        metavar="SECONDS",
        help="retry for this long while the appliance is full or starting (15)",
    )
    add(
        "--answer-seconds",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="give up on a turn after this long without activity (30)",
    )
    top = argparse.ArgumentParser(
        prog="voice",
        allow_abbrev=False,  # `--token SECRET` must not pass for --token-file
        description="Talk with the voice appliance.",
        epilog="Environment: " + ", ".join(config.ENVIRONMENT) + ".",
    )
    top.add_argument("--version", action="version", version=f"voice {version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, description) in COMMANDS.items():
        module.add_arguments(
            commands.add_parser(
                name,
                help=description,
                description=description,
                parents=[common],
                allow_abbrev=False,
            )
        )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    args = build_parser().parse_args(arguments)
    module, _ = COMMANDS[args.command]
    try:
        config.check_seconds("--retry", args.retry)
        config.check_seconds("--answer-seconds", args.answer_seconds)
        settings = config.load(vars(args), os.environ)
        for host in settings.hosts:
            if host.is_unencrypted:
                print_error(f"token and speech are sent to {host.host} unencrypted; prefer wss://")
        code: int = asyncio.run(module.run(args, settings))
        return code
    except ClientError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has exited, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
