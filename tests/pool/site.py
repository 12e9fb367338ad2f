"""A pool as a site runs it: real gateways on instant engines, and Debian's HAProxy."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from appliance import run_folder
from appliance.link.health import ask_health
from appliance.processes import GATEWAY, socket_path
from ops.pool import render
from tests.e2e.appliance import ROOT, Appliance
from tests.pool.network import Network, Node
from tests.pool.programs import program
from tests.tls.site import make_site

PORT = 8765
POOL_NAME = "pool.example"
PROXY_ADDRESS = "10.77.0.1"
STATISTICS_PORT = 8405
CALLERS = 40  # addresses of callers
WAIT_SECONDS = 300.0  # generous, so that a slow machine does not fail the tests


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until `condition` is true, for at most WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


# What boot does before it starts the gateway, without supervisord.
AS_BOOT = """
import os, sys
from appliance import run_folder, settings
from appliance.supervision import boot
loaded = settings.load(os.environ)
run_folder.claim(loaded.paths.run, closed=boot.starts_closed(loaded.gateway)).close()
os.execv(sys.executable, [sys.executable, "-m", "appliance", "gateway"])
"""


class PoolHost:
    """A host: a gateway in a namespace of its own, with the certificate of an own authority."""

    def __init__(self, folder: Path, name: str, node: Node, token: str, **settings: str) -> None:
        self.name, self.node = name, node
        self.tls_name = f"{name}.example"
        self.tls = make_site(folder / f"{name}-etc", (self.tls_name, node.address))
        self.appliance = Appliance(folder / name, settings)
        self._mark = folder / f"{name}-start-closed"
        self.appliance.port = PORT
        self.appliance.token_file.write_text(token)
        self.appliance.settings |= {
            "GATEWAY_HOST": node.address,
            "GATEWAY_TLS_CERTIFICATE": str(self.tls.chain),
            "GATEWAY_TLS_KEY": str(self.tls.key),
            "GATEWAY_TRUSTED_PROXIES": PROXY_ADDRESS,
            "GATEWAY_DRAIN_SECONDS": "0",
            "GATEWAY_START_CLOSED_FILE": str(self._mark),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def run_folder(self) -> Path:
        return self.appliance.run_folder

    def start(self, *, closed: bool = False) -> None:
        """Start the gateway: with `closed` as `voicectl activate` does, until `open`."""
        if closed:
            self._mark.touch()
        with self.appliance.log.open("ab") as log:
            self._process = self.node.start(
                *(sys.executable, "-c", AS_BOOT),
                cwd=ROOT,
                env=self.appliance.environment(),
                stdout=log,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the gateway: with SIGTERM as an operator does, or with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(WAIT_SECONDS)

    def pause(self) -> None:
        """Let the gateway get no processor, as on a starved host: the kernel still answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def audio_bytes(self) -> float:
        """PCM that this gateway has sent to callers since it started."""
        health = await ask_health(socket_path(self.run_folder, GATEWAY), WAIT_SECONDS)
        found = re.search(
            rb'^voice_audio_bytes_total\{direction="out"\} (\S+)', health.metrics, re.MULTILINE
        )
        assert found, health
        return float(found[1])

    def drain(self) -> None:
        run_folder.begin_drain(self.run_folder)

    def open(self) -> None:
        """Let callers in, also after the next start."""
        self._mark.unlink(missing_ok=True)
        run_folder.end_drain(self.run_folder)
        run_folder.open_again(self.run_folder)

    def room(self) -> tuple[int, str]:
        """What the gateway itself answers to `GET /room`: status and reason. Raises OSError."""
        status, body = self._ask("/room")
        return status, body.get("reason", "")

    def is_prepared(self) -> bool:
        """Whether all its engines are ready, closed or not."""
        return not self._ask("/readyz")[1]["waiting_for"]

    def _ask(self, path: str) -> tuple[int, dict[str, Any]]:
        opened = self.node.connect(self.node.address, PORT)
        opened.settimeout(WAIT_SECONDS)
        with self.tls.trust().wrap_socket(opened, server_hostname=self.tls_name) as secure:
            status, body = _get(secure, path)
        return status, json.loads(body)


