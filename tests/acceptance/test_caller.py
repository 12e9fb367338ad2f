"""How the acceptance calls: with the real client, knowing the appliance by its certificate."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from appliance.acceptance.metrics import Made
from appliance.acceptance.site import Door, Tally, calling
from client.call import connect
from client.errors import CannotConnect, NoAnswer
from client.playback import HeardReply
from client.record import ClientTurnRecord
from tests.fakes import FakeGateway, tone


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed one, made out to a name that is not this machine's, and a server's use."""
    key, made = folder / f"{name}.key", folder / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-days", "2", "-keyout", str(key), "-out", str(made)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


async def test_the_appliance_is_known_by_its_certificate_whatever_its_name(tmp_path: Path) -> None:
    own, tls = certificate(tmp_path, "voice.example")
    async with FakeGateway(tls=tls) as gateway:
        call = await connect(Door(gateway.url, certificate=str(own)))
        await call.close()


async def test_another_certificate_than_the_appliances_own_is_refused(tmp_path: Path) -> None:
    own, _ = certificate(tmp_path, "voice.example")
    _, tls = certificate(tmp_path, "somebody.else")
    async with FakeGateway(tls=tls) as gateway:
        with pytest.raises(CannotConnect, match="not trusted"):
            await connect(Door(gateway.url, certificate=str(own)))


def test_without_a_certificate_at_hand_it_is_judged_as_every_caller_does() -> None:
    context = Door("wss://voice.example/ws").tls()
    assert context is not None
    assert context.check_hostname
    assert Door("ws://127.0.0.1/ws", certificate="unused").tls() is None


async def test_turns_are_counted_as_the_appliance_tells_of_them() -> None:
    tally = Tally()
    async with FakeGateway() as gateway, calling(Door(gateway.url), tally) as talk:
        for _ in range(2):
            tally.record(await talk.finished(talk.say(tone(0.3))))
    assert tally.made() == Made(calls=1, turns=2, answers=2)


async def test_a_greeting_is_heard_out_before_the_first_question() -> None:
    async def bot(caller, _text):
        await caller.message("bot-stopped-speaking")

    async with FakeGateway(bot) as gateway:
        async with calling(Door(gateway.url), Tally()) as talk:
            talk.say(tone(0.3))  # answered with the message that a greeting ends with
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("appliance.acceptance.site.GREETING_SECONDS", 0.2)
            with pytest.raises(NoAnswer, match="did not say its greeting"):
                async with calling(Door(gateway.url), Tally(), greeting=True):
                    raise AssertionError("there was no greeting yet")


def test_what_was_interrupted_and_what_got_no_answer_is_told_apart() -> None:
    tally = Tally()
    tally.record(ClientTurnRecord(1, heard=HeardReply(first_audible_at=1.0), interrupted=True))
    tally.record(ClientTurnRecord(2, outcome="no_answer"))
    assert tally.made() == Made(untold=1, answers=1, interruptions=1)
