"""The watch over what leaves, in a network namespace of its own without a route."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.acceptance import egress, sockets
from appliance.acceptance.report import Result

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, contextlib, socket, sys
from pathlib import Path
from appliance.acceptance.egress import Watch

async def main():
    async with Watch(Path("/nonexistent"), {8765}, set()) as watch:
        with socket.create_server(("127.0.0.1", 8765)), socket.socket() as own:
            own.connect(("127.0.0.1", 8765))
            await asyncio.sleep(0.3)
            exec(sys.argv[1])
            await asyncio.sleep(0.3)
    result = watch.result()
    print(result.state, result.found)

asyncio.run(main())
"""
UP = 'ip link set lo up; exec "$@"'


def seen(what: str, before: str = UP) -> str:
    command = ["unshare", "--net", "--map-root-user", "bash", "-c", before, "bash"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_calls_on_loopback_are_nobodys_business() -> None:
    assert seen("pass").startswith("pass all sockets of its network looked at")


def test_an_attempt_without_a_route_is_counted_however_short() -> None:
    for family in ("SOCK_STREAM", "SOCK_DGRAM"):
        attempt = f"""
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.{family}) as out:
    out.connect(("192.0.2.1", 53))"""
        shown = seen(attempt)
        assert shown.startswith("fail"), family
        assert "1 attempts without a route" in shown


def test_a_socket_to_another_machine_is_named() -> None:
    cable = "ip link add near type veth peer name far; ip addr add 192.0.2.2/24 dev near"
    routed = f"{cable}; ip link set near up; ip link set far up; {UP}"
    talking = """
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("192.0.2.1", 53))"""
    shown = seen(talking, routed)
    assert shown.startswith("fail")
    assert "to 192.0.2.1:53" in shown


def test_a_watch_that_broke_off_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = iter([[], None])

    def unreadable() -> list[sockets.Socket]:
        if (found := next(looks)) is None:
            raise ValueError("tcp: not a line of the kernel's list")
        return found

    async def watched() -> Result:
        async with egress.Watch(tmp_path, set(), set()) as watch:
            await asyncio.sleep(0.05)
            monkeypatch.undo()
            return watch.result()

    monkeypatch.setattr(egress, "_all", unreadable)
    with pytest.raises(ValueError, match="not a line"):
        asyncio.run(watched())


def test_processes_that_may_not_be_looked_at_prove_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(_run: Path) -> list[int]:
        raise PermissionError(13, "Permission denied", "/proc/1/fd")

    async def watched() -> Result:
        async with egress.Watch(tmp_path, set(), set()) as watch:
            pass
        return watch.result()

    monkeypatch.setattr(egress.sockets, "family", forbidden)
    result = asyncio.run(watched())
    assert result.state == "fail"
    assert "/proc/1/fd" in result.found
