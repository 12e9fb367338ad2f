"""The files of the site's certificates on the host. Each is replaced at once, never half written.

The serving container sees the first folder only:

    tls/    chain.pem, key.pem (certificate and key of the server), ca.pem, client-ca.pem,
            acceptance-client.pem (certificate and key of the acceptance test, if callers need one)
    ca/     ca.pem, ca-key.pem, client-ca.pem, client-ca-key.pem, clients/NAME.pem, NAME-key.pem
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import NoAuthority, TlsFilesUnwritable
from appliance.tls.issue import Issued

ACCEPTANCE_CLIENT = "acceptance-client.pem"
SECRET, PUBLIC = 0o400, 0o444


@dataclass(frozen=True, slots=True)
class TlsFolders:
    """The two folders, and who owns the server's key: a user id, or -1 for whoever runs this."""

    serving: Path
    authority: Path
    owner: int = -1

    @property
    def chain(self) -> Path:
        return self.serving / "chain.pem"

    @property
    def key(self) -> Path:
        return self.serving / "key.pem"

    def has_server_certificate(self) -> bool:
        """Return whether there is a certificate or a key, whoever issued it."""
        return self.chain.exists() or self.key.exists()

    def read_authority(self, name: str) -> Issued:
        """Read the authority `ca` or `client-ca`. Raises NoAuthority or TlsFilesUnwritable."""
        certificate, key = self.authority / f"{name}.pem", self.authority / f"{name}-key.pem"
        if not (certificate.exists() and key.exists()):
            raise NoAuthority(folder=self.authority)
        return Issued(read(certificate), read(key))

    def has_authority(self, name: str) -> bool:
        """Return whether the authority `ca` or `client-ca` is there."""
        return all((self.authority / f"{name}{part}.pem").exists() for part in ("", "-key"))

    def write_authority(self, name: str, authority: Issued) -> None:
        """Write the authority `ca` or `client-ca`, and its certificate for the serving container.

        Raises TlsFilesUnwritable.
        """
        replace(self.authority / f"{name}-key.pem", authority.key, SECRET)
        replace(self.authority / f"{name}.pem", authority.certificate, PUBLIC)
        replace(self.serving / f"{name}.pem", authority.certificate, PUBLIC)

    def write_server(self, server: Issued) -> None:
        """Write certificate and key of the server. Raises TlsFilesUnwritable."""
        replace(self.key, server.key, SECRET, self.owner)
        replace(self.chain, server.certificate, PUBLIC)

    def write_acceptance_client(self, client: Issued) -> None:
        """Write certificate and key of the acceptance test. Raises TlsFilesUnwritable."""
        content = client.certificate + client.key
        replace(self.serving / ACCEPTANCE_CLIENT, content, SECRET, self.owner)

    def write_client(self, name: str, client: Issued) -> tuple[Path, Path]:
        """Write certificate and key of a client. Return their paths. Raises TlsFilesUnwritable."""
        folder = self.authority / "clients"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise _failed(problem, folder) from problem
        certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        replace(key, client.key, SECRET)
        replace(certificate, client.certificate, PUBLIC)
        return certificate, key


def read(path: Path) -> bytes:
    """Return the content of a file. Raises TlsFilesUnwritable."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise _failed(problem, path) from problem


def replace(path: Path, content: bytes, mode: int, owner: int = -1) -> None:
    """Write a file with these permissions, and put it in place of an old one.

    Raises TlsFilesUnwritable.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(descriptor, mode)
                if owner >= 0:
                    os.fchown(descriptor, owner, -1)
                file.flush()
                os.fsync(descriptor)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        raise _failed(problem, path) from problem


def _failed(problem: OSError, path: Path) -> TlsFilesUnwritable:
    return TlsFilesUnwritable(path=path, why=problem.strerror or str(problem))
