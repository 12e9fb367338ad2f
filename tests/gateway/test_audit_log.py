"""The audit log of the real gateway: its lines, and that calls go on when its folder fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appliance import run_folder
from appliance.audit.chain import ACTIONS
from appliance.audit.folder import files, lines_of
from appliance.audit.verify import verify
from appliance.errors import AuditUnavailable, BadSetting
from appliance.gateway.audit_log import settings_sha256
from appliance.settings import Settings, load, render
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway

ROOT = Path(__file__).parents[2]
CANARY = "zanzibar"
Entries = list[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "audit"
    path.mkdir()
    return path


def in_use(folder: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the settings for an audit log in `folder`."""
    return {"audit": {"folder": str(folder), **more}}


def in_log(gateway: RunningGateway) -> Entries:
    return gateway.log_lines("audit")


def in_folder(folder: Path) -> Entries:
    return [json.loads(line) for _, lines in lines_of(files(folder)) for line in lines]


def actions(entries: Entries) -> list[str]:
    return [entry["action"] for entry in entries]


async def refuse(gateway: RunningGateway, times: int) -> None:
    for _ in range(times):
        with pytest.raises(InvalidStatus):
            await gateway.open_socket({"Authorization": "Bearer wrong"})


async def test_calls_are_recorded_with_the_name_of_their_token_and_no_words(
    make_gateway: MakeGateway, folder: Path
) -> None:
    async with make_gateway(sections=in_use(folder)) as gateway:
        await refuse(gateway, 1)
        client = await gateway.connect()
        await client.type(f"What is {CANARY}?")
        await client.turn(1)
        await client.disconnect()
        await gateway.wait_until(lambda: "call_ended" in actions(in_log(gateway)))
    entries = in_folder(folder)
    assert actions(entries) == [
        *("started", "call_started", "call_ended", "stopping", "refused", "stopped")
    ]
    begun, ended = entries[1:3]
    (started,) = gateway.log_lines("session started")
    assert begun["call"] == ended["call"] == started["session"]
    assert begun["token"] == ended["token"] == "shared"
    assert ended["reason"] == "left" and ended["duration_seconds"] > 0
    assert entries[3]["reason"] == "signal"
    content = b"".join(path.read_bytes() for path in files(folder))
    for secret in (CANARY, TOKEN, "127.0.0.1"):
        assert secret.encode() not in content
    assert verify(lines_of(files(folder))).problems == []


async def test_log_has_the_same_bytes_as_the_folder(
    make_gateway: MakeGateway, folder: Path
) -> None:
    async with make_gateway(sections=in_use(folder)) as gateway:
        await refuse(gateway, 2)
    log = gateway.raw_log().splitlines(keepends=True)
    written = [line for _, lines in lines_of(files(folder)) for line in lines]
    assert [line for line in log if b'"event":"audit"' in line] == written
    assert verify([("log", log)], in_log=True).head == verify(lines_of(files(folder))).head


async def test_start_records_the_hashes_of_settings_and_seal(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    seal = {"lock_sha256": "5f2d", "full": True, "code": {"sha256": "c0de"}}
    run_folder.write_seal(tmp_path / "run", seal)
    async with make_gateway() as gateway:
        (start,) = (entry for entry in in_log(gateway) if entry["action"] == "started")
        printed = f"{render(gateway.server._settings)}\n".encode()
        assert start["settings_sha256"] == hashlib.sha256(printed).hexdigest()
    assert (start["seal_sha256"], start["seal_check"]) == ("5f2d", "full")
    assert start["code_sha256"] == "c0de"
    assert start["chain"] == "new"


def test_hash_of_the_settings_is_that_of_the_printed_list() -> None:
    environ = {"VOICE_TTS_SPEED": "1.2"}
    command = [sys.executable, "-m", "appliance", "settings"]
    printed = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, check=True, timeout=120
    ).stdout
    assert settings_sha256(load(environ)) == hashlib.sha256(printed).hexdigest()
    assert settings_sha256(load(environ)) != settings_sha256(Settings())


