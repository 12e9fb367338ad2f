"""The known tokens: all of the store, and the one of the token file. No I/O."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.access.signed import SHARED_ID
from appliance.access.store import Store, signing_key
from appliance.access.token import Limits, Token, TokenText, read_text

SHARED_NAME = "shared"  # the name of the token in gateway.token_file


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, as the gateway uses it.

    key       signs its cookies and tickets
    verifier  what a token's text is compared with. Two credentials with the same id and verifier
              are the same token, whatever else has changed
    """

    id: str
    name: str
    key: bytes = field(repr=False)
    verifier: bytes = field(repr=False)
    expires: int | None = None
    limits: Limits = field(default_factory=Limits)

    def has_expired(self, now: float) -> bool:
        """Whether the token has expired at `now`, in seconds since 1970."""
        return self.expires is not None and now >= self.expires


class Credentials:
    """All tokens. `shared` is the token of gateway.token_file, or ""; it has no expiry."""

    def __init__(self, store: Store | None, shared: str = "") -> None:
        self._store = store
        self._shared = shared.encode()
        self._by_id: dict[str, Credential] = {}
        if store is not None:
            self._by_id = {key: _credential(store, token) for key, token in store.tokens.items()}
        if shared:
            # The key follows from the token alone. So its cookies stay valid when the first named
            # token makes a store, and hosts of a pool without a store share the key, too.
            root = hashlib.sha256(self._shared).digest()
            verifier = hashlib.sha256(b"shared\0" + self._shared).digest()
            key = signing_key(root, SHARED_ID, verifier)
            self._by_id[SHARED_ID] = Credential(SHARED_ID, SHARED_NAME, key, verifier)

    def __iter__(self) -> Iterator[Credential]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, token_id: str) -> Credential | None:
        """Return the credential with this id, or None."""
        return self._by_id.get(token_id)

    def current(self, credential: Credential) -> Credential | None:
        """Return this very token with its expiry and limits of now, or None if it is gone."""
        latest = self._by_id.get(credential.id)
        same = latest is not None and hmac.compare_digest(latest.verifier, credential.verifier)
        return latest if same else None

    def shared(self, text: str) -> Credential | None:
        """Return the shared token's credential if this is its text. Takes constant time."""
        received = text.encode("utf-8", "replace")
        if self._shared and hmac.compare_digest(received, self._shared):
            return self._by_id[SHARED_ID]
        return None

    def named(self, text: str) -> tuple[Token, TokenText] | None:
        """Return the entry of the store that a token's text belongs to, or None.

        The text has a right tag, but its secret is not compared with the hash.
        """
        parts = read_text(text)
        if parts is None or self._store is None or not parts.is_of(self._store.key):
            return None
        token = self._store.tokens.get(parts.id)
        return None if token is None else (token, parts)


def _credential(store: Store, token: Token) -> Credential:
    key = signing_key(store.key, token.id, token.secret.hash)
    verifier = store.key + token.secret.hash  # of the tag, and of the secret
    return Credential(token.id, token.name, key, verifier, token.expires, token.limits)
