"""The test caller: uses the real client and identifies the appliance by its certificate."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from appliance import run_folder
from appliance.acceptance.caller import CallTally, CallTarget, open_call
from appliance.acceptance.metrics import Activity
from client.call import connect
from client.errors import CannotConnect, NoAnswer
from client.playback import HeardReply
from client.record import ClientTurnRecord
from tests.fakes import FakeCaller, FakeGateway, tone


def make_certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Create a self-signed certificate for a different host name, and a server context with it."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


async def test_known_certificate_is_accepted_for_any_host_name(tmp_path: Path) -> None:
    certificate, tls = make_certificate(tmp_path, "voice.example")
    async with FakeGateway(tls=tls) as gateway:
        call = await connect(CallTarget(gateway.url, certificate=str(certificate)))
        await call.close()


async def test_certificate_that_differs_from_the_known_one_is_refused(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path, "voice.example")
    _, tls = make_certificate(tmp_path, "other.example")
    async with FakeGateway(tls=tls) as gateway:
        with pytest.raises(CannotConnect, match="not trusted"):
            await connect(CallTarget(gateway.url, certificate=str(certificate)))


def test_host_name_is_checked_when_no_certificate_is_known() -> None:
    context = CallTarget("wss://voice.example/ws").tls()
    assert context is not None
    assert context.check_hostname
    assert CallTarget("ws://127.0.0.1/ws", certificate="unused").tls() is None


async def test_tally_counts_calls_and_reported_turns() -> None:
    tally = CallTally()
    async with FakeGateway() as gateway, open_call(CallTarget(gateway.url), tally) as talk:
        for _ in range(2):
            tally.turn_ended(await talk.finished(talk.say(tone(0.3))))
    assert tally.activity() == Activity(calls=1, turns=2, answers=2)


async def test_call_opens_after_the_greeting_and_a_missing_greeting_is_an_error() -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.message("bot-stopped-speaking")

    async with FakeGateway(bot) as gateway:
        async with open_call(CallTarget(gateway.url), CallTally()) as talk:
            talk.say(tone(0.3))  # the fake replies with the message that ends a greeting
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("appliance.acceptance.caller.GREETING_SECONDS", 0.2)
            with pytest.raises(NoAnswer, match="did not finish its greeting"):
                async with open_call(CallTarget(gateway.url), CallTally(), greeting=True):
                    raise AssertionError("the call opened before the greeting")


def test_tally_distinguishes_interrupted_turns_from_unreported_ones() -> None:
    tally = CallTally()
    tally.turn_ended(ClientTurnRecord(1, heard=HeardReply(first_audible_at=1.0), interrupted=True))
    tally.turn_ended(ClientTurnRecord(2, outcome="no_answer"))
    assert tally.activity() == Activity(unreported=1, answers=1, interruptions=1)


def test_acceptance_test_presents_the_secret_of_the_run_folder(tmp_path: Path) -> None:
    target = CallTarget("ws://127.0.0.1:1/ws", token="t", run=tmp_path)
    assert target.headers() == {"Authorization": "Bearer t"}
    for secret in ("first", "of-the-restarted-gateway"):
        run_folder.write_acceptance_pass(tmp_path, "gateway", secret)
        assert target.headers()[run_folder.ACCEPTANCE_HEADER] == secret
