"""supervisord.conf, read by supervisord's own parser, keeps the rules that were measured."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
from supervisor.events import getEventNameByType  # type: ignore[import-untyped]
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from appliance.__main__ import VERBS
from appliance.settings import Settings
from appliance.supervision import boot
from appliance.supervision.supervisor_client import GUARD, PROGRAMS, SOCKET

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


def test_it_runs_every_process_by_its_verb(programs: dict[str, Any]) -> None:
    assert set(programs) == set(PROGRAMS) <= set(VERBS)
    for name, program in programs.items():
        assert program.command.endswith(f" -m appliance {name}")


def test_supervisord_finds_nothing_to_warn_about(options: Any) -> None:
    assert options.parse_warnings == []


def test_only_json_reaches_stdout_and_nothing_is_written_to_log_files(options: Any) -> None:
    assert options.nodaemon and options.silent
    assert options.logfile == "/dev/null"
    assert options.logfile_maxbytes == 0


def test_each_program_has_all_four_log_keys(programs: dict[str, Any]) -> None:
    written = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    written.read(boot.CONF)
    for name, program in programs.items():
        section = "eventlistener:guard" if name == GUARD else f"program:{name}"
        for stream in ("stdout", "stderr"):
            # What a listener writes on stdout is supervisord's protocol, and no line of the log.
            nowhere = name == GUARD and stream == "stdout"
            assert getattr(program, f"{stream}_logfile") == (None if nowhere else "/dev/fd/1")
            assert getattr(program, f"{stream}_logfile_maxbytes") == 0
            assert written.has_option(section, f"{stream}_logfile")
            assert written.has_option(section, f"{stream}_logfile_maxbytes")


def test_the_guard_hears_of_every_end_and_of_the_time(options: Any) -> None:
    pools = [it for it in options.process_group_configs if it.name == GUARD]
    heard = {getEventNameByType(event) for event in pools[0].pool_events}
    # EXITED and FATAL are both of PROCESS_STATE: a program shows one or the other, hardly both.
    assert heard == {"PROCESS_STATE", "SUPERVISOR_STATE_CHANGE", "TICK_5"}
    assert pools[0].buffer_size >= 100
    assert not pools[0].process_configs[0].redirect_stderr


def test_pid_file_sockets_and_child_logs_stay_in_the_run_folder(
    options: Any, tmp_path: Path
) -> None:
    assert Path(options.pidfile).parent == tmp_path
    assert Path(options.childlogdir) == tmp_path
    assert options.serverurl == f"unix://{tmp_path / SOCKET}"
    server = options.configroot.supervisord.server_configs[0]
    assert server["chmod"] == 0o700
    assert "port" not in server  # No TCP listener.


def test_no_other_user_is_switched_to(options: Any, programs: dict[str, Any]) -> None:
    assert options.user is None
    assert all(program.uid is None for program in programs.values())


def test_a_program_that_dies_while_loading_counts_as_not_started(programs: dict[str, Any]) -> None:
    for name in ("gateway", "llm", "tts"):
        assert programs[name].startsecs == START_SECONDS
        assert programs[name].startretries == Settings().supervision.start_attempts
    assert programs["exporter"].startsecs > 1
    assert programs[GUARD].startsecs > 1


def test_whatever_dies_is_restarted_and_stops_with_all_its_children(
    programs: dict[str, Any],
) -> None:
    for program in programs.values():
        assert program.autorestart.__name__ == "RestartUnconditionally"
        assert program.stopasgroup and program.killasgroup


def test_callers_hear_goodbye_before_the_engines_stop(programs: dict[str, Any]) -> None:
    priority = {name: program.priority for name, program in programs.items()}
    assert priority["gateway"] == max(priority.values())
    engines = priority["tts"], priority["llm"]
    assert priority[GUARD] < priority["exporter"] < min(engines)  # seen to the last
    assert len(set(priority.values())) == len(priority)


def test_boot_waits_longer_than_all_stop_times_together(programs: dict[str, Any]) -> None:
    assert programs["gateway"].stopwaitsecs > Settings().gateway.drain_seconds
    together = sum(program.stopwaitsecs for program in programs.values())
    assert boot.stop_seconds(Settings()) > together


def test_the_host_waits_longer_than_an_orderly_stop_takes() -> None:
    flags = (ROOT / "ops" / "container.flags").read_text()
    given = re.search(r"^--stop-timeout=(\d+)$", flags, re.MULTILINE)
    assert given and int(given[1]) > boot.stop_seconds(Settings())
