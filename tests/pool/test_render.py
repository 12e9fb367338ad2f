"""hosts.toml becomes a configuration that HAProxy accepts; a wrong file gets errors with lines."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import Full, NotReady
from appliance.gateway.http.endpoints import ENDPOINTS
from appliance.settings import Settings
from ops.pool import render
from tests.pool.programs import need_root, program
from tests.pool.site import WAIT_SECONDS, wait_for

FOLDER = Path(render.__file__).parent
EXAMPLE = (FOLDER / "hosts.example.toml").read_text(encoding="utf-8")
PLAIN = """
[pool]
listen = "[::]:8765"
plain_callers = true
plain_hosts = true

[[host]]
name = "a"
address = "fd00::1"
places = 12

[[host]]
name = "b"
address = "192.0.2.2"
port = 9000
places = 4
"""


def accepted(configuration: str, folder: Path) -> None:
    """Let HAProxy read it; a warning is an error, too."""
    path = folder / "haproxy.cfg"
    path.write_text(configuration, encoding="utf-8")
    command = [program("haproxy"), "-c", "-dW", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def servers(configuration: str, backend: str) -> dict[str, str]:
    """The server lines of a backend, by name."""
    section = configuration.split(f"\nbackend {backend}\n")[1].split("\n\n")[0]
    return dict(re.findall(r"^    server (\S+) (.*)$", section, re.MULTILINE))


def problems(text: str) -> list[str]:
    with pytest.raises(render.WrongFile) as caught:
        render.read(text)
    return caught.value.problems


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def user_of(process: subprocess.Popen[bytes]) -> str:
    """The effective user id of a process, from /proc."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return str(re.findall(r"^Uid:\t\d+\t(\d+)", status, re.MULTILINE)[0])


def test_process_that_callers_reach_gives_up_root(tmp_path: Path) -> None:
    need_root()
    text = PLAIN.replace('"[::]:8765"', f'"127.0.0.1:{free_port()}"')
    private = f'statistics = "127.0.0.1:{free_port()}"\nsocket = "{tmp_path}/admin.sock"'
    text = text.replace("plain_hosts = true", f"plain_hosts = true\n{private}")
    path = tmp_path / "haproxy.cfg"
    lua = str(FOLDER / "waiting_room.lua")
    path.write_text(render.render(render.read(text), lua=lua), encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        command = [program("haproxy"), "-db", "-f", str(path)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or user_of(process) != "0", "not root")
        assert process.poll() is None, (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def test_haproxy_accepts_a_pool_without_encryption(tmp_path: Path) -> None:
    lua = str(FOLDER / "waiting_room.lua")
    accepted(render.render(render.read(PLAIN), lua=lua), tmp_path)


def test_haproxy_accepts_the_example(tmp_path: Path) -> None:
    pem = tmp_path / "pool.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=pool", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"),
        ],
        check=True,
        capture_output=True,
    )
    pem.write_text((tmp_path / "crt").read_text() + (tmp_path / "key").read_text())
    text = re.sub(r'"/etc/haproxy/[\w-]+\.pem"', f'"{pem}"', EXAMPLE)
    text = text.replace("voice-2.hospital.example", "localhost")  # HAProxy looks the address up
    lua = str(FOLDER / "waiting_room.lua")
    accepted(render.render(render.read(text), lua=lua), tmp_path)


def test_every_host_has_its_places_in_calls_and_serves_pages() -> None:
    configuration = render.render(render.read(EXAMPLE))
    calls, pages = servers(configuration, "calls"), servers(configuration, "pages")
    assert calls.keys() == pages.keys() == {"voice-1", "voice-2"}
    assert "10.0.0.11:8765 check maxconn 8 " in calls["voice-1"]
    assert "maxconn" not in pages["voice-1"]


def test_drained_host_takes_no_calls_and_still_serves_pages() -> None:
    configuration = render.render(render.read(EXAMPLE))
    assert "weight 0" in servers(configuration, "calls")["voice-2"]
    assert "weight 0" not in servers(configuration, "calls")["voice-1"]
    assert "weight" not in servers(configuration, "pages")["voice-2"]


def test_hosts_are_verified_by_name_in_both_backends() -> None:
    configuration = render.render(render.read(EXAMPLE))
    for backend in ("calls", "pages"):
        for name, line in servers(configuration, backend).items():
            assert "ssl verify required ca-file /etc/haproxy/hosts-ca.pem" in line
            assert f"verifyhost {name}.hospital.example" in line


def test_every_kind_of_call_needs_a_place() -> None:
    [paths] = re.findall(r"acl needs_place path (.*)", render.render(render.read(EXAMPLE)))
    calls = {path for path, kind in ENDPOINTS.items() if kind == "websocket"}
    assert set(paths.split()) == calls | {"/start"}


def test_callers_cannot_write_the_headers_that_hosts_trust() -> None:
    configuration = render.render(render.read(EXAMPLE))
    assert "http-request set-header X-Forwarded-For %[src]" in configuration
    assert "http-request set-header X-Forwarded-Proto https" in configuration
    assert "set-header X-Forwarded-Proto http\n" in render.render(render.read(PLAIN))


