"""Comparing a token with its hash, while the tokens change."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from appliance.access.credentials import Credentials
from appliance.access.store import new_store
from appliance.access.token import SecretHash
from appliance.access.verifier import Verifier


async def test_token_that_is_revoked_while_its_hash_is_computed_admits_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, text = new_store(os.urandom).create("ward-3", 0, os.urandom)
    begun, go_on = threading.Event(), threading.Event()

    def matches(_hash: SecretHash, _secret: bytes) -> bool:
        begun.set()
        return go_on.wait()

    monkeypatch.setattr(SecretHash, "matches", matches)
    verifier = Verifier(Credentials(store))
    verifying = asyncio.create_task(verifier.verify(text))
    await asyncio.to_thread(begun.wait)
    verifier.replace(Credentials(store.revoke("ward-3")))
    go_on.set()
    assert await verifying is None
    verifier.close()
