#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): an agent that answers "99%" takes its server out of the load balancing. The percentage
# is taken of the configured weight and rounded down, and the default weight is 1: any answer below 100 % is 0, which
# means drained. With one server, or when all agents answer so, every request gets 503, although each agent says
# that there is room. With "weight 100" on the server line, a percentage does what its name says.
#
# Seen with haproxy 2.6.12 of Debian 12 (amd64), 2026-11-29:
#   no weight given, agent says 100%: weight 1, HTTP 200
#   no weight given, agent says 99%: weight 0, HTTP 503
#   weight 100, agent says 99%: weight 99, HTTP 200

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download 'haproxy=2.6.12-*' liblua5.3-0 libpcre2-8-0 libssl3 libsystemd0 \
    libopentracing-c-wrapper0 libopentracing1
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
python3 - "$folder" <<'PY'
import csv
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

folder = Path(sys.argv[1])
CONFIG = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    retries 0
frontend pages
    bind 127.0.0.1:{port}
    default_backend hosts
frontend statistics
    bind 127.0.0.1:{statistics}
    stats enable
    stats uri /
backend hosts
    server host 127.0.0.1:{backend} {weight} agent-check agent-port {agent} agent-inter 100ms
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Answering(threading.Thread):
    """Sends the same bytes to everybody who connects."""

    def __init__(self, answer, reads_first):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer, self.reads_first = answer, reads_first
        self.asked = threading.Semaphore(0)
        self.start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            with connection:
                if self.reads_first:
                    connection.recv(65536)
                connection.sendall(self.answer)
            self.asked.release()


def get(port, path="/"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def status_with(weight, percentage):
    page = Answering(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", reads_first=True)
    agent = Answering(percentage.encode() + b"\n", reads_first=False)
    port, statistics = free_port(), free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        CONFIG.format(port=port, statistics=statistics, backend=page.port, weight=weight, agent=agent.port)
    )
    process = subprocess.Popen([folder / "usr/sbin/haproxy", "-f", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(3):  # by the third question, the first two answers are in effect
            assert agent.asked.acquire(timeout=30), "the agent is not asked"
        rows = csv.DictReader(get(statistics, "/;csv")[1].removeprefix("# ").splitlines())
        actual = next(row["weight"] for row in rows if row["svname"] == "host")
        status, _ = get(port)
    finally:
        process.kill()
        process.wait()
    print(f"{weight or 'no weight given'}, agent says {percentage}: weight {actual}, HTTP {status}")
    return status


assert status_with("", "100%") == 200
assert status_with("", "99%") == 503
assert status_with("weight 100", "99%") == 200
PY
