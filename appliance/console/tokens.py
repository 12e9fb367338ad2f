"""`token create`, `token list` and `token revoke`: the named access tokens of the store."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from appliance.access import file
from appliance.access.store import (
    LIMIT_BOUNDS,
    BadStore,
    NameTaken,
    NoSuchToken,
    Store,
    new_store,
)
from appliance.access.token import Limits, Token

DONE, REFUSED, UNUSABLE = 0, 1, 2  # exit codes
UNITS_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhdw])")


def main(path: str, args: argparse.Namespace) -> int:
    """Do what was asked, and return the exit code. `path` is the setting gateway.token_store."""
    if not path:
        print("set VOICE_GATEWAY_TOKEN_STORE to the file of the tokens", file=sys.stderr)
        return UNUSABLE
    try:
        if args.action == "create":
            return _create(Path(path), args)
        if args.action == "revoke":
            return _revoke(Path(path), args.name)
        return _list(Path(path), args.json)
    except NameTaken:
        print(f"there is already a token {args.name}: revoke it first", file=sys.stderr)
    except NoSuchToken:
        print(f"there is no token {args.name}", file=sys.stderr)
    except BadStore as problem:
        print(f"{path}: {problem}", file=sys.stderr)
        return UNUSABLE
    except OSError as problem:
        print(f"{path}: {problem.strerror}", file=sys.stderr)
        return UNUSABLE
    return REFUSED


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `token`."""
    parser.epilog = (
        "Exit code: 0 if it is done; 1 if the name is taken or unknown; 2 if the store or an "
        "option is wrong."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="create a token, and print it once")
    create.add_argument("name", metavar="NAME", help="1 to 32 of a-z, 0-9, - and _")
    create.add_argument(
        "--expires",
        type=expiry,
        metavar="TIME",
        help="when it expires: in 90d, 12h, 30m or 2w, or on a day such as 2027-01-31 (0:00 UTC)",
    )
    create.add_argument("--calls", type=_limit("calls"), metavar="N", help="calls at the same time")
    create.add_argument(
        "--attempts",
        type=_limit("attempts_per_minute"),
        metavar="N",
        help="connection attempts per minute from one address",
    )
    create.add_argument(
        "--minutes", type=_limit("minutes_per_day"), metavar="N", help="minutes of calls per day"
    )
    listing = actions.add_parser("list", help="list the tokens, without their secrets")
    listing.add_argument("--json", action="store_true", help="as JSON")
    revoke = actions.add_parser("revoke", help="revoke a token; its calls end within seconds")
    revoke.add_argument("name", metavar="NAME")


def expiry(text: str) -> int:
    """Return a time in seconds since 1970. Raises argparse.ArgumentTypeError."""
    duration = _DURATION.fullmatch(text)
    if duration:
        return int(time.time()) + int(duration[1]) * UNITS_SECONDS[duration[2]]
    try:
        expires_at = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time such as 90d, 12h, 30m or 2w nor a day such as 2027-01-31"
        ) from None
    if expires_at <= time.time():
        raise argparse.ArgumentTypeError(f"{text} has passed")
    return expires_at


class _Limit:
    """Reads the number of a limit, within its bounds."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= self._most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from 1 to {self._most}"
            )
        return int(text)


def _limit(name: str) -> _Limit:
    return _Limit(LIMIT_BOUNDS[name])


def _create(path: Path, args: argparse.Namespace) -> int:
    texts: list[str] = []
    limits = Limits(args.calls, args.attempts, args.minutes)

    def changed(store: Store | None) -> Store:
        store, text = (store or new_store(secrets.token_bytes)).create(
            args.name, int(time.time()), secrets.token_bytes, expires=args.expires, limits=limits
        )
        texts.append(text)
        return store

    file.change(path, changed)
    print("This is shown only once:", file=sys.stderr)
    print(texts[0])
    return DONE


def _revoke(path: Path, name: str) -> int:
    def changed(store: Store | None) -> Store:
        if store is None:
            raise NoSuchToken
        return store.revoke(name)

    file.change(path, changed)
    print(f"{name} is revoked")
    return DONE


def _list(path: Path, as_json: bool) -> int:
    store = file.load(path)
    tokens = sorted(store.tokens.values(), key=lambda token: token.name) if store else []
    now = time.time()
    if as_json:
        print(json.dumps([_facts(token, now) for token in tokens], indent=2))
        return DONE
    row = "{:<33}{:<13}{:<12}{:<22}{}"
    print(row.format("NAME", "ID", "CREATED", "EXPIRES", "LIMITS"))
    for token in tokens:
        facts = _facts(token, now)
        expires = str(facts["expires"] or "never")
        if facts["expired"]:
            expires = "expired"
        limits = ", ".join(f"{name}={facts[name]}" for name in LIMIT_BOUNDS if facts[name])
        print(row.format(token.name, token.id, str(facts["created"])[:10], expires, limits or "-"))
    return DONE


def _facts(token: Token, now: float) -> dict[str, object]:
    expires = token.expires
    return {
        "name": token.name,
        "id": token.id,
        "created": _time(token.created),
        "expires": None if expires is None else _time(expires),
        "expired": expires is not None and now >= expires,
        **{name: getattr(token.limits, name) for name in LIMIT_BOUNDS},
    }


def _time(seconds: int) -> str:
    """Return a time as text. Years after 9999, which a file can have, are written as seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
