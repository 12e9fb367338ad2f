"""Calls through the pool: where they go, and what callers notice of a full or a lost host."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import InvalidMessage, InvalidStatus

from appliance.errors import Full
from tests.bench.instant import REPLY
from tests.conftest import RECOVERY
from tests.e2e.appliance import ROOT
from tests.pool.callers import PoolCaller, calling, dial, outcomes, several, waiting
from tests.pool.site import PORT, PROXY_ADDRESS, WAIT_SECONDS, PoolHost, PoolSite


async def test_24_callers_are_spread_and_answered(site: PoolSite) -> None:
    async with several(site, range(24)) as callers:
        assert site.proxy.calls() == {"host-1": 8, "host-2": 8, "host-3": 8}
        assert await outcomes(callers) == ["answered"] * 24


async def test_call_of_an_openai_client_takes_a_place(site: PoolSite) -> None:
    call = await dial(site, 0, path="/v1/realtime")
    assert sum(site.proxy.calls().values()) == 1
    await call.close()


async def test_two_hosts_are_full_and_nobody_is_refused(site: PoolSite) -> None:
    """They were filled by another path, so HAProxy counts no call of theirs."""
    one, two, three = site.hosts
    async with several(site, range(8), one) as first, several(site, range(8, 16), two) as second:
        full = {one.name: "NOLB", two.name: "NOLB", three.name: "UP"}
        await waiting(lambda: site.proxy.states() == full, "the proxy sees that two are full")
        async with several(site, range(16, 24)) as callers:
            assert site.proxy.calls()[three.name] == 8
            assert await outcomes([*first, *second, *callers]) == ["answered"] * 24


async def test_host_that_the_proxy_believes_free_refuses_and_nobody_notices(site: PoolSite) -> None:
    """Between two checks the proxy sends callers to a host that has become full."""
    one = site.hosts[0]
    async with several(site, range(8), one), several(site, range(8, 24)) as callers:
        assert await outcomes(callers) == ["answered"] * 16


async def test_drained_host_keeps_its_calls_and_gets_no_new_ones(site: PoolSite) -> None:
    one = site.hosts[0]
    async with several(site, range(6)) as before:
        one.drain()
        try:
            await waiting(lambda: site.proxy.states()[one.name] == "NOLB", "the drain is seen")
            async with several(site, range(6, 12)) as after:
                assert site.proxy.calls() == {"host-1": 2, "host-2": 5, "host-3": 5}
                assert await outcomes([*before, *after]) == ["answered"] * 12
        finally:
            one.open()


async def test_operator_drains_a_host_at_the_proxy(site: PoolSite) -> None:
    """For a host that cannot be reached by its own command; docs/pool.md has the command."""
    async with several(site, range(3)) as before:
        site.proxy.command("set server calls/host-2 state drain")
        try:
            async with several(site, range(3, 9)) as after:
                assert site.proxy.calls() == {"host-1": 4, "host-2": 1, "host-3": 4}
                assert await outcomes([*before, *after]) == ["answered"] * 9
        finally:
            site.proxy.command("set server calls/host-2 state ready")


async def test_starved_host_that_fails_a_check_keeps_its_calls(site: PoolSite) -> None:
    """Its kernel accepts connections, and the TLS handshake of the check waits for the gateway."""
    one = site.hosts[0]
    failed, losses = site.proxy.failed_checks(one), site.proxy.losses(one)
    async with several(site, range(6)) as callers:
        assert site.proxy.calls()[one.name] == 2
        one.pause()
        try:
            await waiting(lambda: site.proxy.failed_checks(one) > failed, "a check has failed")
        finally:
            one.resume()
        assert await outcomes(callers) == ["answered"] * 6
        assert not any(caller.closed for caller in callers)
    assert site.proxy.losses(one) == losses


@pytest.mark.parametrize("fault", ["is killed", "hangs", "vanishes", "vanishes after a reload"])
async def test_callers_of_a_lost_host_talk_again_on_another(
    site: PoolSite, fault: str, request: pytest.FixtureRequest
) -> None:
    one = site.hosts[0]
    async with several(site, range(6), microphone=True) as callers:
        lost = site.proxy.calls()[one.name]
        if fault.endswith("reload"):
            await asyncio.to_thread(site.proxy.reload)
        failed, losses = site.proxy.failed_checks(one), site.proxy.losses(one)
        lost_at = time.monotonic()
        if fault == "is killed":
            one.stop(signal.SIGKILL)
        elif fault == "hangs":
            one.pause()
        else:
            one.node.unplug()
        again = [
            asyncio.create_task(_talks_again(site, number, caller))
            for number, caller in enumerate(callers)
        ]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while sum(task.done() for task in again) < lost:
                    await asyncio.wait(again, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
            answers = [task.result() for task in again if task.done()]
            assert [answer.outcome for answer in answers] == ["answered"] * lost
            remaining = [caller for caller in callers if not caller.closed]
            assert len(remaining) == 6 - lost, "only the calls of the lost host end"
            assert await outcomes(remaining) == ["answered"] * len(remaining)
            await waiting(lambda: site.proxy.losses(one) > losses, "the proxy takes it for lost")
            # How long they take: test_render.py. The first check of a new worker decides alone.
            fewest = 1 if fault.endswith("reload") else site.proxy.checks_until_lost
            assert site.proxy.failed_checks(one) >= failed + fewest
        finally:
            for task in again:  # those whose call goes on
                task.cancel()
            one.node.plug_in()
            if fault != "is killed":
                one.stop(signal.SIGKILL)  # it still has the calls of before
            one.start()
    seconds = max(answer.at for answer in answers) - lost_at
    event = f"a host {fault}: its callers hear the next answer"
    request.node.user_properties.append((RECOVERY, f"{event} after {seconds:.1f} s"))  # target: 5 s


@dataclass(frozen=True)
class Answer:
    """The outcome of a turn, and when its audio began (time.monotonic())."""

    outcome: str
    at: float


async def _talks_again(site: PoolSite, number: int, caller: PoolCaller) -> Answer:
    """Wait until the call has ended, call again at once as clients do, and ask."""
    await caller.socket.wait_closed()
    while True:
        try:
            async with calling(site, number) as next_call:
                outcome = (await next_call.ask())["outcome"]
                assert next_call.answered_at is not None, "the answer has audio"
                return Answer(outcome, next_call.answered_at)
        except InvalidMessage:
            # A slow proxy sent the caller to the lost host once more, and then took it for lost.
            continue


@pytest.mark.parametrize("way", ["two hosts", "the pool"])
async def test_client_loses_its_host_and_gets_its_answer(
    site: PoolSite, way: str, tmp_path: Path
) -> None:
    """The client as it is shipped, with the URLs of two hosts or with that of the pool."""
    if way == "the pool":
        addresses, authorities = [PROXY_ADDRESS], [site.proxy.tls.ca]
    else:
        addresses = [host.node.address for host in site.hosts[:2]]
        authorities = [host.tls.ca for host in site.hosts[:2]]
    trusted = tmp_path / "ca.pem"
    trusted.write_text("".join(path.read_text() for path in authorities))
    token = tmp_path / "token"
    token.write_text(site.token)
    token.chmod(0o600)
    urls = [word for address in addresses for word in ("--url", f"wss://{address}:{PORT}/ws")]
    before = {host.name: await host.audio_bytes() for host in site.hosts}

    async def speaking() -> list[PoolHost]:
        return [host for host in site.hosts if await host.audio_bytes() > before[host.name]]

    client = site.callers.start(
        *(sys.executable, "-m", "client", "ask", *urls, "--ca", str(trusted)),
        *("--token-file", str(token), "--retry", "60", "Where is the ward?"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not (hosts := await speaking()):
                assert client.poll() is None, client.communicate()
                await asyncio.sleep(0.05)
        [lost] = hosts
        lost.stop(signal.SIGKILL)
        try:
            said, problems = await asyncio.to_thread(client.communicate, timeout=WAIT_SECONDS)
            others = [host for host in site.hosts if host is not lost]
            answered = [host for host in others if await host.audio_bytes() > before[host.name]]
        finally:
            lost.start()
    finally:
        client.kill()
        client.wait(WAIT_SECONDS)
    assert client.returncode == 0, problems.decode()
    assert said.decode().strip() == REPLY
    assert "Asking again in a new call" in problems.decode()
    assert len(answered) == 1


async def test_reload_loses_no_call_and_refuses_nobody(site: PoolSite) -> None:
    """The new worker counts from 0, so it sends the first callers to hosts that are full."""
    async with several(site, range(18)) as before:
        questions = [asyncio.create_task(caller.ask()) for caller in before]
        await asyncio.to_thread(site.proxy.reload)
        async with several(site, range(18, 24)) as after:
            assert await outcomes(after) == ["answered"] * 6
            assert [(await question)["outcome"] for question in questions] == ["answered"] * 18
            assert await outcomes(before) == ["answered"] * 18


async def test_pool_answers_for_itself(site: PoolSite) -> None:
    async def get(path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(site.get, path)

    assert await get("/room") == (200, b'{"room":true}')
    assert await get("/ca.pem") == (200, site.proxy.tls.ca.read_bytes())
    assert (await get("/"))[0] == 200
    for host in site.hosts:
        host.drain()
    try:
        drained = {host.name: "NOLB" for host in site.hosts}
        await waiting(lambda: site.proxy.states() == drained, "all are drained")
        assert await get("/room") == (404, b'{"room":false,"reason":"full"}')
        assert (await get("/"))[0] == 200  # the page needs no place
        with pytest.raises(InvalidStatus) as caught:
            await dial(site, 0)
    finally:
        for host in site.hosts:
            host.open()
    response = caught.value.response
    assert response.status_code == 503
    assert response.headers["Retry-After"] == str(Full.retry_after_seconds)
    assert json.loads(response.body or b"")["reason"] == Full.reason
