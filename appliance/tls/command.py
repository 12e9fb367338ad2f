"""`python -m appliance tls`: make, show, renew and export the certificates of this host.

`voicectl tls` runs it in a container without a network, with both folders mounted.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from appliance.errors import BadCertificate, BadName, NotOurCertificate
from appliance.tls import examine, issue
from appliance.tls.folder import ACCEPTANCE_CLIENT, TlsFolders, read
from appliance.tls.instructions import trust_page
from appliance.tls.names import LOOPBACK, HostNames, parse

SERVING_FOLDER = Path("/run/secrets/tls")
AUTHORITY_FOLDER = Path("/run/secrets/tls-ca")
CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")  # also a file name
EXIT_PROBLEM = 1  # of show


def add_options(parser: ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--folder", type=Path, default=SERVING_FOLDER)
        action.add_argument("--authority", type=Path, default=AUTHORITY_FOLDER)
        action.add_argument("--owner", type=int, default=-1, help="user id that the key is for")
        return action

    init = add("init", "make the site's CA and a server certificate, if there are none")
    init.add_argument("--new-ca", action="store_true", help="replace them")
    renew = add("renew", "issue a new server certificate, if it is due or names are missing")
    renew.add_argument("--force", action="store_true", help="also if it is not due")
    for action in (init, renew):
        action.add_argument("--name", action="append", default=[], help="host name or address")
        action.add_argument("--quiet", action="store_true", help="print only what was changed")
    show = add("show", "show the server certificate; exit code 1 if something is wrong with it")
    show.add_argument("--json", action="store_true")
    add("export", "print the certificate of the CA")
    add("trust", "explain how to trust the CA on each system")
    add("client", "issue a client certificate").add_argument("client", metavar="NAME")


def main(args: Namespace) -> int:
    """Run one action. Return the exit code. Raises CannotStart."""
    folders = TlsFolders(args.folder, args.authority, args.owner)
    now = datetime.now(UTC)
    match args.action:
        case "init":
            return _init(folders, parse(args.name), now, args)
        case "renew":
            return _renew(folders, parse(args.name), now, args)
        case "show":
            return _show(folders, now, args.json)
        case "client":
            return _client(folders, args.client, now)
        case "trust":
            print(trust_page(_server(folders, now).names))
            return 0
        case _:
            sys.stdout.buffer.write(examine.authorities_only(read(folders.serving / "ca.pem")))
            return 0


def _init(folders: TlsFolders, names: HostNames, now: datetime, args: Namespace) -> int:
    ours = folders.has_authority("ca")
    if folders.has_server_certificate() and not (args.new_ca and ours):
        if not args.quiet:
            print("there is a certificate already: nothing to do")
        return 0
    names += LOOPBACK
    if args.new_ca or not ours:
        if folders.has_server_certificate():
            _require_ours(folders)
        folders.write_authority("ca", issue.server_authority(names, now))
        print("made a CA of this site: voicectl trust explains how devices trust it")
    _issue(folders, names, now)
    return 0


def _renew(folders: TlsFolders, names: HostNames, now: datetime, args: Namespace) -> int:
    if folders.has_authority("client-ca") and _acceptance_client_due(folders, now):
        _issue_acceptance_client(folders, now)
        print("issued a client certificate for the acceptance test")
    _require_ours(folders)
    served = _server(folders, now)
    names = served.names + names
    due = served.not_after is None or examine.renewal_due(served.not_after, now)
    if not due and not args.force and names == served.names:
        if not args.quiet:
            print(f"the certificate is valid until {served.not_after:%Y-%m-%d}: not due yet")
        return 0
    _issue(folders, names, now)
    return 0


def _show(folders: TlsFolders, now: datetime, as_json: bool) -> int:
    served = _server(folders, now)
    refused = served.refused_by_clients
    ours = folders.has_authority("ca") and _is_ours(folders)
    if as_json:
        tree = {
            "names": served.names.texts(),
            "issuer": served.issuer,
            "own_ca": ours,
            "not_before": served.not_before and served.not_before.isoformat(),
            "not_after": served.not_after and served.not_after.isoformat(),
            "problems": [problem.reason for problem in served.problems],
        }
        print(json.dumps(tree, indent=2))
        return EXIT_PROBLEM if refused else 0
    print(f"names:   {', '.join(served.names.texts()) or 'none'}")
    print(f"issuer:  {served.issuer}{' (the CA of this site)' if ours else ''}")
    if served.not_before and served.not_after:
        days = (served.not_after - now).days
        print(f"valid:   {served.not_before:%Y-%m-%d} to {served.not_after:%Y-%m-%d} ({days} days)")
    for problem in served.problems:
        print(f"problem: {problem.text}")
    return EXIT_PROBLEM if refused else 0


def _client(folders: TlsFolders, name: str, now: datetime) -> int:
    if not CLIENT_NAME.fullmatch(name):
        raise BadName(text=name)
    if not folders.has_authority("client-ca"):
        folders.write_authority("client-ca", issue.client_authority(now))
        _issue_acceptance_client(folders, now)
        print("made the CA of the clients")
    client = issue.client_certificate(folders.read_authority("client-ca"), name, now)
    for path in folders.write_client(name, client):
        print(f"wrote {path.relative_to(folders.authority)}")
    return 0


def _issue_acceptance_client(folders: TlsFolders, now: datetime) -> None:
    """Issue the certificate with which the acceptance test calls, and probes of the host may."""
    authority = folders.read_authority("client-ca")
    folders.write_acceptance_client(issue.client_certificate(authority, "acceptance-test", now))


def _issue(folders: TlsFolders, names: HostNames, now: datetime) -> None:
    folders.write_server(issue.server_certificate(folders.read_authority("ca"), names, now))
    print(f"issued a certificate for {', '.join(names.texts())}")


def _acceptance_client_due(folders: TlsFolders, now: datetime) -> bool:
    path = folders.serving / ACCEPTANCE_CLIENT
    chain = examine.read_chain(read(path)) if path.exists() else []
    return not chain or examine.renewal_due(chain[0].not_valid_after_utc, now)


def _server(folders: TlsFolders, now: datetime) -> examine.Examination:
    """Examine the server's certificate. Raises BadCertificate if there is none."""
    if not folders.chain.exists() or not folders.key.exists():
        raise BadCertificate(path=folders.chain, why="it or its key.pem is missing")
    mode = folders.key.stat().st_mode
    return examine.examine(read(folders.chain), read(folders.key), mode, now)


def _require_ours(folders: TlsFolders) -> None:
    """Raise NotOurCertificate if the server's certificate is the customer's own."""
    if folders.has_server_certificate() and not _is_ours(folders):
        raise NotOurCertificate(path=folders.chain)


def _is_ours(folders: TlsFolders) -> bool:
    authority = folders.authority / "ca.pem"
    return (
        authority.exists()
        and folders.chain.exists()
        and examine.issued_by(read(folders.chain), read(authority))
    )
