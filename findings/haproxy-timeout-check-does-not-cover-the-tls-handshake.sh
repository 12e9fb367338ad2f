#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): the TLS handshake of a health check is ended after `inter`, the pause between two checks,
# although `timeout check` allows longer. The manual says of `inter` that it "serves as a timeout for health checks sent
# to servers if "timeout check" is not set", and of `timeout check` that it counts once the connection is established;
# the time until then is the smaller of `timeout connect` and `inter`. To HAProxy, the handshake belongs to the
# connection. So of two hosts that both take 0.8 s to respond, the one with TLS is down and the one without is up, and
# checks more often make a host look worse. Only a longer `inter` helps, together with `timeout connect`.
#
# Seen with haproxy 2.6.12 of Debian 12 (amd64), 2026-11-29; the host responds after 0.8 s, `timeout check` is 2 s:
#   plain, inter 500ms, timeout connect 5s: L7OK
#   TLS, inter 500ms, timeout connect 5s: L6TOUT
#   TLS, inter 2s, timeout connect 500ms: L6TOUT
#   TLS, inter 2s, timeout connect 5s: L7OK

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download 'haproxy=2.6.12-*' liblua5.3-0 libpcre2-8-0 libssl3 libsystemd0 \
    libopentracing-c-wrapper0 libopentracing1
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=host \
    -keyout key.pem -out certificate.pem 2>openssl.log
python3 - "$folder" <<'PY'
import csv
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

folder = Path(sys.argv[1])
LATE_SECONDS = 0.8
CONFIG = """
defaults
    mode http
    timeout connect {connect}
    timeout check 2s
    timeout client 5s
    timeout server 5s
frontend statistics
    bind 127.0.0.1:{statistics}
    stats enable
    stats uri /
backend hosts
    option httpchk
    server host 127.0.0.1:{host} check inter {inter} {tls}
"""
secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
secure.load_cert_chain("certificate.pem", "key.pem")


class LateHost(threading.Thread):
    """Accepts a connection at once, and says its first byte LATE_SECONDS later."""

    def __init__(self, tls):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.tls = self.listener.getsockname()[1], tls
        self.start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        time.sleep(LATE_SECONDS)
        try:
            if self.tls:
                connection = secure.wrap_socket(connection, server_side=True)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()
        except OSError:
            pass  # HAProxy did not wait


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def result(port):
    """The result of the last complete check, or ""."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/;csv") as page:
            rows = csv.DictReader(page.read().decode().removeprefix("# ").splitlines())
    except urllib.error.URLError:
        return ""
    found = next(row["check_status"] for row in rows if row["svname"] == "host")
    return "" if "INI" in found else found.removeprefix("* ")


def check_of(tls, inter, connect):
    host, statistics = LateHost(tls), free_port()
    words = "ssl verify none" if tls else ""
    config = folder / "haproxy.cfg"
    config.write_text(
        CONFIG.format(connect=connect, statistics=statistics, host=host.port, inter=inter, tls=words)
    )
    process = subprocess.Popen(
        [folder / "usr/sbin/haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while not (found := result(statistics)):
            assert time.monotonic() < deadline, "no check ends"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    print(f"{'TLS' if tls else 'plain'}, inter {inter}, timeout connect {connect}: {found}")
    return found


assert check_of(False, "500ms", "5s") == "L7OK"
assert check_of(True, "500ms", "5s") == "L6TOUT"
assert check_of(True, "2s", "500ms") == "L6TOUT"
assert check_of(True, "2s", "5s") == "L7OK"
PY
