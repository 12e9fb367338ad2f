#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): `tcp-ut` (TCP_USER_TIMEOUT: after how long unacknowledged data closes a connection) has
# an effect on a `server` line only. On a `default-server` line it is accepted, without an error or a warning, and
# dropped: the connections keep the kernel's time-out. For a WebSocket call to a host that vanished, that is
# minutes instead of the seconds that were asked for.
#
# Seen with haproxy 2.6.12 and strace 6.1 of Debian 12 (amd64), 2026-11-29:
#   check of the configuration: exit code 0, no warning
#   default-server tcp-ut 3s: TCP_USER_TIMEOUT set on 0 connections to the server
#   server ... tcp-ut 3s: TCP_USER_TIMEOUT set on 1 connections to the server

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download 'haproxy=2.6.12-*' liblua5.3-0 libpcre2-8-0 libssl3 libsystemd0 \
    libopentracing-c-wrapper0 libopentracing1 strace libunwind8
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
python3 - "$folder" <<'PY'
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
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
listen pages
    bind 127.0.0.1:{port}
    default-server {defaults}
    server host 127.0.0.1:{backend} {options}
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=pages.serve_forever, daemon=True).start()
program = folder / "usr/sbin/haproxy"
config = folder / "haproxy.cfg"
trace = folder / "trace"


def connections_with_timeout(defaults, options):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config.write_text(
        CONFIG.format(port=port, backend=pages.server_port, defaults=defaults, options=options)
    )
    checked = subprocess.run([program, "-c", "-f", config], capture_output=True, text=True, check=True)
    assert "WARNING" not in checked.stdout + checked.stderr
    strace = [folder / "usr/bin/strace", "-f", "-e", "trace=setsockopt", "-o", trace]
    process = subprocess.Popen([*strace, program, "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        for attempt in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
                    assert response.status == 204
                break
            except urllib.error.URLError:
                assert attempt < 199, "HAProxy does not answer"
                time.sleep(0.1)
    finally:
        # strace ends with HAProxy, its only child.
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(child), signal.SIGTERM)
        process.wait()
    return len(re.findall(r"TCP_USER_TIMEOUT, \[3000\]", trace.read_text()))


dropped = connections_with_timeout("tcp-ut 3s", "")
kept = connections_with_timeout("inter 2s", "tcp-ut 3s")
print("check of the configuration: exit code 0, no warning")
print(f"default-server tcp-ut 3s: TCP_USER_TIMEOUT set on {dropped} connections to the server")
print(f"server ... tcp-ut 3s: TCP_USER_TIMEOUT set on {kept} connections to the server")
assert dropped == 0 and kept == 1
PY
