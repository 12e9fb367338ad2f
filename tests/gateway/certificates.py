"""A certificate for the gateway, and clients that trust it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and its key."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=appliance -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return chain, key


def trusting(chain: Path) -> ssl.SSLContext:
    """Return a client TLS context that trusts only this certificate."""
    context = ssl.create_default_context(cafile=str(chain))
    context.check_hostname = True
    return context
