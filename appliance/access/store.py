"""The token store: its key, its tokens, and the text of its file. No I/O.

The file has a JSON object on each line. The first one is the store, each other one a token:

    {"format":"voice-appliance tokens 1","key":"..."}
    {"id":"4f1c09b2a7de","name":"ward-3","created":1764367200,"expires":1772143200,
     "scrypt":{"log2_n":14,"r":8,"p":1,"salt":"...","hash":"..."},"calls":2}

(The second one is one line in the file.) Binary values are base64url without padding. `expires`,
`calls`, `attempts_per_minute` and `minutes_per_day` may be absent.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from appliance.access.token import (
    HASH_BYTES,
    ID,
    NAME,
    SALT_BYTES,
    SECRET_BYTES,
    Limits,
    SecretHash,
    Token,
    decode,
    encode,
    write_text,
)

FORMAT = "voice-appliance tokens 1"
KEY_BYTES = 32
MAX_TOKENS = 10_000
MAX_FILE_BYTES = 8 << 20
MAX_TIME = 1 << 40  # seconds since 1970
LIMIT_BOUNDS = {  # largest value of each limit; the smallest is 1
    "calls": 1000,
    "attempts_per_minute": 1_000_000,
    "minutes_per_day": 1_440_000,
}
RESERVED_NAMES = ("shared",)  # the token of gateway.token_file
_REQUIRED = {"id", "name", "created", "scrypt"}
_KNOWN = _REQUIRED | {"expires"} | LIMIT_BOUNDS.keys()


class BadStore(Exception):
    """The file is not a token store. The message names the line and has no content of it."""


class NameTaken(Exception):
    """There is already a token with this name."""


class NoSuchToken(Exception):
    """There is no token with this name."""


@dataclass(frozen=True, slots=True)
class Store:
    """The tokens by id, and the key that signs tokens, cookies and tickets."""

    key: bytes
    tokens: Mapping[str, Token] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, name: str) -> Token | None:
        """Return the token with this name, or None."""
        return next((token for token in self.tokens.values() if token.name == name), None)

    def create(
        self,
        name: str,
        now: int,
        random: Callable[[int], bytes],
        *,
        expires: int | None = None,
        limits: Limits | None = None,
    ) -> tuple[Store, str]:
        """Return a store with one more token, and the token's text.

        `random` returns a number of random bytes. Raises NameTaken, or BadStore if the name or a
        number is not allowed, or if there are MAX_TOKENS tokens.
        """
        if self.find(name) is not None:
            raise NameTaken
        if len(self.tokens) >= MAX_TOKENS:
            raise BadStore(f"there are {MAX_TOKENS} tokens; revoke some")
        token_id, secret = random(6).hex(), random(SECRET_BYTES)
        hashed = SecretHash.of(secret, random(SALT_BYTES))
        token = Token(token_id, name, hashed, now, expires, limits or Limits())
        _parse_token(_fields(token))  # raises BadStore
        tokens = MappingProxyType({**self.tokens, token_id: token})
        return replace(self, tokens=tokens), write_text(self.key, token_id, secret)

    def revoke(self, name: str) -> Store:
        """Return a store without this token. Raises NoSuchToken."""
        token = self.find(name)
        if token is None:
            raise NoSuchToken
        rest = {key: other for key, other in self.tokens.items() if other is not token}
        return replace(self, tokens=MappingProxyType(rest))


def new_store(random: Callable[[int], bytes]) -> Store:
    """Return an empty store with a new key."""
    return Store(random(KEY_BYTES))


def signing_key(key: bytes, token_id: str, verifier: bytes) -> bytes:
    """Return the key that signs the cookies and tickets of one token.

    It changes with the store's key and with the token: what was signed before is then invalid.
    """
    return hmac.digest(key, b"sign\0" + token_id.encode() + b"\0" + verifier, "sha256")


def write(store: Store) -> str:
    """Return the text of the store's file."""
    head: dict[str, object] = {"format": FORMAT, "key": encode(store.key)}
    lines = [head, *(_fields(token) for token in store.tokens.values())]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def read(text: str) -> Store:
    """Return the store in the text of a file. Raises BadStore."""
    if len(text) > MAX_FILE_BYTES:
        raise BadStore("the file is too large")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise BadStore("the file is empty")
    if len(lines) > MAX_TOKENS + 1:
        raise BadStore(f"there are more than {MAX_TOKENS} tokens")
    head = _object(lines[0], 1)
    key = _binary(head.get("key"), KEY_BYTES)
    if head.get("format") != FORMAT or key is None or head.keys() != {"format", "key"}:
        raise BadStore("line 1 is not the head of a token store of this version")
    tokens: dict[str, Token] = {}
    names: set[str] = set()
    for number, line in enumerate(lines[1:], start=2):
        try:
            token = _parse_token(_object(line, number))
        except BadStore as problem:
            raise BadStore(f"line {number}: {problem}") from None
        if token.id in tokens or token.name in names:
            raise BadStore(f"line {number}: another token has this name or id")
        tokens[token.id] = token
        names.add(token.name)
    return Store(key, MappingProxyType(tokens))


