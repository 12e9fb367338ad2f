"""The demo runs in a network namespace with only loopback and never tries to reach another host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.e2e.appliance import ROOT

# System calls that reach another host; resolvers query a name server with sendto or sendmmsg.
SYSTEM_CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(
    r'sa_family=AF_INET6?\b.*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")'
)
LOOPBACK = re.compile(r"^(127\.|::1$)")


def attempts(trace: str) -> list[str]:
    """The traced system calls with an address outside this machine."""
    return [
        line
        for line in trace.splitlines()
        if (match := ADDRESS.search(line)) and not LOOPBACK.match(match[1] or match[2])
    ]


def test_demo_without_a_network_does_not_try_to_reach_one(tmp_path: Path) -> None:
    for tool in ("strace", "unshare", "ip"):
        assert shutil.which(tool), f"{tool} is needed: apt-get install strace util-linux iproute2"
    trace = tmp_path / "trace"
    namespace = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "-r", "--net"]
    traced = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        f"trace={SYSTEM_CALLS}",
        "-o",
        str(trace),
    ]
    demo = [str(ROOT / "ops" / "demo"), "--out", str(tmp_path / "out")]
    script = 'ip link set lo up; exec "$@"'
    ran = subprocess.run(
        [*namespace, "bash", "-c", script, "bash", *traced, *demo],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Stopped cleanly" in ran.stdout
    assert len(list((tmp_path / "out").glob("*.reply.wav"))) == 3
    text = trace.read_text(errors="replace")
    assert '"127.0.0.1"' in text, "no call to 127.0.0.1: strace did not record the demo"
    assert attempts(text) == []


def test_attempts_to_reach_another_host_are_found_in_a_trace() -> None:
    inet = 'sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.2")'
    dns = f'7 sendto(9, "..", 30, 0, {{{inet}}}, 16) = 30'
    address = 'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0'
    inet6 = f"7 connect(9, {{sa_family=AF_INET6, sin6_port=htons(443), {address}}}, 28) = -1"
    loopback = 'sa_family=AF_INET, sin_port=htons(8765), sin_addr=inet_addr("127.0.0.1")'
    own = f"7 connect(9, {{{loopback}}}, 16) = 0"
    unix = '7 connect(9, {sa_family=AF_UNIX, sun_path="/tmp/voice.1/tts.sock"}, 110) = 0'
    assert attempts("\n".join([dns, inet6, own, unix])) == [dns, inet6]