class Proxy:
    """HAProxy with the configuration that ops/pool renders, in master-worker mode as a service."""

    def __init__(self, folder: Path, node: Node) -> None:
        self._folder, self._node = folder, node
        self._socket_folder = Path(tempfile.mkdtemp(prefix="pool."))  # sockets need a short path
        self._socket = self._socket_folder / "admin.sock"
        self._path = folder / "haproxy.cfg"
        self.tls = make_site(folder / "pool-etc", (POOL_NAME, node.address))
        chain, key = self.tls.chain.read_text(), self.tls.key.read_text()
        (folder / "pool.pem").write_text(chain + key)
        self.checks_until_lost = 0  # failed ones in a row
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, hosts: list[PoolHost], places: int, *more: str) -> None:
        """Write the configuration. `more` are lines of the table [timeouts]."""
        authorities = "".join(host.tls.ca.read_text() for host in hosts)
        (self._folder / "hosts-ca.pem").write_text(authorities)
        lines = [
            "[pool]",
            f'listen = "{self._node.address}:{PORT}"',
            f'certificate = "{self._folder / "pool.pem"}"',
            f'ca = "{self._folder / "hosts-ca.pem"}"',
            f'public_ca = "{self.tls.ca}"',
            f'socket = "{self._socket}"',
            "[timeouts]",
            *more,
        ]
        for host in hosts:
            lines += [
                "[[host]]",
                f'name = "{host.name}"',
                f'address = "{host.node.address}"',
                f'tls_name = "{host.tls_name}"',
                f"places = {places}",
            ]
        checked = render.read("\n".join(lines))
        self.checks_until_lost = render.failed_checks(checked.timeouts)
        lua = str(ROOT / "ops/pool/waiting_room.lua")
        self._path.write_text(render.render(checked, lua=lua), encoding="utf-8")

    def start(self) -> None:
        with (self._folder / "haproxy.log").open("ab") as log:
            command = (program("haproxy"), "-W", "-db", "-f", str(self._path))
            self._process = self._node.start(*command, stdout=log, stderr=log)

    def reload(self) -> None:
        """Reload the configuration as `systemctl reload haproxy` does; wait for the new worker."""
        assert self._process is not None
        before = self.command("show info").split("Pid: ")[1].split()[0]
        self._process.send_signal(signal.SIGUSR2)
        wait_for(lambda: self._pid() not in ("", before), "a new worker of HAProxy")

    def _pid(self) -> str:
        try:
            return self.command("show info").split("Pid: ")[1].split()[0]
        except (OSError, IndexError):
            return ""

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(WAIT_SECONDS)
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def command(self, text: str) -> str:
        """Send a command to the runtime socket. Raises OSError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(self._socket))
            connection.sendall(f"{text}\n".encode())
            with connection.makefile("rb") as answer:
                return answer.read().decode()

    def rows(self, backend: str = "calls") -> dict[str, dict[str, str]]:
        """The statistics of each server of a backend, and of the backend as "BACKEND"."""
        try:
            table = self.command("show stat").removeprefix("# ")
        except OSError:
            return {}
        rows = csv.DictReader(io.StringIO(table))
        return {row["svname"]: row for row in rows if row["pxname"] == backend}

    def states(self) -> dict[str, str]:
        """Whether each host takes calls: UP, NOLB (full or draining) or DOWN."""
        return {
            name: row["status"].split()[0] for name, row in self.rows().items() if name != "BACKEND"
        }

    def calls(self) -> dict[str, int]:
        """The number of calls of each host, as this worker counts them."""
        return {name: int(row["scur"]) for name, row in self.rows().items() if name != "BACKEND"}

    def failed_checks(self, host: PoolHost) -> int:
        """How many checks of a host have failed, not counting those of a lost one."""
        return int(self.rows()[host.name]["chkfail"])

    def losses(self, host: PoolHost) -> int:
        """How often this worker has taken a host for lost."""
        return int(self.rows()[host.name]["chkdown"])

    def connections(self) -> int:
        """The number of open connections of callers, with and without a place."""
        return int(self.rows("pool")["FRONTEND"]["scur"])

    def metrics(self) -> str:
        """The page for Prometheus, which is served on the proxy's machine only."""
        opened = self._node.connect("127.0.0.1", STATISTICS_PORT, "127.0.0.1")
        opened.settimeout(WAIT_SECONDS)
        with opened:
            return _get(opened, "/metrics")[1].decode()

    def log(self) -> str:
        return (self._folder / "haproxy.log").read_text(encoding="utf-8")


class PoolSite:
    """Three hosts, a proxy and callers. Its gateways share one token, as a pool does.

    outsider  a fourth host, which the proxy does not know, for comparisons. It is started by the
              test that needs it
    """

    def __init__(
        self, folder: Path, places: int, token: str, queue_seconds: int = 8, **settings: str
    ) -> None:
        program("haproxy")
        self.places, self.token, self._queue_seconds = places, token, queue_seconds
        self.network = Network()
        self.proxy = Proxy(folder, self.network.node("proxy", PROXY_ADDRESS))
        self.callers = self.network.node(
            "callers", *(f"10.77.2.{number}" for number in range(1, CALLERS + 1))
        )
        limits = {"GATEWAY_MAX_SESSIONS": str(places)} | settings
        *self.hosts, self.outsider = [
            PoolHost(
                folder,
                f"host-{number}",
                self.network.node(f"host{number}", f"10.77.1.{number}"),
                token,
                **limits,
            )
            for number in (1, 2, 3, 4)
        ]
        self._engines: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folders = [str(host.run_folder) for host in (*self.hosts, self.outsider)]
        engines = (sys.executable, "-m", "tests.bench.instant", *folders)
        self._engines = subprocess.Popen(engines, cwd=ROOT)
        for host in self.hosts:
            host.start()
        self.proxy.configure(self.hosts, self.places, f"queue_seconds = {self._queue_seconds}")
        self.proxy.start()
        self.wait_all_up()

    def wait_all_up(self) -> None:
        """Wait until every host takes calls, and has none."""
        up = {host.name: "UP" for host in self.hosts}
        wait_for(lambda: self.proxy.states() == up, "all hosts are up")
        none = {host.name: 0 for host in self.hosts}
        wait_for(lambda: self.proxy.calls() == none, "all calls have ended")

    def stop(self) -> None:
        self.proxy.stop()
        for host in (*self.hosts, self.outsider):
            host.stop()
        if self._engines is not None:
            self._engines.terminate()
            self._engines.wait(WAIT_SECONDS)
        self.network.remove()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a request to the pool."""
        opened = self.callers.connect(PROXY_ADDRESS, PORT)
        opened.settimeout(WAIT_SECONDS)
        with self.trust().wrap_socket(opened, server_hostname=POOL_NAME) as secure:
            return _get(secure, path)

    def trust(self) -> ssl.SSLContext:
        """The TLS context of a caller who trusts the pool's authority."""
        return self.proxy.tls.trust()


def _get(opened: socket.socket, path: str) -> tuple[int, bytes]:
    """Status and body of a request over an open connection."""
    request = f"GET {path} HTTP/1.1\r\nHost: {POOL_NAME}\r\nConnection: close\r\n\r\n"
    opened.sendall(request.encode())
    answer = HTTPResponse(opened)
    answer.begin()
    return answer.status, answer.read()
