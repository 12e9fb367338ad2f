"""The process table, and the shell scripts that spell its names out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance import processes
from appliance.commands import COMMANDS
from appliance.processes import BOOT, ENGINES, GUARD, METRIC_SOURCES, NAMES, PROCESSES, PROGRAMS
from appliance.settings import Settings

OPS = Path(__file__).parents[1] / "ops"
RESTARTABLE = [process.name for process in PROCESSES if process.restarted_by == "guard"]


def test_every_process_has_its_own_name_priority_and_verb() -> None:
    assert len(set(NAMES)) == len(PROCESSES)
    priorities = [process.priority for process in PROCESSES if process.priority]
    assert len(set(priorities)) == len(priorities)
    assert set(NAMES) <= set(COMMANDS)


def test_supervisord_runs_every_process_but_boot() -> None:
    assert set(PROGRAMS) == set(NAMES) - {BOOT}
    assert PROGRAMS == ("guard", "exporter", "tts", "llm", "gateway")  # the start order


def test_each_overseer_is_watched_by_another() -> None:
    by_name = {process.name: process.restarted_by for process in PROCESSES}
    assert (by_name[BOOT], by_name[GUARD]) == ("host", "boot")
    assert set(RESTARTABLE) == set(NAMES) - {BOOT, GUARD}


def test_engines_answer_over_sockets_and_report_metrics() -> None:
    assert ENGINES == ("llm", "tts")
    assert set(ENGINES) < set(METRIC_SOURCES)
    assert METRIC_SOURCES == ("gateway", "llm", "tts")


def test_socket_path_is_in_the_run_folder() -> None:
    assert processes.socket_path(Path("/run/voice"), "llm") == Path("/run/voice/llm.sock")


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
def test_memory_settings_exist(process: processes.ProcessSpec) -> None:
    if process.memory_setting:
        assert getattr(Settings().supervision, process.memory_setting) >= 0


# The shell scripts.


def test_voicectl_restarts_the_processes_of_the_table() -> None:
    text = (OPS / "voicectl-host.sh").read_text(encoding="utf-8")
    units = re.search(r"^readonly UNITS=\((.*)\)$", text, re.MULTILINE)
    assert units and units[1].split() == RESTARTABLE


def test_voicectl_completes_the_names_of_the_table() -> None:
    text = (OPS / "voicectl.completion.bash").read_text(encoding="utf-8")
    words = re.findall(r"words='(gateway [a-z ]+?)(?: --no-block)?'", text)
    assert len(words) == 3
    for names in words:
        assert names.split() in (list(NAMES), RESTARTABLE)


def test_voicectl_help_names_the_processes_it_restarts() -> None:
    text = (OPS / "voicectl").read_text(encoding="utf-8")
    paragraph = re.search(r"^#   start \| restart.*?(?=^#   stop)", text, re.MULTILINE | re.DOTALL)
    assert paragraph
    assert set(RESTARTABLE) <= set(re.findall(r"\w+", paragraph[0]))