async def test_many_refusals_are_one_line(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        await refuse(gateway, 20)
        run_folder.begin_drain(gateway.run)
        with pytest.raises(InvalidStatus):
            await gateway.open_socket()
    (line,) = (entry for entry in in_log(gateway) if entry["action"] == "refused")
    assert line["count"] == 21
    assert line["reasons"] == {"draining": 1, "wrong_token": 20}


async def test_refusals_are_summarized_while_the_gateway_runs(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.gateway.server.REFUSAL_SECONDS", 0.01)
    async with make_gateway() as gateway:
        await refuse(gateway, 1)
        await gateway.wait_until(lambda: "refused" in actions(in_log(gateway)))
        await refuse(gateway, 1)
        await gateway.wait_until(lambda: actions(in_log(gateway)).count("refused") == 2)


async def test_drain_and_its_end_are_recorded(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        run_folder.begin_drain(gateway.run)
        await gateway.wait_until(lambda: "drain_begun" in actions(in_log(gateway)))
        run_folder.end_drain(gateway.run)
        await gateway.wait_until(lambda: "drain_undone" in actions(in_log(gateway)))
    # The drain of the stop is not that of an operator.
    assert actions(in_log(gateway))[1:] == ["drain_begun", "drain_undone", "stopping", "stopped"]


async def test_call_that_a_stop_cuts_off_ends_before_the_last_line(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(drain_seconds=0.0) as gateway:
        await gateway.connect()
        await gateway.stop()
    entries = in_log(gateway)
    assert actions(entries)[-3:] == ["stopping", "call_ended", "stopped"]
    assert entries[-3]["sessions"] == 1
    assert entries[-2]["reason"] == "shutdown"


async def test_chain_goes_on_after_a_restart(make_gateway: MakeGateway, folder: Path) -> None:
    for _ in range(2):
        async with make_gateway(sections=in_use(folder)):
            pass
    entries = in_folder(folder)
    starts = [entry["chain"] for entry in entries if entry["action"] == "started"]
    assert starts == ["new", "continued"]
    assert verify(lines_of(files(folder))).problems == []
    assert len(files(folder)) == 2


async def test_calls_go_on_when_the_folder_is_full(
    make_gateway: MakeGateway, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_gateway(sections=in_use(folder)) as gateway:
        await gateway.wait_until(lambda: in_folder(folder))
        monkeypatch.setattr(os, "fdatasync", _full)
        client = await gateway.connect()
        await gateway.wait_until(lambda: gateway.metric("voice_audit_failing") == 1)
        await client.type("Hello.")
        assert (await client.turn(1))["outcome"] == "answered"
        await client.disconnect()
        await gateway.wait_until(lambda: "call_ended" in actions(in_log(gateway)))
        (line,) = gateway.log_lines("audit folder failed")
    assert (line["level"], line["errno"]) == ("error", "ENOSPC")
    assert actions(in_folder(folder)) == ["started"]
    assert (
        verify([("log", gateway.raw_log().splitlines(keepends=True))], in_log=True).problems == []
    )


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_unusable_folder_is_an_error_in_the_log_and_calls_are_served(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    async with make_gateway(sections=in_use(tmp_path / "missing")) as gateway:
        client = await gateway.connect()
        await client.type("Hello.")
        assert (await client.turn(1))["outcome"] == "answered"
        assert gateway.metric("voice_audit_failing") == 1
        assert gateway.metric("voice_audit_lines_lost_total") == 2  # the start, and the call's
        (line,) = gateway.log_lines("audit folder unusable")
    assert (line["level"], line["reason"]) == ("error", "audit_unavailable")
    assert actions(in_log(gateway))[0] == "started"


async def test_required_folder_that_is_unusable_stops_the_start(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    sections = in_use(tmp_path / "missing", required=True)
    with pytest.raises(AuditUnavailable, match="missing"):
        async with make_gateway(sections=sections):
            pytest.fail("the gateway must not start")


def test_required_without_a_folder_is_refused() -> None:
    with pytest.raises(BadSetting, match="VOICE_AUDIT_FOLDER"):
        load({"VOICE_AUDIT_REQUIRED": "true"})


def test_every_action_is_documented() -> None:
    page = (ROOT / "docs" / "audit-log.md").read_text(encoding="utf-8")
    assert [action for action in ACTIONS if f"| `{action}` |" not in page] == []
