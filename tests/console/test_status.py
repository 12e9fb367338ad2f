"""What an operator sees of an appliance in each of its states."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from appliance.console.status import as_json, plain, screen
from appliance.console.terminal import WIDTH, Paint
from tests.console import composed

UNPAINTED = Paint(False)


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("name", composed.ALL)
def test_it_fits_a_terminal_of_80_columns_and_colour_changes_no_letter(name: str) -> None:
    facts = composed.ALL[name]()
    text = screen(facts, UNPAINTED)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert without_colour(screen(facts, Paint(True))) == text
    assert "\x1b" not in text


def test_a_running_appliance_says_all_that_matters() -> None:
    text = screen(composed.facts(), UNPAINTED)
    assert text.startswith("● voice-appliance 0.1.0 (cpu) - lock 3f2a9c1b7d04\n")
    assert "State: running since Tue 2026-11-24 17:06:00 UTC; 2h 14min ago" in text
    assert "Seal: intact; every byte read 2h 14min ago (812.0 MB in 3.1 s)" in text
    assert "Calls: 2 of 4 now; 17 ended, 3 refused" in text
    assert "Turns: 132, 2 failed; voice to voice p50 1.69 s, p95 2.89 s" in text
    assert "GPU: no card" in text
    assert re.search(r"● gateway +running +2h 14min ago +44 +312\.5 MB +0", text)


def test_a_stopped_appliance_is_said_to_be_and_nothing_else() -> None:
    assert screen(composed.stopped(), UNPAINTED).splitlines()[1:] == [
        "     State: stopped",
        "            no boot runs here",
    ]


def test_a_broken_appliance_says_why_and_what_to_do() -> None:
    text = screen(composed.broken(), UNPAINTED)
    assert text.startswith("× ")
    assert "broken since Tue 2026-11-24 19:16:55 UTC; 3min 5s ago" in text
    told = " ".join(text.split())
    assert composed.BROKEN["what"].strip() in told
    assert f"Advice: {composed.BROKEN['advice']}" in told
    assert "Exit: code 79" in told


def test_a_start_says_what_is_waited_for() -> None:
    text = screen(composed.starting(), UNPAINTED)
    assert "waiting for llm and tts" in text
    assert re.search(r"● tts +not ready", text)
    assert "Turns: 0, none answered aloud yet" in text
    assert "reading the sealed model files" in screen(composed.sealing(), UNPAINTED)


def test_a_process_that_is_down_stands_out() -> None:
    text = screen(composed.without_tts(), UNPAINTED)
    assert re.search(r"× tts +backoff +- +- +- +4", text)
    assert "Guard: restart process tts (memory) 12min 24s ago; 3 so far" in text


def test_a_guard_that_has_fallen_silent_is_noticed() -> None:
    guard = {**composed.GUARD, "unix_time": composed.NOW - 90}
    assert "Guard: silent for 1min 30s" in screen(composed.facts(guard=guard), UNPAINTED)


def test_a_drain_says_how_many_calls_go_on() -> None:
    assert "new calls are refused, 2 calls go on" in screen(composed.draining(), UNPAINTED)
    assert re.search(r"● gateway +draining", screen(composed.draining(), UNPAINTED))
    one = composed.draining()
    assert one.figures is not None
    one = replace(one, figures=replace(one.figures, calls_now=1))
    assert "1 call goes on" in screen(one, UNPAINTED)


def test_a_card_is_told_in_one_line() -> None:
    text = screen(composed.on_a_card(), UNPAINTED)
    assert "GPU: 0: NVIDIA L4, 83% busy, 19.2 of 24.1 GB, 61 °C, 54 W\n" in text
    xid = replace(composed.CARD, last_xid=79.0, power_watts=None)
    ill = composed.facts(figures={"gpu_up": True, "cards": (xid,)})
    assert "61 °C, last Xid 79" in screen(ill, UNPAINTED)


def test_a_source_that_does_not_answer_is_named() -> None:
    text = screen(composed.facts(figures=None, silent=["exporter"]), UNPAINTED)
    assert "Silent: no answer from exporter" in text
    assert "Turns: not known" in text


def test_lines_of_the_log_stand_below() -> None:
    text = screen(composed.facts(), UNPAINTED, ["Nov 24 19:20:00.000 gateway   turn"])
    assert text.endswith("\n\nNov 24 19:20:00.000 gateway   turn")


def test_what_a_file_says_cannot_paint_the_terminal() -> None:
    facts = replace(composed.broken(), reason={**composed.BROKEN, "what": "\x1b[2Jgone"})
    assert "\x1b" not in screen(facts, UNPAINTED)


def test_plain_has_a_line_for_each_process() -> None:
    assert plain(composed.facts()).splitlines()[:2] == [
        "run: appliance: (pid 1) 8040s; running, ready for calls",
        "run: exporter: (pid 41) 8090s",
    ]
    assert "down: tts: backoff" in plain(composed.without_tts()).splitlines()
    assert plain(composed.stopped()) == "down: appliance: stopped"


@pytest.mark.parametrize("name", composed.ALL)
def test_a_program_can_read_it(name: str) -> None:
    facts = composed.ALL[name]()
    told = json.loads(as_json(facts))
    assert told["takes_calls"] == (told["exit_code"] == 0)
    assert [it["name"] for it in told["processes"]] == [it.name for it in facts.programs or ()]


def test_json_has_numbers_in_base_units_and_times_of_rfc_3339() -> None:
    told = json.loads(as_json(composed.on_a_card()))
    assert told["state"] == "running"
    assert told["since"] == "2026-11-24T17:06:00Z"
    assert told["turns"]["response_seconds"] == {"p50": 1.694, "p95": 2.887}
    assert told["gpu"]["cards"][0]["temperature_celsius"] == 61
    assert told["processes"][0]["memory_bytes"] == 312_500_000
