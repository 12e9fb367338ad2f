"""GET /room, a closed appliance, the name of the host, and callers behind a proxy."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appliance import run_folder
from appliance.errors import SocketTaken
from appliance.processes import GATEWAY, socket_path
from tests.gateway.requests import send
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway, free_port

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


async def room(gateway: RunningGateway) -> tuple[int, Any]:
    """Ask /room without a token. Return the status and the JSON body."""
    answer = await send(gateway, "GET", "/room")
    return answer.status, json.loads(answer.body)


async def refusal(gateway: RunningGateway, headers: dict[str, str]) -> tuple[int, str]:
    """Try to call, expect a refusal, and return its status and reason."""
    with pytest.raises(InvalidStatus) as caught:
        await gateway.open_socket(headers)
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["reason"]


def acceptance_headers(gateway: RunningGateway) -> dict[str, str]:
    """Return the headers of the acceptance test."""
    secret = run_folder.read_acceptance_pass(gateway.run, GATEWAY)
    return AUTHORIZED | {run_folder.ACCEPTANCE_HEADER: secret}


async def test_room_is_there_until_the_last_place_is_taken(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=2) as gateway:
        assert await room(gateway) == (200, {"room": True})
        await gateway.connect()
        assert (await room(gateway))[0] == 200
        last = await gateway.connect()
        status, body = await room(gateway)
        assert (status, body["room"], body["reason"]) == (404, False, "full")
        await last.disconnect()
        await gateway.wait_until(lambda: gateway.open_sessions() == 1)
        assert (await room(gateway))[0] == 200
        assert gateway.metric("voice_sessions_rejected_total", reason="full") == 0


async def test_full_gateway_has_room_if_a_silent_call_would_give_way(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_sessions=1, yield_seconds=0.1) as gateway:
        silent = await gateway.connect()
        async with asyncio.timeout(60):
            while (await room(gateway))[0] != 200:
                await asyncio.sleep(0.02)
        assert not silent.closed  # it gives way only to a caller
        await gateway.connect()
        await silent.wait_closed()


async def test_draining_gateway_has_no_room(gateway: RunningGateway) -> None:
    run_folder.begin_drain(gateway.run)
    status, body = await room(gateway)
    assert (status, body["reason"]) == (404, "draining")
    run_folder.end_drain(gateway.run)
    assert (await room(gateway))[0] == 200


async def test_gateway_without_its_engines_has_no_room(make_gateway: MakeGateway) -> None:
    async with make_gateway(engines=("llm",)) as gateway:
        await gateway.wait_until(lambda: gateway.server.control.state().waiting_for != "engines")
        status, body = await room(gateway)
        assert (status, body["reason"]) == (404, "not_ready")
        assert "tts" in body["message"]


async def test_probes_of_room_are_not_attempts(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_attempts_per_minute=1) as gateway:
        assert [(await room(gateway))[0] for _ in range(20)] == [200] * 20
        assert (await refusal(gateway, {}))[0] == 401  # the one attempt is still there


async def test_closed_gateway_lets_in_only_the_acceptance_test(gateway: RunningGateway) -> None:
    run_folder.close(gateway.run)
    status, body = await room(gateway)
    assert (status, body["reason"]) == (404, "closed")
    answer = await send(gateway, "GET", "/readyz")
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "ready": False,
        "waiting_for": "",
        "draining": False,
        "closed": True,
    }
    assert await refusal(gateway, AUTHORIZED) == (503, "closed")
    wrong = AUTHORIZED | {run_folder.ACCEPTANCE_HEADER: "wrong"}
    assert await refusal(gateway, wrong) == (503, "closed")
    own = acceptance_headers(gateway)
    del own["Authorization"]
    assert await refusal(gateway, own) == (401, "wrong_token")
    socket = await gateway.open_socket(acceptance_headers(gateway))
    run_folder.open_again(gateway.run)
    assert (await room(gateway))[0] == 200
    await gateway.connect()
    await socket.close()
    await gateway.wait_until(lambda: gateway.metric("voice_closed") == 0)
    assert gateway.logged_errors() == []


async def test_draining_gateway_refuses_the_acceptance_test_too(gateway: RunningGateway) -> None:
    run_folder.begin_drain(gateway.run)
    assert await refusal(gateway, acceptance_headers(gateway)) == (503, "draining")


async def test_secret_of_the_acceptance_test_is_private(gateway: RunningGateway) -> None:
    path = gateway.run / GATEWAY / run_folder.ACCEPTANCE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() not in gateway.raw_log().decode()


async def test_closing_and_opening_are_recorded(gateway: RunningGateway) -> None:
    run_folder.close(gateway.run)
    await gateway.wait_until(lambda: gateway.metric("voice_closed") == 1)
    run_folder.open_again(gateway.run)
    await gateway.wait_until(lambda: gateway.metric("voice_closed") == 0)
    actions = [line["action"] for line in gateway.log_lines("audit")]
    assert [action for action in actions if action in ("closed", "opened")] == ["closed", "opened"]


async def test_every_answer_names_the_host_if_it_has_a_name(make_gateway: MakeGateway) -> None:
    async with make_gateway(host_name="voice-2.example") as gateway:
        for path in ("/healthz", "/readyz", "/room", "/", "/nothing-here"):
            answer = await send(gateway, "GET", path)
            assert answer.headers["voice-host"] == "voice-2.example", path
        with pytest.raises(InvalidStatus) as caught:
            await gateway.open_socket({})
        assert caught.value.response.headers["Voice-Host"] == "voice-2.example"
        socket = await gateway.open_socket()
        assert socket.response is not None
        assert socket.response.headers["Voice-Host"] == "voice-2.example"
        await socket.close()


async def test_host_is_not_named_by_default(gateway: RunningGateway) -> None:
    assert "voice-host" not in (await send(gateway, "GET", "/healthz")).headers


async def test_callers_behind_a_proxy_have_their_own_attempts(make_gateway: MakeGateway) -> None:
    """20 callers, each with one wrong token and one call, at a limit of 2 attempts an address."""
    async with make_gateway(
        max_attempts_per_minute=2, max_sessions=20, trusted_proxies=("127.0.0.1",)
    ) as gateway:
        for number in range(20):
            caller = {"X-Forwarded-For": f"192.0.2.{number}", "X-Forwarded-Proto": "https"}
            assert await refusal(gateway, caller) == (401, "wrong_token")
            socket = await gateway.open_socket(AUTHORIZED | caller)
            await socket.close()
        assert gateway.metric("voice_sessions_rejected_total", reason="too_many_attempts") == 0


async def test_second_gateway_in_a_run_folder_does_not_take_the_socket(
    gateway: RunningGateway,
) -> None:
    environ = os.environ | {
        "VOICE_PATHS_RUN": str(gateway.run),
        "VOICE_GATEWAY_PORT": str(free_port()),
        "VOICE_GATEWAY_TOKEN_FILE": str(gateway.run / "token"),
    }
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "appliance", "gateway", env=environ, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await second.communicate()
    assert second.returncode == SocketTaken.exit_code
    assert "socket_taken" in output.decode()
    path = socket_path(gateway.run, GATEWAY)
    assert path.is_socket()
    _, writer = await asyncio.open_unix_connection(path)  # of the first one
    writer.close()
    assert (await room(gateway))[0] == 200
