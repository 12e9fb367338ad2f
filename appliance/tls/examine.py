"""Checks a certificate and its key, and tells when a new one is due. No I/O."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from appliance.tls.names import HostNames, parse

RENEW_BEFORE = timedelta(days=60)  # so that the alert of 30 days means: nobody renewed it
WARN_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class TlsProblem:
    """Something that is wrong with a certificate or its key.

    reason     short name, as in the log
    text       what it is, for operators
    unusable   whether no TLS server can run with it
    """

    reason: str
    text: str
    unusable: bool = False


NO_CERTIFICATE = TlsProblem("no_certificate", "the file contains no PEM certificate", True)
BAD_KEY = TlsProblem("bad_key", "the key is not an unencrypted PEM private key", True)
WRONG_KEY = TlsProblem("wrong_key", "the key belongs to another certificate", True)
CHAIN_ORDER = TlsProblem(
    "chain_order",
    "each certificate of the chain must be followed by that of its issuer, the server's first",
    True,
)
EXPIRED = TlsProblem("expired", "the certificate has expired")
NOT_YET_VALID = TlsProblem(
    "not_yet_valid", "the certificate is not valid yet: check the clock of this host"
)
NO_NAMES = TlsProblem(
    "no_names", "the certificate has no subject alternative name, so clients refuse it"
)
EXPIRES_SOON = TlsProblem("expires_soon", "the certificate expires soon")
KEY_EXPOSED = TlsProblem("key_exposed", "the key can be read by all users: chmod 0400")


@dataclass(frozen=True, slots=True)
class Examination:
    """A server certificate, as far as it could be read, and what is wrong with it.

    not_before, not_after   None if it could not be read
    sha256                  its fingerprint
    """

    problems: tuple[TlsProblem, ...]
    names: HostNames = field(default_factory=HostNames)
    issuer: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    sha256: str = ""

    @property
    def unusable(self) -> TlsProblem | None:
        """The first problem with which no server can run."""
        return next((problem for problem in self.problems if problem.unusable), None)

    @property
    def refused_by_clients(self) -> TlsProblem | None:
        """The first problem for which clients would refuse it, or no server can run with it."""
        refused = (EXPIRED, NOT_YET_VALID, NO_NAMES)
        return self.unusable or next((p for p in self.problems if p in refused), None)


def examine(chain: bytes, key: bytes, key_mode: int, now: datetime) -> Examination:
    """Examine a chain and a key, both PEM.

    key_mode   permissions of the key's file, as in `st_mode`
    """
    certificates = read_chain(chain)
    if not certificates:
        return Examination((NO_CERTIFICATE,))
    server = certificates[0]
    names = _names(server)
    until = server.not_valid_after_utc
    conditions = {
        CHAIN_ORDER: not _in_order(certificates),
        EXPIRED: now >= until,
        NOT_YET_VALID: now < server.not_valid_before_utc,
        NO_NAMES: not names.texts(),
        EXPIRES_SOON: now < until <= now + WARN_BEFORE,
        KEY_EXPOSED: bool(key_mode & stat.S_IROTH),
    }
    key_problem = _key_problem(server, key)
    problems = [key_problem] if key_problem else []
    problems += [problem for problem, applies in conditions.items() if applies]
    return Examination(
        tuple(problems),
        names,
        server.issuer.rfc4514_string(),
        server.not_valid_before_utc,
        until,
        server.fingerprint(SHA256()).hex(),
    )


def renewal_due(not_after: datetime, now: datetime) -> bool:
    """Return whether a new certificate should be issued."""
    return now >= not_after - RENEW_BEFORE


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM text; empty if it has none, or a malformed one."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def issued_by(chain: bytes, authority: bytes) -> bool:
    """Return whether the first certificate of `chain` was issued by `authority`, both PEM."""
    certificates, issuers = read_chain(chain), read_chain(authority)
    return bool(certificates and issuers) and _is_issuer(issuers[0], certificates[0])


def authorities_only(pem: bytes) -> bytes:
    """Return the certificates of authorities in a PEM text as PEM, and nothing else of it."""
    return b"".join(
        each.public_bytes(Encoding.PEM) for each in read_chain(pem) if _is_authority(each)
    )


def _key_problem(server: x509.Certificate, pem: bytes) -> TlsProblem | None:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return BAD_KEY
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    same = key.public_key().public_bytes(*form) == server.public_key().public_bytes(*form)
    return None if same else WRONG_KEY


def _in_order(certificates: Sequence[x509.Certificate]) -> bool:
    return all(_is_issuer(issuer, issued) for issued, issuer in pairwise(certificates))


def _is_issuer(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return limits.ca


def _names(certificate: x509.Certificate) -> HostNames:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return HostNames()
    dns = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    # Names are not parsed: those of a customer's certificate may have wildcards.
    return HostNames(tuple(dns)) + parse(str(address) for address in addresses)
