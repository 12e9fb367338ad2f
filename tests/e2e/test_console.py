"""An operator's commands on the real appliance, also during a call."""

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

CALLS_LEFT = 75  # exit code


@pytest.fixture
def config(appliance: Appliance) -> Config:
    appliance.wait_ready()
    return Config(url=appliance.url, token=appliance.token)


def run(appliance: Appliance, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run `python -m appliance ARGUMENTS`; return its exit code and output."""
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


async def run_beside_a_call(appliance: Appliance, *arguments: str) -> tuple[int, str]:
    code, out = await asyncio.to_thread(run, appliance, *arguments)
    return code, out.decode()


def test_status_of_a_running_appliance_fits_on_one_screen(
    appliance: Appliance, config: Config
) -> None:
    code, out = run(appliance, "status", "--colour", "always", "--lines", "3", stdin=b"{}\n")
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.decode())
    assert code == 0
    assert text.startswith("● voice-appliance ") and "State: running since " in text
    assert max(map(len, text.splitlines())) <= 80
    for name in PROCESSES:
        assert re.search(rf"^● {name} +running .*[MG]B +\d+$", text, re.MULTILINE)
    status = json.loads(run(appliance, "status", "--json")[1])
    assert (status["state"], status["waiting_for"], status["silent"]) == ("running", "", [])
    assert all(process["memory_bytes"] > 1e6 for process in status["processes"])


async def test_drain_refuses_new_calls_until_undone_and_lets_calls_in_progress_continue(
    appliance: Appliance, config: Config
) -> None:
    async with Conversation(await connect(config)) as conversation:
        assert (await run_beside_a_call(appliance, "drain"))[0] == 0
        with pytest.raises(CallRefused, match="draining"):
            await connect(config)
        answer = await conversation.finished(
            conversation.say(read_wav(QUESTIONS[0])), timeout_seconds=90
        )
        assert answer.outcome == "answered"
        code, out = await run_beside_a_call(appliance, "drain", "--wait", "1")
        assert (code, "1 call in progress" in out) == (CALLS_LEFT, True)
        code, out = await run_beside_a_call(appliance, "status")
        assert (code, "1 call in progress" in out) == (3, True)
    assert (await run_beside_a_call(appliance, "drain", "--wait", "60"))[0] == 0

    before = appliance.process("gateway").pid
    appliance.process("gateway").kill()
    async with asyncio.timeout(120):  # the restarted gateway is drained, too
        while (
            json.loads((await run_beside_a_call(appliance, "status", "--json"))[1])["waiting_for"]
            != "draining"
        ):
            await asyncio.sleep(1)
    assert appliance.process("gateway").pid != before
    assert not appliance.ready()

    assert (await run_beside_a_call(appliance, "drain", "--undo"))[0] == 0
    assert appliance.ready()
    async with Conversation(await connect(config)) as conversation:
        again = await conversation.finished(
            conversation.say(read_wav(QUESTIONS[0])), timeout_seconds=90
        )
        assert again.outcome == "answered"


def test_call_is_in_the_log_as_a_timeline_and_in_the_bundle(
    appliance: Appliance, config: Config
) -> None:
    turn = appliance.say(QUESTIONS[0])[0]
    assert turn["outcome"] == "answered"
    log = appliance.log.read_bytes()
    code, out = run(appliance, "trace", stdin=log)
    assert code == 0
    session = out.decode().splitlines()[-1].split()[0]
    code, timeline = run(appliance, "trace", session, stdin=log)
    text = timeline.decode()
    assert code == 0
    assert re.search(r"turn 1  answered, voice to voice \d+ ms", text)
    for stage in ("end of turn", "first token", "first phrase", "synthesis", "transport"):
        assert re.search(rf"{stage} +\d+ ms  ", text)
    assert max(map(len, text.splitlines())) <= 80
    assert "the caller left" in text

    code, archive = run(appliance, "bundle", stdin=log)
    assert code == 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as bundle:
        log_file = bundle.extractfile("voice-bundle/log.jsonl")
        metrics = bundle.extractfile("voice-bundle/metrics.txt")
        assert log_file and session in log_file.read().decode()
        assert metrics and b"voice_turns_total" in metrics.read()
