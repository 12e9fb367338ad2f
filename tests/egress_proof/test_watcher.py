"""The watcher in a network namespace of its own: what a program sends there on purpose is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.egress_proof import probes
from appliance.errors import CannotStart

ROOT = Path(__file__).resolve().parents[2]
RUN = "00ab12cd"
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
# What a container engine does: the loopback device is up, and resolv.conf is that of the proof.
PREPARE = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'

# Every way out that a program has. The namespace has no other device, so nothing leaves.
ATTEMPTS = {
    "connect": ("tcp", "198.51.100.9", 443),
    "connect without waiting": ("tcp", "198.51.100.10", 443),
    "sendto": ("udp", "198.51.100.9", 123),
    "connect over IPv6": ("tcp", "2001:db8::9", 443),
    "to a private address": ("udp", "10.1.2.3", 514),
    "to all hosts": ("udp", "224.0.0.1", 5353),
    "broadcast": ("udp", "255.255.255.255", 67),
    "IPv4 in IPv6": ("udp", "198.51.100.11", 99),
    "DNS to a local forwarder": ("udp", "127.0.0.53", 53),
    "link-local": ("udp", "fe80::9", 99),
}
PROGRAM = """
import contextlib, socket
inet, inet6 = socket.AF_INET, socket.AF_INET6
tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
def attempt(family, kind, act):
    with socket.socket(family, kind) as each, contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        act(each)
def at_once(each):
    each.setblocking(False)
    each.connect(("198.51.100.10", 443))
attempt(inet, tcp, lambda each: each.connect(("198.51.100.9", 443)))
attempt(inet, tcp, at_once)
attempt(inet, udp, lambda each: each.sendto(b"x", ("198.51.100.9", 123)))
attempt(inet6, tcp, lambda each: each.connect(("2001:db8::9", 443)))
attempt(inet, udp, lambda each: each.sendto(b"x", ("10.1.2.3", 514)))
attempt(inet, udp, lambda each: each.sendto(b"x", ("224.0.0.1", 5353)))
attempt(inet, udp, lambda each: each.sendto(b"x", ("255.255.255.255", 67)))
attempt(inet6, udp, lambda each: each.sendto(b"x", ("::ffff:198.51.100.11", 99)))
attempt(inet, udp, lambda each: each.sendto(b"x", ("127.0.0.53", 53)))
attempt(inet6, udp, lambda each: each.sendto(b"x", ("fe80::9%lo", 99)))
with contextlib.suppress(OSError):
    socket.getaddrinfo("Weights.example", 443, inet)
"""
# Local traffic, which a watcher must not report.
LOCAL = """
import socket
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.create_server((address, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as caller:
            caller.sendall(b"x" * 1000)
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(1) == b"x"
"""


class Watched:
    """A running watcher, and programs in its namespace."""

    def __init__(self, folder: Path, resolver: str = probes.NAMESERVER) -> None:
        resolv_conf = folder / "resolv.conf"
        resolv_conf.write_text(f"nameserver {resolver}\n")
        watch = (sys.executable, "-m", "appliance", "watch-egress", RUN)
        environ = {**os.environ, "VOICE_PATHS_RUN": str(folder)}
        self._watcher = subprocess.Popen(
            [*UNSHARE, "sh", "-c", PREPARE, str(resolv_conf), *watch],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._watcher.stdout is not None
        self.first_line = self._watcher.stdout.readline()

    def run(self, program: str) -> None:
        """Run Python code in the namespace."""
        pid = str(self._watcher.pid)
        enter = (
            "nsenter",
            f"--target={pid}",
            "--user",
            "--net",
            "--mount",
            "--preserve-credentials",
        )
        # nsenter changes to the root of the namespace.
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [*enter, sys.executable, "-c", program], env=environ, check=True, timeout=120
        )

    def stop(self) -> list[dict[str, Any]]:
        self._watcher.send_signal(signal.SIGTERM)
        out, _ = self._watcher.communicate(timeout=60)
        assert self._watcher.returncode == 0
        return [json.loads(line) for line in (self.first_line + out).splitlines()]

    def failed(self) -> tuple[int, str]:
        _, errors = self._watcher.communicate(timeout=60)
        return self._watcher.returncode, errors

    def end(self) -> None:
        if self._watcher.poll() is None:
            self._watcher.kill()
        self._watcher.communicate(timeout=60)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    try:
        yield watched
    finally:
        watched.end()


@pytest.fixture(autouse=True, scope="module")
def namespaces() -> None:
    """Skip, or in CI fail, where no namespace can be made."""
    made = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        reason = f"THE WATCHER IS NOT TESTED: NO NAMESPACES HERE: {made.stderr}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def leaving(records: list[dict[str, Any]]) -> set[tuple[str, str, int, str]]:
    return {
        (entry["protocol"], entry["address"], entry["port"], entry["name"])
        for record in records
        if record["kind"] == "packets"
        for entry in record["leaving"]
    }


def test_every_attempt_is_seen_and_local_traffic_is_not_reported(watched: Watched) -> None:
    watched.run(PROGRAM)
    watched.run(LOCAL)
    records = watched.stop()
    ipv6 = records[0]["ipv6"]
    own = {(to.protocol, to.address, to.port, to.name)
           for to in probes.expected(RUN, "watcher", ipv6).values()}  # fmt: skip
    seen = leaving(records)
    assert own <= seen
    wanted = {(*to, "") for to in ATTEMPTS.values() if ipv6 or ":" not in to[1]}
    wanted.add(("udp", probes.NAMESERVER, 53, "Weights.example"))
    assert seen - own == wanted
    assert records[-1]["kind"] == "end"
    assert records[-1]["dropped"] == 0
    assert sum(record["loopback"] for record in records if record["kind"] == "packets") > 10


def test_probes_of_the_appliance_are_told_from_those_of_the_watcher(watched: Watched) -> None:
    watched.run(f"from appliance.egress_proof import sender; sender.send({RUN!r}, 'appliance')")
    records = watched.stop()
    wanted = {
        (to.protocol, to.address, to.port, to.name)
        for sender in probes.SENDERS
        for to in probes.expected(RUN, sender, records[0]["ipv6"]).values()
    }
    assert leaving(records) == wanted


def test_watcher_that_cannot_see_its_own_lookup_does_not_watch(tmp_path: Path) -> None:
    watched = Watched(tmp_path, resolver="192.0.2.99")
    try:
        assert watched.first_line == ""
        code, errors = watched.failed()
    finally:
        watched.end()
    assert code == CannotStart.exit_code
    assert "sent and not seen: DNS lookup" in errors


def test_watcher_without_its_capabilities_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*UNSHARE[:4], "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw",
         sys.executable, "-m", "appliance", "watch-egress", RUN],
        cwd=ROOT, env={**os.environ, "VOICE_PATHS_RUN": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == CannotStart.exit_code
    assert "no_proof" in done.stderr
    assert done.stdout == ""
