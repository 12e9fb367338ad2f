"""Identifies the token, ticket or cookie of a request, and issues tickets and cookies."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from appliance import journal
from appliance.access import file, signed
from appliance.access.credentials import Credential, Credentials
from appliance.access.presented import Presented, own_origin, presented
from appliance.access.store import BadStore, Store
from appliance.access.token import PREFIX
from appliance.access.verifier import Verifier
from appliance.errors import (
    BadSetting,
    Refused,
    TokenInUrl,
    TooManyAttempts,
    WrongTicket,
    WrongToken,
)
from appliance.gateway.http.admission import ConnectionAttempt
from appliance.gateway.http.token_file import SharedToken
from appliance.gateway.metrics import Weakness
from appliance.settings import GatewayConfig

REALTIME = "/v1/realtime"  # the path of OpenAI's clients
SUBPROTOCOL = "realtime"  # what a browser's Realtime client offers, with its key in a second one
KEY_SUBPROTOCOL = "openai-insecure-api-key."  # the key of such a client: here, a ticket
log = journal.get()


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of the tokens that were created, revoked, and that have expired, since the last time.

    A token that was replaced by one of the same name was revoked and created.
    """

    created: Sequence[str] = ()
    revoked: Sequence[str] = ()
    expired: Sequence[str] = ()


def tickets_of(request: HTTPConnection) -> list[str]:
    """Return the tickets in the URL of a request, and in the subprotocols of a Realtime client."""
    offered = request.scope["subprotocols"] if request.scope["path"] == REALTIME else []
    keys = [
        each.removeprefix(KEY_SUBPROTOCOL) for each in offered if each.startswith(KEY_SUBPROTOCOL)
    ]
    return [*request.query_params.getlist("token"), *keys]


def accepted_subprotocol(request: HTTPConnection) -> str | None:
    """Return the subprotocol to confirm: a browser that offers some expects one."""
    return SUBPROTOCOL if SUBPROTOCOL in request.scope.get("subprotocols", []) else None


