"""`ops/smoke-test --here` on an appliance with TLS, and on one that asks for certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.tls.issue import client_certificate
from tests.acceptance.speed import ANY_SPEED
from tests.acceptance.test_here import smoke_test
from tests.conftest import FAST
from tests.e2e.appliance import Appliance
from tests.tls.site import Site, make_site, now

# Interruptions are those of test_here.py: they depend on nothing that is different here.
OPTIONS = ("--turns", "2", "--skip", "interruption", "--quick-seal", *ANY_SPEED)
CALLING = {"ready", "words", "memory", "latency", "overload", "metrics", "egress"}


def secured(folder: Path, *, client_certificates: bool) -> Appliance:
    """Return an appliance with the certificates of a site."""
    site = make_site(folder)
    settings = FAST | {
        "GATEWAY_TLS_CERTIFICATE": str(site.chain),
        "GATEWAY_TLS_KEY": str(site.key),
        "GATEWAY_TOKEN_STORE": str(folder / "tokens"),  # beside the token of the test
    }
    if client_certificates:
        settings["GATEWAY_TLS_CLIENT_CA"] = client_authority(site)
    return Appliance(folder, settings)


def client_authority(site: Site) -> str:
    """Make the authority of the callers, and the certificate of the acceptance test."""
    site.client("anna")
    authority = site.folders.read_authority("client-ca")
    site.folders.write_acceptance_client(client_certificate(authority, "acceptance", now()))
    return str(site.folders.serving / "client-ca.pem")


@pytest.mark.parametrize("client_certificates", [False, True], ids=["TLS", "client certificates"])
def test_appliance_with_certificates_is_accepted(tmp_path: Path, client_certificates: bool) -> None:
    appliance = secured(tmp_path, client_certificates=client_certificates).start()
    try:
        run = smoke_test(tmp_path, appliance, *OPTIONS)
    finally:
        assert appliance.stop() == 0, appliance.tail()
    assert run.process.returncode == 0, run.process.stdout + run.process.stderr
    assert {name for name, states in run.states().items() if states == {"pass"}} >= CALLING
    assert run.tree["about"]["url"].startswith("wss://")