def test_log_has_neither_addresses_nor_queries() -> None:
    [form] = re.findall(r'log-format "(.*)"', render.render(render.read(EXAMPLE)))
    fields = set(re.findall(r"%(\w+)", form))
    assert not fields & {"ci", "cp", "r", "HU", "HQ", "hr", "hs", "CC", "CS"}
    assert "HPO" in fields


def check_times(configuration: str, backend: str) -> tuple[int, int]:
    """For how many milliseconds a host hangs until it is lost: the least and the most.

    The most is for a host that begins to hang right after a check.
    """
    section = configuration.split(f"\nbackend {backend}\n")[1].split("\n\n")[0]
    [words] = re.findall(r"default-server (.*)", section)
    found = re.match(r"inter (\d+)ms fastinter (\d+)ms fall (\d+) rise 1\b", words)
    assert found, words
    inter, fast, fall = map(int, found.groups())
    [connect] = map(int, re.findall(r"timeout connect (\d+)ms", configuration))
    [answer] = map(int, re.findall(r"timeout check (\d+)ms", configuration))
    # With TLS the handshake hangs, without it the answer does.
    assert answer == min(inter, connect)
    shortest = fall * answer + (fall - 1) * fast
    return shortest, inter + shortest


@pytest.mark.parametrize("backend", ["calls", "pages"])
@pytest.mark.parametrize("text", [PLAIN, EXAMPLE])
def test_starved_host_is_kept_for_two_seconds_and_a_hanging_one_is_lost_after_three(
    backend: str, text: str
) -> None:
    configuration = render.render(render.read(text))
    shortest, longest = check_times(configuration, backend)
    assert shortest >= 2_000
    assert longest <= 3_100
    # A caller whom TCP cut off earlier could be sent to the same host again.
    for line in servers(configuration, "calls").values():
        [unanswered] = map(int, re.findall(r"tcp-ut (\d+)ms", line))
        assert longest + 400 <= unanswered < 4_000


@pytest.mark.parametrize("between", [100, 250, 500, 1000, 2000, 10_000])
@pytest.mark.parametrize("lost", [1, 3, 10, 60])
def test_frequent_checks_do_not_take_a_starved_host_for_lost(between: int, lost: int) -> None:
    timeouts = f"[timeouts]\ncheck_milliseconds = {between}\nlost_seconds = {lost}\n"
    checked = render.read(timeouts + PLAIN)
    shortest, longest = check_times(render.render(checked), "calls")
    if render.failed_checks(checked.timeouts) > render.LEAST_FAILED_CHECKS:
        assert longest <= lost * 1000
    one_more = render.check_limit_milliseconds(checked.timeouts) + render.FAST_MILLISECONDS
    assert longest + one_more > lost * 1000  # the most that the time allows
    assert shortest >= 2 * min(between, render.CONNECT_MILLISECONDS)


def test_refusals_are_those_of_the_gateway() -> None:
    assert (render.FULL["reason"], render.FULL_RETRY_SECONDS) == (
        Full.reason,
        Full.retry_after_seconds,
    )
    assert (render.DOWN["reason"], render.DOWN_RETRY_SECONDS) == (
        NotReady.reason,
        NotReady.retry_after_seconds,
    )


