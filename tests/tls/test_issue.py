"""What is issued, as OpenSSL sees it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.errors import BadName, OutsideAuthority
from appliance.tls import issue, names
from appliance.tls.issue import Issued
from appliance.tls.names import parse
from tests.tls.site import handshake, now

NAMES = parse(["voice.example", "192.0.2.7", "fd00::7"])


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue.server_authority(NAMES, now())


@pytest.mark.parametrize("name", ["voice.example", "192.0.2.7", "fd00::7"])
def test_client_that_trusts_the_authority_accepts_each_name(authority: Issued, name: str) -> None:
    server = issue.server_certificate(authority, NAMES, now())
    assert handshake(server, authority.certificate, name) == ""
    assert "mismatch" in handshake(server, authority.certificate, "other.example")
    other = issue.server_authority(NAMES, now())
    assert "unable to get local issuer" in handshake(server, other.certificate, name)


def test_expired_and_future_certificates_are_refused_by_the_client(authority: Issued) -> None:
    old = issue.server_certificate(authority, NAMES, now() - timedelta(days=400))
    early = issue.server_certificate(authority, NAMES, now() + timedelta(days=2))
    # An authority of that time: OpenSSL names its dates first.
    assert "expired" in handshake(old, authority.certificate, "voice.example")
    assert "not yet valid" in handshake(early, authority.certificate, "voice.example")


def test_authority_refuses_names_outside_its_constraints(authority: Issued) -> None:
    with pytest.raises(OutsideAuthority, match=r"bank\.example"):
        issue.server_certificate(authority, parse(["bank.example"]), now())


def test_stolen_authority_cannot_pose_as_another_name(
    authority: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "outside", lambda *_: [])  # what a thief would do
    for name in ("bank.example", "192.0.2.8"):
        forged = issue.server_certificate(authority, parse([name]), now())
        assert "permitted subtree violation" in handshake(forged, authority.certificate, name)


@pytest.mark.parametrize(
    ("purpose", "use"),
    [
        ("sslserver", ExtendedKeyUsageOID.SERVER_AUTH),
        ("sslclient", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("smimesign", ExtendedKeyUsageOID.EMAIL_PROTECTION),
    ],
)
def test_stolen_authority_can_issue_for_servers_only(
    authority: Issued, tmp_path: Path, purpose: str, use: x509.ObjectIdentifier
) -> None:
    """Devices trust it for whatever they do not limit themselves, such as mail and code."""
    forged = issue._leaf(authority, "anna", now(), 30, use, None)
    ca, leaf = tmp_path / "ca.pem", tmp_path / "leaf.pem"
    ca.write_bytes(authority.certificate)
    leaf.write_bytes(forged.certificate)
    command = ["openssl", "verify", "-purpose", purpose, "-CAfile", str(ca), str(leaf)]
    verified = subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert verified == (purpose == "sslserver")
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]  # also not for code


def test_certificates_last_as_long_as_systems_accept(authority: Issued) -> None:
    ca = x509.load_pem_x509_certificate(authority.certificate)
    server = x509.load_pem_x509_certificate(
        issue.server_certificate(authority, NAMES, now()).certificate
    )
    assert server.not_valid_after_utc - server.not_valid_before_utc <= timedelta(days=397)
    assert ca.not_valid_after_utc - ca.not_valid_before_utc == timedelta(days=3650)
    key = server.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"


def test_server_certificate_is_not_accepted_from_a_client_nor_the_other_way_round(
    authority: Issued,
) -> None:
    clients = issue.client_authority(now())
    for made, use in (
        (issue.server_certificate(authority, NAMES, now()), ExtendedKeyUsageOID.SERVER_AUTH),
        (issue.client_certificate(clients, "anna", now()), ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        certificate = x509.load_pem_x509_certificate(made.certificate)
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(uses) == [use]
    for name in ("", "x" * 65, "a\nb"):
        with pytest.raises(BadName):
            issue.client_certificate(clients, name, now())


def test_strict_verification_of_openssl_accepts_the_chains(
    authority: Issued, tmp_path: Path
) -> None:
    clients = issue.client_authority(now())
    chains = {
        "sslserver": (authority, issue.server_certificate(authority, NAMES, now())),
        "sslclient": (clients, issue.client_certificate(clients, "a.example", now())),
    }
    for purpose, (ca, leaf) in chains.items():
        (tmp_path / "ca").write_bytes(ca.certificate)
        (tmp_path / "leaf").write_bytes(leaf.certificate)
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            "ca",
            "leaf",
        ]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.stdout == "leaf: OK\n", result.stderr
