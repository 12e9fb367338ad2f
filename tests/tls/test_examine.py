"""What is found wrong with certificates that others made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.tls import examine, issue
from appliance.tls.examine import (
    BAD_KEY,
    CHAIN_ORDER,
    EXPIRED,
    EXPIRES_SOON,
    KEY_EXPOSED,
    NO_CERTIFICATE,
    NO_NAMES,
    NOT_YET_VALID,
    WRONG_KEY,
    TlsProblem,
)
from appliance.tls.names import parse
from tests.tls.site import now

NAMES = parse(["voice.example", "192.0.2.7"])
AUTHORITY = issue.server_authority(NAMES, now() - timedelta(days=1000))
GOOD = issue.server_certificate(AUTHORITY, NAMES, now())


def problems(chain: bytes, key: bytes, mode: int = 0o400, days: float = 0) -> list[TlsProblem]:
    return list(examine.examine(chain, key, mode, now() + timedelta(days=days)).problems)


def test_good_certificate_has_no_problem() -> None:
    assert problems(GOOD.certificate, GOOD.key) == []
    assert problems(GOOD.certificate + AUTHORITY.certificate, GOOD.key) == []
    found = examine.examine(GOOD.certificate, GOOD.key, 0o400, now())
    assert found.names.texts() == ["voice.example", "192.0.2.7"]
    assert (found.unusable, found.refused_by_clients) == (None, None)


@pytest.mark.parametrize(
    ("days", "problem"),
    [(397, EXPIRED), (370, EXPIRES_SOON), (-2, NOT_YET_VALID)],
)
def test_dates_are_compared_with_the_clock(days: float, problem: TlsProblem) -> None:
    assert problems(GOOD.certificate, GOOD.key, days=days) == [problem]


def test_files_that_do_not_fit_are_named() -> None:
    other = issue.server_certificate(AUTHORITY, NAMES, now())
    locked = load_pem_private_key(GOOD.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    assert problems(GOOD.certificate, other.key) == [WRONG_KEY]
    assert problems(GOOD.certificate, locked) == [BAD_KEY]
    assert problems(GOOD.certificate, b"") == [BAD_KEY]
    assert problems(b"no", GOOD.key) == [NO_CERTIFICATE]
    assert problems(GOOD.key, GOOD.key) == [NO_CERTIFICATE]


def test_chain_has_to_begin_with_the_server_and_go_on_with_each_issuer() -> None:
    stranger = issue.server_authority(NAMES, now())
    assert CHAIN_ORDER in problems(AUTHORITY.certificate + GOOD.certificate, GOOD.key)
    assert problems(GOOD.certificate + stranger.certificate, GOOD.key) == [CHAIN_ORDER]


def test_certificate_without_names_and_exposed_key_are_named() -> None:
    nameless = issue.client_certificate(AUTHORITY, "voice", now())
    assert problems(nameless.certificate, nameless.key) == [NO_NAMES]
    assert problems(GOOD.certificate, GOOD.key, 0o444) == [KEY_EXPOSED]


def test_renewal_is_due_before_anybody_is_warned() -> None:
    until = now() + timedelta(days=100)
    assert not examine.renewal_due(until, now())
    assert examine.renewal_due(until, until - timedelta(days=59))
    assert examine.RENEW_BEFORE > examine.WARN_BEFORE


def test_only_certificates_of_authorities_are_handed_out(tmp_path: Path) -> None:
    mixed = GOOD.certificate + AUTHORITY.key + AUTHORITY.certificate + b"notes\n"
    assert examine.authorities_only(mixed) == AUTHORITY.certificate
    assert examine.authorities_only(b"") == b""


def test_issuer_is_recognized_by_its_signature() -> None:
    twin = issue.server_authority(NAMES, now())  # same name, another key
    assert examine.issued_by(GOOD.certificate, AUTHORITY.certificate)
    assert not examine.issued_by(GOOD.certificate, twin.certificate)
    assert not examine.issued_by(b"", AUTHORITY.certificate)