def _fields(token: Token) -> dict[str, object]:
    scrypt = token.secret
    limits = {name: getattr(token.limits, name) for name in LIMIT_BOUNDS}
    fields: dict[str, object] = {
        "id": token.id,
        "name": token.name,
        "created": token.created,
        "expires": token.expires,
        "scrypt": {
            "log2_n": scrypt.log2_n,
            "r": scrypt.r,
            "p": scrypt.p,
            "salt": encode(scrypt.salt),
            "hash": encode(scrypt.hash),
        },
        **limits,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _parse_token(fields: dict[str, object]) -> Token:
    unknown = fields.keys() - _KNOWN
    if unknown or not fields.keys() >= _REQUIRED:
        raise BadStore("a field is missing or unknown")
    token_id, name = fields["id"], fields["name"]
    if not isinstance(token_id, str) or not ID.fullmatch(token_id):
        raise BadStore("id is not 12 hexadecimal digits")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise BadStore(
            "the name has to have 1 to 32 of a-z, 0-9, '-' and '_', begin with a letter or a digit,"
            f" and be none of: {', '.join(RESERVED_NAMES)}"
        )
    numbers = {
        name: _number(name, fields[name], 1, most)
        for name, most in LIMIT_BOUNDS.items()
        if name in fields
    }
    created = _number("created", fields["created"], 0, MAX_TIME)
    expires = _number("expires", fields["expires"], 0, MAX_TIME) if "expires" in fields else None
    return Token(token_id, name, _hash(fields["scrypt"]), created, expires, Limits(**numbers))


def _hash(value: object) -> SecretHash:
    if not isinstance(value, dict) or value.keys() != {"log2_n", "r", "p", "salt", "hash"}:
        raise BadStore("scrypt has missing or unknown fields")
    salt, digest = _binary(value["salt"], SALT_BYTES), _binary(value["hash"], HASH_BYTES)
    if salt is None or digest is None:
        raise BadStore("salt or hash has the wrong length")
    # At most 32 MiB and eight times the work of ours: a file cannot make the gateway stall.
    p = _number("p", value["p"], 1, 4)
    log2_n = _number("log2_n", value["log2_n"], 14, 15)
    return SecretHash(salt, digest, log2_n, _number("r", value["r"], 8, 8), p)


def _number(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadStore(f"{name} has to be a whole number from {least} to {most}")
    return value


def _binary(value: object, size_bytes: int) -> bytes | None:
    data = decode(value) if isinstance(value, str) else None
    return data if data is not None and len(data) == size_bytes else None


def _object(line: str, number: int) -> dict[str, object]:
    try:
        value = json.loads(line, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise BadStore(f"line {number} is not a JSON object") from None
    if not isinstance(value, dict):
        raise BadStore(f"line {number} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields
