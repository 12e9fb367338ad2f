"""Named access tokens: what one grants, and its text, which only its owner has. No I/O.

The text of a token is

    va.ID.SECRET.TAG

    ID      12 hexadecimal digits, which name the token's entry in the store
    SECRET  32 random bytes, in base64url
    TAG     16 bytes, in base64url: an HMAC of ID and SECRET with the key of the store

The store keeps no SECRET, only its scrypt hash. Only who has the store's key can make a TAG. So a
guess, and a token of another store, is refused before anything expensive is computed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # safe as a label value, in a log and in a shell
ID = re.compile(r"[0-9a-f]{12}")
PREFIX = "va"
SECRET_BYTES = 32
TAG_BYTES = 16
SALT_BYTES = 16
HASH_BYTES = 32
MAX_SCRYPT_MEMORY_BYTES = 64 << 20
_TEXT = re.compile(rf"{PREFIX}\.({ID.pattern})\.([A-Za-z0-9_-]{{43}})\.([A-Za-z0-9_-]{{22}})")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one token allows, at most. None: only the limits of all tokens count.

    calls               at the same time
    attempts_per_minute connection attempts, from all addresses together
    minutes_per_day     of calls, in a day of UTC
    """

    calls: int | None = None
    attempts_per_minute: int | None = None
    minutes_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class SecretHash:
    """The scrypt hash of a secret, with its parameters (RFC 7914).

    A secret has 256 random bits, so it cannot be guessed from any hash. The parameters only have to
    be those of a password hash that reviewers accept: 16 MiB and about 40 ms.
    """

    salt: bytes
    hash: bytes
    log2_n: int = 14
    r: int = 8
    p: int = 1

    def matches(self, secret: bytes) -> bool:
        """Whether this is the hash of `secret`. Takes about 40 ms of one core."""
        return hmac.compare_digest(self.hash, self._compute(secret))

    @classmethod
    def of(cls, secret: bytes, salt: bytes) -> SecretHash:
        """Hash a secret with `salt`, SALT_BYTES random bytes."""
        empty = cls(salt, b"")
        return cls(salt, empty._compute(secret))

    def _compute(self, secret: bytes) -> bytes:
        return hashlib.scrypt(
            secret,
            salt=self.salt,
            n=1 << self.log2_n,
            r=self.r,
            p=self.p,
            maxmem=MAX_SCRYPT_MEMORY_BYTES,
            dklen=HASH_BYTES,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """An entry of the store. Times are in whole seconds since 1970, UTC."""

    id: str
    name: str
    secret: SecretHash
    created: int
    expires: int | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class TokenText:
    """The parts of a token's text."""

    id: str
    secret: bytes
    tag: bytes

    def is_of(self, key: bytes) -> bool:
        """Whether the token was made with the store's key. Takes microseconds."""
        return hmac.compare_digest(self.tag, tag_of(key, self.id, self.secret))


def tag_of(key: bytes, token_id: str, secret: bytes) -> bytes:
    """Return the TAG of a token."""
    return hmac.digest(key, b"token\0" + token_id.encode() + secret, "sha256")[:TAG_BYTES]


def write_text(key: bytes, token_id: str, secret: bytes) -> str:
    """Return the text of a token."""
    return f"{PREFIX}.{token_id}.{encode(secret)}.{encode(tag_of(key, token_id, secret))}"


def read_text(text: str) -> TokenText | None:
    """Return the parts of a token's text, or None if `text` is something else."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    secret, tag = decode(match[2]), decode(match[3])
    if secret is None or tag is None or len(secret) != SECRET_BYTES or len(tag) != TAG_BYTES:
        return None
    return TokenText(match[1], secret, tag)


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def decode(text: str) -> bytes | None:
    """Return what `encode` encoded, or None. Each value has exactly one text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode(data) == text else None
