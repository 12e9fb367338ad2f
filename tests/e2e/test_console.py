"""What an operator types, on the real appliance and with a caller on the line."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import tarfile

import pytest

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import CallRefused
from client.wav import read_wav
from tests.e2e.appliance import PROCESSES, QUESTIONS, ROOT, Appliance

CALLS_LEFT = 75


@pytest.fixture
def config(appliance: Appliance) -> Config:
    appliance.wait_ready()
    return Config(url=appliance.url, token=appliance.token)


def typed(appliance: Appliance, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """The exit code and the output of `python -m appliance ...` beside the appliance."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=ROOT,
        env=appliance.environment(),
        input=stdin,
        capture_output=True,
        timeout=180,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout


async def verb(appliance: Appliance, *arguments: str) -> tuple[int, str]:
    code, out = await asyncio.to_thread(typed, appliance, *arguments)
    return code, out.decode()


def test_the_running_appliance_is_on_one_screen(appliance: Appliance, config: Config) -> None:
    code, out = typed(appliance, "status", "--colour", "always", "--lines", "3", stdin=b"{}\n")
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.decode())
    assert code == 0
    assert text.startswith("● voice-appliance ") and "State: running since " in text
    assert max(map(len, text.splitlines())) <= 80
    for name in PROCESSES:
        assert re.search(rf"^● {name} +running .*MB +\d+$", text, re.MULTILINE)
    told = json.loads(typed(appliance, "status", "--json")[1])
    assert (told["state"], told["waiting_for"], told["silent"]) == ("running", "", [])
    assert all(process["memory_bytes"] > 1e6 for process in told["processes"])


async def test_a_drain_keeps_callers_out_until_it_is_undone_and_lets_who_is_in_talk_on(
    appliance: Appliance, config: Config
) -> None:
    async with Conversation(await connect(config)) as talk:
        assert (await verb(appliance, "drain"))[0] == 0
        with pytest.raises(CallRefused, match="draining"):
            await connect(config)
        answer = await talk.finished(talk.say(read_wav(QUESTIONS[0])), patience_seconds=90)
        assert answer.outcome == "answered"
        code, out = await verb(appliance, "drain", "--wait", "1")
        assert (code, "1 call left" in out) == (CALLS_LEFT, True)
        code, out = await verb(appliance, "status")
        assert (code, "1 call in progress" in out) == (3, True)
    assert (await verb(appliance, "drain", "--wait", "60"))[0] == 0

    before = appliance.process("gateway").pid
    appliance.process("gateway").kill()
    async with asyncio.timeout(120):  # the next gateway finds the mark, and stays drained
        while (
            json.loads((await verb(appliance, "status", "--json"))[1])["waiting_for"] != "draining"
        ):
            await asyncio.sleep(1)
    assert appliance.process("gateway").pid != before
    assert not appliance.ready()

    assert (await verb(appliance, "drain", "--undo"))[0] == 0
    assert appliance.ready()
    async with Conversation(await connect(config)) as talk:
        again = await talk.finished(talk.say(read_wav(QUESTIONS[0])), patience_seconds=90)
        assert again.outcome == "answered"


def test_a_call_is_found_again_in_the_log_as_a_timeline_and_in_a_bundle(
    appliance: Appliance, config: Config
) -> None:
    turn = appliance.say(QUESTIONS[0])[0]
    assert turn["outcome"] == "answered"
    log = appliance.log.read_bytes()
    code, out = typed(appliance, "trace", stdin=log)
    assert code == 0
    session = out.decode().splitlines()[-1].split()[0]
    code, drawn = typed(appliance, "trace", session, stdin=log)
    text = drawn.decode()
    assert code == 0
    assert re.search(r"turn 1  answered, voice to voice \d+ ms", text)
    for stage in ("end of turn", "first token", "first phrase", "synthesis", "transport"):
        assert re.search(rf"{stage} +\d+ ms  ", text)
    assert max(map(len, text.splitlines())) <= 80
    assert "the caller left" in text

    code, archive = typed(appliance, "bundle", stdin=log)
    assert code == 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        kept = opened.extractfile("voice-bundle/log.jsonl")
        page = opened.extractfile("voice-bundle/metrics.txt")
        assert kept and session in kept.read().decode()
        assert page and b"voice_turns_total" in page.read()
