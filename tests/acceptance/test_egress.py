"""The egress watch, in a separate network namespace without a route."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.acceptance import egress, processes
from appliance.acceptance.report import CheckResult
from appliance.acceptance.sockets import LISTEN, Endpoint, KernelSocket

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, contextlib, socket, sys
from pathlib import Path
from appliance.acceptance.egress import EgressWatch

async def main():
    async with EgressWatch(Path("/nonexistent"), {8765}, set()) as watch:
        with socket.create_server(("127.0.0.1", 8765)), socket.socket() as caller:
            caller.connect(("127.0.0.1", 8765))
            await asyncio.sleep(0.3)
            exec(sys.argv[1])
            await asyncio.sleep(0.3)
    result = watch.result()
    print(result.state, result.found)

asyncio.run(main())
"""
LOOPBACK_UP = 'ip link set lo up; exec "$@"'


def watch_while(code: str, network: str = LOOPBACK_UP) -> str:
    """Run the `network` script in a new namespace, then `code` under a watch. Return the result."""
    command = ["unshare", "--net", "--map-root-user", "bash", "-c", network, "bash"]
    result = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_calls_on_loopback_pass() -> None:
    assert watch_while("pass").startswith("pass all sockets of the network namespace polled")


def test_shortest_attempt_without_a_route_is_counted() -> None:
    for family in ("SOCK_STREAM", "SOCK_DGRAM"):
        attempt = f"""
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.{family}) as out:
    out.connect(("192.0.2.1", 53))"""
        result = watch_while(attempt)
        assert result.startswith("fail"), family
        assert "1 attempts without a route" in result


def test_socket_to_another_machine_is_named() -> None:
    cable = "ip link add near type veth peer name far; ip addr add 192.0.2.2/24 dev near"
    routed = f"{cable}; ip link set near up; ip link set far up; {LOOPBACK_UP}"
    connection = """
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("192.0.2.1", 53))"""
    result = watch_while(connection, routed)
    assert result.startswith("fail")
    assert "to 192.0.2.1:53" in result


def test_watch_that_failed_raises_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables: Iterator[list[KernelSocket] | None] = iter([[], None])

    def unreadable() -> list[KernelSocket]:
        if (table := next(tables)) is None:
            raise ValueError("tcp: not a line of the kernel's list")
        return table

    async def watch() -> CheckResult:
        async with egress.EgressWatch(tmp_path, set(), set()) as running:
            await asyncio.sleep(0.05)
            monkeypatch.undo()
            return running.result()

    monkeypatch.setattr(egress, "_read_tables", unreadable)
    with pytest.raises(ValueError, match="not a line"):
        asyncio.run(watch())


def test_sockets_of_processes_that_hide_their_files_are_told_by_their_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def deny_access(_run: Path) -> list[int]:
        raise PermissionError(13, "Permission denied", "/proc/1/fd")

    def table(*users: int) -> list[KernelSocket]:
        local, remote = Endpoint.parse("192.0.2.1", 40_000), Endpoint.parse("192.0.2.2", 443)
        return [KernelSocket("tcp", local, remote, LISTEN, 7, user) for user in users]

    async def watch() -> CheckResult:
        async with egress.EgressWatch(tmp_path, set(), set()) as finished:
            pass
        return finished.result()

    own = tmp_path.stat().st_uid
    monkeypatch.setattr(processes, "process_ids", deny_access)
    monkeypatch.setattr(egress, "_read_tables", lambda: table(own, own + 1))
    result = asyncio.run(watch())
    assert result.state == "fail"
    assert result.found.startswith("the appliance's sockets")
    monkeypatch.setattr(egress, "_read_tables", lambda: table(own + 1))
    assert asyncio.run(watch()).state == "pass"