def test_defaults_are_those_of_the_appliance() -> None:
    pool = render.read(PLAIN)
    assert pool.hosts[0].port == Settings().gateway.port
    assert pool.timeouts.call_seconds == Settings().gateway.session_seconds


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("places = 12", "places = 0", "line 10: host.places: has to be a number from 1 to 1000"),
        ("places = 12", "places = true", "line 10: host.places: has to be a number"),
        ("places = 4", "", "line 12: host.places is missing"),
        ("places = 4", "place = 4", "line 16: host.place: unknown; known are name, address,"),
        ('name = "b"', 'name = "a"', "line 13: host.name: two hosts have the name 'a'"),
        ('name = "b"', 'name = "b c"', "line 13: host.name: has to be letters, digits"),
        ('"192.0.2.2"', '"192.0.2.256"', "line 14: host.address: has to be the IP address"),
        ('"192.0.2.2"', '"b.example\\n    bind :1"', "line 14: host.address: has to be the IP"),
        (
            '"fd00::1"',
            '"fe80::1%eth0"',
            "line 9: host.address: has to be the IP address (without a",
        ),
        ('"fd00::1"', '"fe80::1%a\\n    server x 192.0.2.9"', "line 9: host.address: has to be"),
        ('"192.0.2.2"', '"0.0.0.0"', "line 14: host.address: has to be the IP address"),
        ('"192.0.2.2"', '"ff02::1"', "line 14: host.address: has to be the IP address"),
        ('"192.0.2.2"', '"0x7f.0x1"', "line 14: host.address: has to be the IP address"),
        ('"192.0.2.2"', '"voice-.example"', "line 14: host.address: has to be the IP address"),
        ('name = "b"', 'name = "A"', "line 13: host.name: two hosts have the name 'A': rename one"),
        ('"[::]:8765"', '"8765"', "line 3: pool.listen: has to be ADDRESS:PORT"),
        ('"[::]:8765"', '"0.0.0.0:99999"', "line 3: pool.listen: has to be ADDRESS:PORT"),
        (
            "plain_hosts = true",
            'plain_hosts = true\nstatistics = "0.0.0.0:8405"',
            "line 6: pool.statistics: has to be a private ADDRESS:PORT",
        ),
        ("plain_hosts = true", "", "line 2: pool.ca is missing"),
        ("plain_callers = true", "", "line 2: pool.certificate is missing"),
        ("plain_callers = true", 'certificate = "a b"', "line 4: pool.certificate: has to be"),
        ("[pool]", "[pools]", "line 2: unknown table [pools]"),
        ("[[host]]", "[[hosts]]", "line 7: unknown table [hosts]"),
        ("[pool]", "[pool", "at line 2"),
        ("port = 9000", "port = 8765\naddress = 1", "at line 16"),
        (
            "[[host]]",
            "[timeouts]\nqueue_seconds = 999\n[[host]]",
            "line 8: timeouts.queue_seconds: has to be a number from 1 to 60, not 999",
        ),
    ],
)
def test_wrong_entry_is_named_with_its_line(old: str, new: str, problem: str) -> None:
    changed = PLAIN.replace(old, new, 1)
    assert any(problem in line for line in problems(changed)), problems(changed)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("192.0.2.2", "192.0.2.2"),
        ("fd00::1", "fd00:0:0::1"),
        ("fd00::a", "FD00::A"),
        ("192.0.2.2", "::ffff:192.0.2.2"),
        ("voice-1.example", "VOICE-1.example"),
    ],
)
def test_one_host_is_not_listed_twice_in_different_spellings(one: str, two: str) -> None:
    text = PLAIN.replace("fd00::1", one).replace('"192.0.2.2"', f'"{two}"')
    again = f"{two} with port 8765 is that of 'a': remove one of the two hosts"
    assert problems(text.replace("port = 9000\n", "")) == [f"line 14: host.address: {again}"]
    assert len(render.read(text).hosts) == 2  # with ports of their own they are two gateways


@pytest.mark.parametrize(
    ("listen", "statistics"),
    [
        ("127.0.0.1:8405", "127.0.0.1:8405"),
        ("[fd00::1]:8500", "[fd00:0::1]:8500"),
        ("0.0.0.0:8500", "10.0.0.5:8500"),
        ("[::]:8500", "[::1]:8500"),
        ("[::]:8500", "127.0.0.1:8500"),
    ],
)
def test_callers_do_not_get_the_statistics(listen: str, statistics: str) -> None:
    def text(private: str) -> str:
        changed = PLAIN.replace("[::]:8765", listen)
        return changed.replace(
            "plain_hosts = true", f'plain_hosts = true\nstatistics = "{private}"'
        )

    [problem] = problems(text(statistics))
    assert problem.startswith(f"line 6: pool.listen {listen} takes the address and port of")
    assert problem.endswith("choose another port for one of them")
    other = text("127.0.0.2:8600")
    assert render.read(other).pool.listen == listen


def test_port_of_the_statistics_is_taken_though_it_is_not_in_the_file() -> None:
    [problem] = problems(PLAIN.replace("[::]:8765", "0.0.0.0:8405"))
    assert problem.startswith("line 3: pool.listen 0.0.0.0:8405 takes")


def test_ip_address_needs_a_name_to_verify() -> None:
    text = PLAIN.replace("plain_hosts = true", 'ca = "/etc/ca.pem"')
    assert [line for line in problems(text) if "line 8: host.tls_name is missing" in line]


def test_all_problems_are_reported_at_once() -> None:
    text = PLAIN.replace("places = 12", "places = 0").replace("port = 9000", "port = 0")
    assert len(problems(text)) == 2


def test_program_prints_the_configuration_or_the_problems(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    command = [sys.executable, str(FOLDER / "render.py"), str(path)]
    path.write_text(PLAIN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "server a [fd00::1]:8765" in done.stdout
    path.write_text(PLAIN.replace("places = 4", "places = -1"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: line 16: host.places")


def test_scripts_work_from_the_folder_of_a_release(tmp_path: Path) -> None:
    """A release has these files alone; ops/documents.sh names them."""
    listed = re.search(r"/ops/pool/\{([^}]+)\}", (FOLDER.parent / "documents.sh").read_text())
    assert listed
    for name in listed[1].split(","):
        shutil.copy(FOLDER / name, tmp_path)
    for command in (
        ["render.py", "hosts.example.toml"],
        ["scale.py", "--callers", "100"],
    ):
        done = subprocess.run(
            [sys.executable, "-I", *command], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0 and done.stdout, done.stderr
