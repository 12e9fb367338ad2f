"""A site's certificates for tests, and a TLS handshake in memory."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.tls import issue
from appliance.tls.folder import TlsFolders
from appliance.tls.issue import Issued
from appliance.tls.names import parse

NAMES = ("voice.example", "127.0.0.1", "localhost")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Site:
    """The folders of a host, and its authority."""

    folders: TlsFolders

    @property
    def chain(self) -> Path:
        return self.folders.chain

    @property
    def key(self) -> Path:
        return self.folders.key

    @property
    def ca(self) -> Path:
        return self.folders.serving / "ca.pem"

    def issue(self, names: Sequence[str] = NAMES, days_ago: float = 0) -> Issued:
        """Issue a server certificate, as it would have been issued `days_ago`."""
        authority = self.folders.read_authority("ca")
        when = now() - timedelta(days=days_ago)
        return issue.server_certificate(authority, parse(names), when)

    def install(self, names: Sequence[str] = NAMES, days_ago: float = 0) -> None:
        self.folders.write_server(self.issue(names, days_ago))

    def client(self, name: str) -> tuple[str, str]:
        """Issue a client certificate. Return the paths of certificate and key."""
        if not self.folders.has_authority("client-ca"):
            self.folders.write_authority("client-ca", issue.client_authority(now()))
        issued = issue.client_certificate(self.folders.read_authority("client-ca"), name, now())
        certificate, key = self.folders.write_client(name, issued)
        return str(certificate), str(key)

    def trust(self) -> ssl.SSLContext:
        """Return a client's context that trusts this site's authority."""
        return ssl.create_default_context(cafile=str(self.ca))


def make_site(folder: Path, names: Sequence[str] = NAMES) -> Site:
    """Make the folders of a host with an authority and a certificate for `names`."""
    folders = TlsFolders(folder / "tls", folder / "ca")
    folders.serving.mkdir(parents=True)
    folders.authority.mkdir()
    folders.write_authority("ca", issue.server_authority(parse(names), now()))
    site = Site(folders)
    site.install(names)
    return site


def handshake(server: Issued, trusted: bytes, name: str) -> str:
    """Let a client that trusts `trusted` (PEM) connect to `name`. Return "" or its refusal."""
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(server.certificate)
        key.write_bytes(server.key)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(chain, key)
    calling = ssl.create_default_context(cadata=trusted.decode())
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = calling.wrap_bio(to_client, to_server, server_hostname=name)
    there = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there, here):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
    return ""