class Gatekeeper:
    """The tokens that are valid now, and the tickets that were used.

    A changed token file counts as a revocation of its token and the creation of another one.
    """

    def __init__(self, gateway: GatewayConfig) -> None:
        """Read the tokens. Raises BadSetting if that fails or if there is no source of tokens."""
        self._path = Path(gateway.token_store) if gateway.token_store else None
        self._login_seconds = int(gateway.login_seconds)
        self._shared = SharedToken(gateway.token_file, optional=self._path is not None)
        self._version: file.Version | None = None
        self._store_failing = False
        self._store_exposed = False
        self._store = self._first_store()
        credentials = Credentials(self._store, self._shared.token.text)
        if not len(credentials):
            log.warning("there is no access token yet", path=str(self._path))
        self._verifier = Verifier(credentials)
        self._expired = {each.id for each in credentials if each.has_expired(time.time())}
        mark = secrets.token_bytes(signed.MARK_BYTES)
        self._tickets = signed.Tickets(mark, started=time.time())

    @property
    def failing(self) -> bool:
        """Whether the store or the token file could not be read; its last tokens stay valid."""
        return self._store_failing or self._shared.failing

    @property
    def weaknesses(self) -> Mapping[Weakness, bool]:
        """What makes a token easier to guess or to read than it has to be."""
        return {
            "short_token": self._shared.token.short,
            "readable_token": self._shared.token.exposed,
            "readable_store": self._store_exposed,
        }

    def close(self) -> None:
        """End the thread that computes hashes."""
        self._verifier.close()

    def count(self) -> int:
        """Return how many tokens are valid."""
        unix_time = time.time()
        return sum(not each.has_expired(unix_time) for each in self._verifier.credentials)

    def current(self, caller: Credential) -> Credential | None:
        """Return a token with its expiry and limits of now, or None if it was revoked."""
        return self._verifier.credentials.current(caller)

    async def attempt(self, request: HTTPConnection) -> ConnectionAttempt:
        """Return who makes a request."""
        proof = presented(
            request.headers.getlist("authorization"),
            tickets_of(request),
            request.headers.getlist("cookie"),
        )
        return await self._checked(request, proof)

    async def login_attempt(self, request: HTTPConnection, text: str | None) -> ConnectionAttempt:
        """Return who logs in, with the token in a header, or with `text` if there is no header."""
        authorization = request.headers.getlist("authorization")
        proof = presented(authorization)
        if not authorization and text is not None:
            proof = Presented("bearer", text)
        return await self._checked(request, proof)

    def use(self, attempt: ConnectionAttempt) -> Refused | None:
        """Use up the ticket of an attempt that was admitted. Return why it cannot be used."""
        if attempt.kind != "ticket":
            return None
        ticket = signed.read(attempt.ticket)
        if ticket is None or not self._tickets.may_be_used(ticket):
            return WrongTicket()
        if not self._tickets.has_room(time.time()):
            return TooManyAttempts()
        self._tickets.add(ticket)
        return None

    def ticket(self, caller: Credential) -> str:
        """Return a new ticket."""
        expires = int(time.time()) + signed.TICKET_SECONDS
        nonce = self._tickets.nonce(secrets.token_bytes(signed.NONCE_BYTES - signed.MARK_BYTES))
        return signed.sign(signed.TICKET, caller.id, expires, nonce, caller.key)

    def cookie(self, caller: Credential) -> tuple[str, int]:
        """Return a new login cookie, and for how many seconds it is valid."""
        seconds, unix_time = self._login_seconds, time.time()
        if caller.expires is not None:
            seconds = max(0, min(seconds, int(caller.expires - unix_time)))
        nonce = secrets.token_bytes(signed.NONCE_BYTES)
        text = signed.sign(signed.COOKIE, caller.id, int(unix_time) + seconds, nonce, caller.key)
        return text, seconds

    async def reload(self) -> Changes:
        """Read store and token file again if they have changed. Return what is different."""
        before = self._verifier.credentials
        if await asyncio.to_thread(self._read_changes):
            self._verifier.replace(Credentials(self._store, self._shared.token.text))
            log.info("access tokens read", tokens=len(self._verifier.credentials))
        after = self._verifier.credentials
        revoked = [each.name for each in before if after.current(each) is None]
        created = [each.name for each in after if before.current(each) is None]
        unix_time = time.time()
        expired = [
            each for each in after if each.has_expired(unix_time) and each.id not in self._expired
        ]
        self._expired.update(each.id for each in expired)
        return Changes(created, revoked, [each.name for each in expired])

    async def _checked(self, request: HTTPConnection, proof: Presented) -> ConnectionAttempt:
        caller: Credential | None = None
        problem: Refused = WrongToken()
        if proof.kind == "bearer":
            caller = await self._verifier.verify(proof.text)
        elif proof.kind == "ticket":
            caller = self._signer(signed.TICKET, proof.text)
            in_url = proof.text in request.query_params.getlist("token")
            is_token = in_url and self._is_token(proof.text)
            problem = TokenInUrl() if is_token else WrongTicket()
        elif proof.kind == "cookie":
            caller = self._signer(signed.COOKIE, proof.text)
        return ConnectionAttempt(
            address=request.client.host if request.client else "",
            origin=", ".join(request.headers.getlist("origin")),
            own_origin=own_origin(request.url.scheme, request.headers.getlist("host")),
            kind=proof.kind,
            ticket=proof.text if proof.kind == "ticket" else "",
            caller=caller,
            problem=None if caller else problem,
        )

    def _signer(self, kind: str, text: str) -> Credential | None:
        """Return whose token a ticket or cookie stands for, if it is valid and was not used."""
        signature = signed.read(text)
        if signature is None:
            return None
        if kind == signed.TICKET and not self._tickets.may_be_used(signature):
            return None
        caller = self._verifier.credentials.find(signature.token_id)
        valid = caller is not None and signature.is_valid(kind, caller.key, time.time())
        return caller if valid else None

    def _is_token(self, text: str) -> bool:
        is_shared = self._verifier.credentials.shared(text) is not None
        return is_shared or text.startswith(f"{PREFIX}.")

    def _first_store(self) -> Store | None:
        if self._path is None:
            return None
        try:
            self._version = file.version_of(self._path)
            store = file.load(self._path)
            if store is not None:
                self._check_mode(self._path)
        except (OSError, BadStore) as problem:
            raise BadSetting(name="gateway.token_store", why=str(problem)) from problem
        return store

    def _check_mode(self, path: Path) -> None:
        """Note whether all users can read the store. Raises OSError."""
        self._store_exposed = file.is_exposed(path)
        if self._store_exposed:
            log.warning("token store readable by all users", path=str(path))

    def _read_changes(self) -> bool:
        """Return whether the tokens of the store or of the token file are others. In a thread."""
        store = None if self._path is None else self._changed_store(self._path)
        self._store = store or self._store
        return self._shared.reload() or store is not None

    def _changed_store(self, path: Path) -> Store | None:
        """Return the store if its file has changed, otherwise None. Runs in a thread.

        A file that cannot be read changes nothing, so that a mistake does not end all calls.
        """
        try:
            version = file.version_of(path)
            if version is None and self._version is not None:
                raise FileNotFoundError(path)
            if version == self._version and not self._store_failing:
                return None
            store = file.load(path)
            if store is not None:
                self._check_mode(path)
        except (OSError, BadStore) as problem:
            if not self._store_failing:
                error = BadSetting(name="gateway.token_store", why=str(problem))
                log.error("token store unreadable", path=str(path), exc_info=error)
            self._store_failing = True
            return None
        self._store_failing = False
        self._version = version
        return store
