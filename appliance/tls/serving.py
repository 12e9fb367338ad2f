"""The gateway's certificate: load it, and load a new one when its files change.

Calls in progress keep the certificate with which they began.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import journal
from appliance.errors import BadCertificate
from appliance.settings import GatewayConfig
from appliance.tls.policy import require_tls

if TYPE_CHECKING:
    from appliance.tls.examine import Examination

POLL_SECONDS = 5.0  # between two looks at the files
AUTHORITY_NAME = "ca.pem"  # beside the certificate; what /ca.pem serves
Fingerprint = tuple[tuple[int, int, int, int], ...]  # inode, time of change, size, mode; each file
log = journal.get()


class ServerCertificate:
    """The certificate that new connections get.

    context      None if calls are not encrypted
    expires_at   Unix time; 0 if calls are not encrypted
    key_exposed  whether all users of the machine can read the key
    sha256       fingerprint of the server's certificate
    client_ca_sha256  hash of the file gateway.tls_client_ca; "" if there is none
    authority    PEM certificate of the authority that issued it, if its file is there
    """

    def __init__(self, gateway: GatewayConfig) -> None:
        """Load the certificate. Raises PlainNetwork or BadCertificate.

        A certificate that clients refuse, because it has expired for example, is logged and
        served: the clients then show their users the reason.
        """
        require_tls(gateway)
        self._gateway = gateway
        self._files = tuple(
            Path(path)
            for path in (gateway.tls_certificate, gateway.tls_key, gateway.tls_client_ca)
            if path
        )
        self._authority_file = Path(gateway.tls_certificate).parent / AUTHORITY_NAME
        self.context: ssl.SSLContext | None = None
        self.expires_at = 0.0
        self.key_exposed = False
        self.sha256 = ""
        self.client_ca_sha256 = ""
        self.authority = b""
        self._loaded: Fingerprint = ()
        if gateway.uses_tls:
            self._loaded = self._fingerprint()
            examination = self._examine()
            if examination.unusable is not None:
                raise BadCertificate(path=gateway.tls_certificate, why=examination.unusable.text)
            self._use(self._make_context(), examination)

    @property
    def wants_client_certificate(self) -> bool:
        """Whether callers need a certificate of `gateway.tls_client_ca`."""
        return bool(self.context is not None and self._gateway.tls_client_ca)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Load changed files, and call `changed` after each successful load. Runs until cancelled.

        Files that keep changing are left alone until they have been the same for a moment, so that
        a new certificate does not meet the old key. If they cannot be used, the error is logged,
        and the old certificate stays.
        """
        if self.context is None:
            return
        seen = self._loaded
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                current = self._fingerprint()
            except BadCertificate:
                current = ()  # a file is missing, maybe only for a moment
            if current == seen and current != self._loaded and self._load_new(current):
                changed()
            seen = current

    def _load_new(self, fingerprint: Fingerprint) -> bool:
        """Load the files. Return whether the certificate has changed."""
        self._loaded = fingerprint  # also if they cannot be used: each change is reported once
        path = self._gateway.tls_certificate
        try:
            examination = self._examine()
            problem = examination.refused_by_clients
            if problem is None:
                self._use(self._make_context(), examination)
        except BadCertificate as error:
            log.error("new certificate refused", path=path, exc_info=error)
            return False
        if problem is not None:
            log.error("new certificate refused", path=path, reason=problem.reason)
            return False
        log.info("new certificate loaded", path=path, seconds=self.expires_at - time.time())
        return True

    def _examine(self) -> Examination:
        gateway = self._gateway
        try:
            chain = Path(gateway.tls_certificate).read_bytes()
            key = Path(gateway.tls_key).read_bytes()
            mode = Path(gateway.tls_key).stat().st_mode
        except OSError as problem:
            raise _unreadable(problem, gateway.tls_certificate) from problem
        # Imported only for encrypted calls, because it needs cryptography, which takes 8 MB.
        from appliance.tls.examine import examine

        return examine(chain, key, mode, datetime.now(UTC))

    def _make_context(self) -> ssl.SSLContext:
        gateway = self._gateway
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        # Two tickets cost a handshake 0.07 of its 0.31 ms of CPU; resumed, it takes 0.23 ms.
        context.num_tickets = 0
        path = gateway.tls_certificate
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(path, gateway.tls_key, password="")
            if gateway.tls_client_ca:
                path = gateway.tls_client_ca
                context.load_verify_locations(path)
                # Optional, because probes present none. Without one, a client reaches only them.
                context.verify_mode = ssl.CERT_OPTIONAL
        except ssl.SSLError as problem:
            raise BadCertificate(path=path, why=problem.reason or str(problem)) from problem
        except OSError as problem:
            raise _unreadable(problem, path) from problem
        return context

    def _use(self, context: ssl.SSLContext, examination: Examination) -> None:
        from appliance.tls.examine import KEY_EXPOSED, authorities_only  # as in _examine

        self.context = context
        self.key_exposed = KEY_EXPOSED in examination.problems
        self.sha256 = examination.sha256
        self.expires_at = examination.not_after.timestamp() if examination.not_after else 0.0
        try:
            self.authority = authorities_only(self._authority_file.read_bytes())
        except OSError:
            self.authority = b""
        with contextlib.suppress(OSError):
            if self._gateway.tls_client_ca:
                clients = Path(self._gateway.tls_client_ca).read_bytes()
                self.client_ca_sha256 = hashlib.sha256(clients).hexdigest()
        for problem in examination.problems:
            log.warning(
                "certificate has a problem",
                path=self._gateway.tls_certificate,
                reason=problem.reason,
                seconds=self.expires_at - time.time(),
            )

    def _fingerprint(self) -> Fingerprint:
        """Return what changes with the files and their modes. Raises BadCertificate."""
        try:
            states = [path.stat() for path in self._files]
        except OSError as problem:
            raise _unreadable(problem, self._gateway.tls_certificate) from problem
        with contextlib.suppress(OSError):  # this one may be missing
            states.append(self._authority_file.stat())
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size, each.st_mode) for each in states)


def _unreadable(problem: OSError, path: str) -> BadCertificate:
    return BadCertificate(path=problem.filename or path, why=problem.strerror or str(problem))
