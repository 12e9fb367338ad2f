"""supervisord.conf, read by supervisord's own parser, matches the process table."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from supervisor.events import getEventNameByType  # type: ignore[import-untyped]
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from appliance.commands import COMMANDS
from appliance.processes import ENGINES, GATEWAY, GUARD, PROCESSES, PROGRAMS
from appliance.settings import Settings
from appliance.supervision import boot
from appliance.supervision.supervisor_client import SOCKET

ROOT = Path(__file__).parents[2]
START_SECONDS = Settings().supervision.start_seconds


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    environ = boot.environment({}, Settings(), tmp_path)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.realize(["-c", str(boot.CONF)])
    return options


@pytest.fixture
def programs(options: Any) -> dict[str, Any]:
    groups = options.process_group_configs
    return {program.name: program for group in groups for program in group.process_configs}


def test_programs_are_those_of_the_process_table(programs: dict[str, Any]) -> None:
    assert set(programs) == set(PROGRAMS) <= set(COMMANDS)
    for process in PROCESSES:
        if process.name in PROGRAMS:
            program = programs[process.name]
            assert shlex.split(program.command) == list(process.command)
            assert program.priority == process.priority


def test_supervisord_has_no_warnings(options: Any) -> None:
    assert options.parse_warnings == []


def test_supervisord_writes_neither_to_stdout_nor_to_log_files(options: Any) -> None:
    assert options.nodaemon and options.silent
    assert options.logfile == "/dev/null"
    assert options.logfile_maxbytes == 0


def test_each_program_sets_all_four_log_keys(programs: dict[str, Any]) -> None:
    written = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    written.read(boot.CONF)
    for name, program in programs.items():
        section = "eventlistener:guard" if name == GUARD else f"program:{name}"
        for stream in ("stdout", "stderr"):
            # A listener's stdout carries supervisord's protocol, not log lines.
            is_protocol = name == GUARD and stream == "stdout"
            assert getattr(program, f"{stream}_logfile") == (None if is_protocol else "/dev/fd/1")
            assert getattr(program, f"{stream}_logfile_maxbytes") == 0
            assert written.has_option(section, f"{stream}_logfile")
            assert written.has_option(section, f"{stream}_logfile_maxbytes")


def test_guard_receives_every_state_change_and_ticks(options: Any) -> None:
    (pool,) = [group for group in options.process_group_configs if group.name == GUARD]
    events = {getEventNameByType(event) for event in pool.pool_events}
    # PROCESS_STATE covers EXITED and FATAL; a program rarely goes through both.
    assert events == {"PROCESS_STATE", "SUPERVISOR_STATE_CHANGE", "TICK_5"}
    assert pool.buffer_size >= 100
    assert not pool.process_configs[0].redirect_stderr


def test_pid_file_socket_and_child_logs_are_in_the_run_folder(options: Any, tmp_path: Path) -> None:
    assert Path(options.pidfile).parent == tmp_path
    assert Path(options.childlogdir) == tmp_path
    assert options.serverurl == f"unix://{tmp_path / SOCKET}"
    server = options.configroot.supervisord.server_configs[0]
    assert server["chmod"] == 0o700
    assert "port" not in server  # no TCP listener


def test_supervisord_does_not_switch_to_another_user(
    options: Any, programs: dict[str, Any]
) -> None:
    assert options.user is None
    assert all(program.uid is None for program in programs.values())


def test_program_that_dies_while_loading_counts_as_not_started(programs: dict[str, Any]) -> None:
    for name in (GATEWAY, *ENGINES):
        assert programs[name].startsecs == START_SECONDS
        assert programs[name].startretries == Settings().supervision.start_attempts
    assert programs["exporter"].startsecs > 1
    assert programs[GUARD].startsecs > 1


def test_every_program_is_restarted_and_stops_with_its_children(programs: dict[str, Any]) -> None:
    for program in programs.values():
        assert program.autorestart.__name__ == "RestartUnconditionally"
        assert program.stopasgroup and program.killasgroup


def test_gateway_stops_first_and_guard_last(programs: dict[str, Any]) -> None:
    priority = {name: program.priority for name, program in programs.items()}
    # Callers hear a goodbye while the engines still run.
    assert priority[GATEWAY] == max(priority.values())
    # Metrics are served and processes guarded to the end.
    assert priority[GUARD] < priority["exporter"] < min(priority[name] for name in ENGINES)
    assert len(set(priority.values())) == len(priority)


def test_boot_waits_longer_than_the_sum_of_all_stop_times(programs: dict[str, Any]) -> None:
    assert programs["gateway"].stopwaitsecs > Settings().gateway.drain_seconds
    total = sum(program.stopwaitsecs for program in programs.values())
    assert boot.stop_seconds(Settings()) > total


def test_host_waits_longer_than_a_clean_stop_takes() -> None:
    flags = (ROOT / "ops" / "container.flags").read_text()
    timeout = re.search(r"^--stop-timeout=(\d+)$", flags, re.MULTILINE)
    assert timeout and int(timeout[1]) > boot.stop_seconds(Settings())
