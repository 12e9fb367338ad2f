"""Make certificate authorities, and certificates of servers and clients. No I/O.

Keys are ECDSA P-256, which every TLS 1.2 client supports. An authority is limited: that of the
servers to TLS servers with the host's names, its addresses and private addresses (name constraints,
RFC 5280 section 4.2.1.10), so not to mail or code; that of the clients to the authentication of
clients. Neither can have authorities below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import BadName, OutsideAuthority
from appliance.tls import names as host_names
from appliance.tls.names import HostNames

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397  # Apple and others refuse more; CA/Browser Forum, Baseline Requirements 6.3.2
CLIENT_DAYS = 397
CLOCK_SKEW = timedelta(hours=1)  # clients whose clock is late accept a new certificate
MAX_COMMON_NAME_CHARS = 64  # ub-common-name of RFC 5280
ORGANIZATION = "Voice appliance"

_KEY_USES = {
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key (PKCS #8, not encrypted), both as PEM."""

    certificate: bytes
    key: bytes


def server_authority(names: HostNames, now: datetime) -> Issued:
    """Make the authority of the servers. `names` may be in its certificates, and below them."""
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    permitted += map(x509.IPAddress, host_names.permitted_networks(names))
    constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    title = next(iter(names.texts()), "local")
    return _authority(f"{ORGANIZATION} CA of {title}", now, constraints, uses)


def client_authority(now: datetime) -> Issued:
    """Make the authority of the clients."""
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _authority(f"{ORGANIZATION} client CA", now, uses)


def server_certificate(authority: Issued, names: HostNames, now: datetime) -> Issued:
    """Issue a server certificate for `names`.

    Raises OutsideAuthority if the name constraints of the authority do not permit one of them.
    """
    refused = host_names.outside(names, *_permitted(authority))
    if refused:
        raise OutsideAuthority(names=", ".join(refused))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    alternatives += map(x509.IPAddress, names.addresses)
    return _leaf(
        authority,
        next(iter(names.texts())),
        now,
        SERVER_DAYS,
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName(alternatives),
    )


def client_certificate(authority: Issued, name: str, now: datetime) -> Issued:
    """Issue a client certificate with the common name `name`. Raises BadName."""
    if not name.isprintable() or not 0 < len(name.strip()) <= MAX_COMMON_NAME_CHARS:
        raise BadName(text=name)
    return _leaf(authority, name, now, CLIENT_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH, None)


def _authority(name: str, now: datetime, *limits: x509.ExtensionType) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **_KEY_USES),
            critical=True,
        )
    )
    for limit in limits:
        critical = isinstance(limit, x509.NameConstraints)
        builder = builder.add_extension(limit, critical=critical)
    return _signed(builder, key, key)


def _leaf(
    authority: Issued,
    name: str,
    now: datetime,
    days: int,
    use: x509.ObjectIdentifier,
    alternatives: x509.SubjectAlternativeName | None,
) -> Issued:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = load_pem_private_key(authority.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)  # as _authority made it
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_subject(name), issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_KEY_USES),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return _signed(builder, key, issuer_key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now - CLOCK_SKEW + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> Issued:
    certificate = builder.sign(issuer_key, SHA256())
    return Issued(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:MAX_COMMON_NAME_CHARS]),
        ]
    )


def _permitted(authority: Issued) -> tuple[list[str], list[host_names.Network]]:
    """Return the names and networks of the name constraints of an authority of ours."""
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    subtrees = constraints.permitted_subtrees or []
    dns = [each.value for each in subtrees if isinstance(each, x509.DNSName)]
    networks = [each.value for each in subtrees if isinstance(each, x509.IPAddress)]
    return dns, [each for each in networks if isinstance(each, host_names.Network)]
