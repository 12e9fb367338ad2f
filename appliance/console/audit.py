"""`audit verify` and `audit head`: check the hash chain of the audit log, or print its last line.

The lines come from files, from a tar of files, from the folder of the settings, or from the log.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from appliance.audit.chain import HASH
from appliance.audit.folder import files, lines_of
from appliance.audit.verify import Report, verify

INTACT, BROKEN, UNREADABLE = 0, 1, 2  # exit codes
LOG = "log"  # the name of stdin in findings


def main(folder: str, args: argparse.Namespace) -> int:
    """Print what was found, and return the exit code. `folder` is the setting audit.folder."""
    in_log = args.log or not (args.tar or args.files or folder)
    try:
        if in_log:
            sources: Iterable[tuple[str, Iterable[bytes]]] = [(LOG, sys.stdin.buffer)]
        elif args.tar:
            sources = _from_tar(sys.stdin.buffer)
        else:
            sources = lines_of(args.files or files(Path(folder)))
        report = verify(sources, in_log=in_log, noted_hash=args.noted or "")
    except (OSError, tarfile.TarError) as problem:
        print(f"cannot read the audit log: {problem}", file=sys.stderr)
        return UNREADABLE
    if args.action == "head":
        return _print_head(report)
    return _print_report(report)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `audit`."""
    parser.epilog = (
        "Exit code: 0 if the chain is intact; 1 if lines were changed, removed, moved, repeated or "
        "added, or if there is no line; 2 if a file cannot be read."
    )
    parser.add_argument("action", choices=("verify", "head"), help="what to do")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="files of the audit log, the oldest first; default: those in the folder that "
        "VOICE_AUDIT_FOLDER names, or without a folder the log on stdin",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--log", action="store_true", help="read the log on stdin")
    source.add_argument("--tar", action="store_true", help="read a tar of files on stdin")
    parser.add_argument(
        "--noted",
        type=_hash,
        metavar="HASH",
        help="a hash that `audit head` printed earlier; it has to be in the chain",
    )


def _hash(text: str) -> str:
    if not HASH.fullmatch(text):
        raise argparse.ArgumentTypeError("a hash has 64 digits of 0-9 and a-f")
    return text


def _from_tar(stream: BinaryIO) -> Iterator[tuple[str, Iterable[bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                yield re.sub(r".*/", "", member.name), content


def _print_head(report: Report) -> int:
    if report.lines == 0:
        print("there is no line of an audit log", file=sys.stderr)
        return BROKEN
    print(f"{report.head.number} {report.head.hash}")
    return INTACT


def _print_report(report: Report) -> int:
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"PROBLEM: {problem}")
    if report.problems:
        count = len(report.problems)
        print(f"the chain is broken: {count} {'problem' if count == 1 else 'problems'}")
        return BROKEN
    lines = f"{report.lines} {'line' if report.lines == 1 else 'lines'}"
    chains = "the chain is" if report.chains == 1 else f"{report.chains} chains are"
    print(f"{chains} intact: {lines}")
    print(f"head: {report.head.number} {report.head.hash}")
    return INTACT
