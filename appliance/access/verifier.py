"""Compares a token with its scrypt hash: once for each token, in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor

from appliance.access.credentials import Credential, Credentials
from appliance.access.token import Token, TokenText

MAX_TEXT_CHARS = 512  # of a token; a longer one is wrong


class Verifier:
    """Checks tokens. A right one is remembered by a keyed hash of its text.

    A hash is only computed for a text whose tag is right: strangers cannot cause one. One thread
    computes one hash at a time (16 MiB), and attempts with the same token wait for the same hash.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="scrypt")
        self._memory_key = secrets.token_bytes(32)
        self._known: dict[str, tuple[bytes, bytes]] = {}  # by id: the signing key, and the digest
        self._running: dict[bytes, asyncio.Future[bool]] = {}  # by digest
        self.hashes = 0  # computed since the start

    @property
    def credentials(self) -> Credentials:
        """The tokens that are valid now."""
        return self._credentials

    def replace(self, credentials: Credentials) -> None:
        """Use other credentials from now on."""
        self._credentials = credentials
        current = {each.id: each.key for each in credentials}
        self._known = {
            token_id: known
            for token_id, known in self._known.items()
            if current.get(token_id) == known[0]
        }

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def verify(self, text: str) -> Credential | None:
        """Return the credential of a token's text, or None. It may have expired."""
        if not 0 < len(text) <= MAX_TEXT_CHARS:
            return None
        shared = self._credentials.shared(text)
        if shared is not None:
            return shared
        named = self._credentials.named(text)
        if named is None:
            return None
        token, parts = named
        credential = self._credentials.find(token.id)
        if credential is None:
            return None
        digest = hashlib.blake2b(text.encode(), key=self._memory_key, digest_size=32).digest()
        known = self._known.get(token.id)
        if known is not None and hmac.compare_digest(known[1], digest):
            return credential
        if not await self._compare(token, parts, digest):
            return None
        current = self._credentials.current(credential)
        if current is not None:  # not revoked while the hash was computed
            self._known[token.id] = current.key, digest
        return current

    async def _compare(self, token: Token, parts: TokenText, digest: bytes) -> bool:
        running = self._running.get(digest)
        if running is None:
            self.hashes += 1
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._executor, token.secret.matches, parts.secret)
            self._running[digest] = running
            running.add_done_callback(lambda _: self._running.pop(digest, None))
        # A client that leaves must not cancel the hash that others wait for.
        return await asyncio.shield(running)
