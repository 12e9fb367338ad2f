"""What an operator sees of the appliance in each of its states."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from appliance.confinement.confine import GAPS
from appliance.console import status
from appliance.console.status import WEAK_TOKENS, render_json, render_plain, render_screen
from appliance.console.terminal import WIDTH, Paint
from appliance.gateway.metrics import WEAKNESSES
from tests.console import facts as samples

PLAIN = Paint(False)


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("name", samples.ALL)
def test_screen_fits_80_columns_and_colour_changes_no_letter(name: str) -> None:
    facts = samples.ALL[name]()
    text = render_screen(facts, PLAIN)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert without_colour(render_screen(facts, Paint(True))) == text
    assert "\x1b" not in text


def test_screen_of_a_running_appliance() -> None:
    text = render_screen(samples.running(), PLAIN)
    assert text.startswith("● voice-appliance 0.1.0 (cpu) - lock 3f2a9c1b7d04\n")
    assert "State: running since Tue 2026-11-24 17:06:00 UTC; 2h 14min ago" in text
    assert "Seal: intact; fully verified 2h 14min ago (812.0 MB in 3.1 s)" in text
    assert "Calls: 2 of 4 now; 17 ended, 3 refused" in text
    assert "Turns: 132, 2 failed; voice to voice p50 1.69 s, p95 2.89 s" in text
    assert "GPU: none" in text
    assert re.search(r"● gateway +running +2h 14min ago +44 +312\.5 MB +0", text)


def test_screen_of_a_stopped_appliance_has_nothing_else() -> None:
    assert render_screen(samples.stopped(), PLAIN).splitlines()[1:] == [
        "     State: stopped",
        "            no boot process is running",
    ]


def test_screen_of_a_broken_appliance_has_reason_advice_and_exit_code() -> None:
    text = render_screen(samples.broken(), PLAIN)
    assert text.startswith("× ")
    assert "broken since Tue 2026-11-24 19:16:55 UTC; 3min 5s ago" in text
    unwrapped = " ".join(text.split())
    assert samples.BROKEN_SEAL["what"].strip() in unwrapped
    assert f"Advice: {samples.BROKEN_SEAL['advice']}" in unwrapped
    assert "Exit: code 79" in unwrapped


def test_screen_of_a_start_names_what_is_awaited() -> None:
    text = render_screen(samples.starting(), PLAIN)
    assert "waiting for llm and tts" in text
    assert re.search(r"● tts +not ready", text)
    assert "Turns: 0; no spoken answer yet" in text
    assert "verifying the sealed model files" in render_screen(samples.verifying(), PLAIN)


def test_seal_over_the_code_is_shown_where_there_is_one() -> None:
    assert "code, too" not in render_screen(samples.running(), PLAIN)
    facts = samples.running(seal={**samples.SEAL, "code": {"sha256": "c0de"}})
    assert "; code, too" in " ".join(render_screen(facts, PLAIN).split())
    assert json.loads(render_json(facts))["seal"]["code_sha256"] == "c0de"


def test_weak_tokens_are_one_line_that_is_only_there_if_there_are_some() -> None:
    assert "Tokens:" not in render_screen(samples.running(), PLAIN)
    facts = samples.running(metrics={"weak_tokens": ("short_token", "readable_store")})
    shown = "    Tokens: WEAK: the shared token is short; all users can read the store"
    assert shown in render_screen(facts, PLAIN).splitlines()
    assert json.loads(render_json(facts))["tokens"]["weak"] == ["short_token", "readable_store"]


def test_every_weakness_of_the_gateway_has_words() -> None:
    assert set(WEAK_TOKENS) == set(WEAKNESSES)


def test_what_the_kernel_leaves_open_is_one_line_that_is_only_there_on_such_a_kernel() -> None:
    assert "NOT CONFINED" not in render_screen(samples.running(), PLAIN)
    facts = samples.running(metrics={"gaps": ("connections",)})
    shown = "   Gateway: NOT CONFINED: TCP connections (needs Linux 6.7)"
    assert shown in render_screen(facts, PLAIN).splitlines()
    assert json.loads(render_json(facts))["confinement"] == {"gaps": ["connections"]}
    facts = samples.running(metrics={"gaps": GAPS})
    assert max(len(line) for line in render_screen(facts, PLAIN).splitlines()) <= WIDTH


def test_every_gap_has_words() -> None:
    assert set(status.GAPS) == set(GAPS)


def test_process_that_is_down_is_marked() -> None:
    text = render_screen(samples.without_tts(), PLAIN)
    assert re.search(r"× tts +backoff +- +- +- +4", text)
    assert "Guard: restart process tts (memory) 12min 24s ago; 3 in total" in text


def test_silent_guard_is_reported() -> None:
    guard = {**samples.GUARD, "unix_time": samples.NOW - 90}
    assert "Guard: unresponsive for 1min 30s" in render_screen(samples.running(guard=guard), PLAIN)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [(2, "2 calls in progress"), (1, "1 call in progress"), (0, "no calls in progress")],
)
def test_draining_screen_counts_the_calls_in_progress(calls: int, expected: str) -> None:
    facts = samples.draining()
    assert facts.metrics is not None
    facts = replace(facts, metrics=replace(facts.metrics, calls_now=calls))
    text = render_screen(facts, PLAIN)
    assert f"new calls are refused; {expected}\n" in text
    assert re.search(r"● gateway +draining", text)


def test_gpu_is_described_on_one_line() -> None:
    text = render_screen(samples.with_gpu(), PLAIN)
    assert "GPU: 0: NVIDIA L4, 83% busy, 19.2 of 24.1 GB, 61 °C, 54 W\n" in text
    with_error = replace(samples.GPU, last_xid=79.0, power_watts=None)
    facts = samples.running(metrics={"gpu_up": True, "gpus": (with_error,)})
    assert "61 °C, last Xid 79" in render_screen(facts, PLAIN)


def test_silent_source_is_named() -> None:
    text = render_screen(samples.running(metrics=None, silent=["exporter"]), PLAIN)
    assert "Silent: no answer from exporter" in text
    assert "Turns: unknown" in text


def test_log_lines_are_shown_below() -> None:
    text = render_screen(samples.running(), PLAIN, ["Nov 24 19:20:00.000 gateway   turn"])
    assert text.endswith("\n\nNov 24 19:20:00.000 gateway   turn")


def test_text_of_a_state_file_cannot_control_the_terminal() -> None:
    reason = {**samples.BROKEN_SEAL, "what": "\x1b[2Jgone"}
    assert "\x1b" not in render_screen(replace(samples.broken(), reason=reason), PLAIN)


def test_plain_has_a_line_for_each_process() -> None:
    assert render_plain(samples.running()).splitlines()[:2] == [
        "run: appliance: (pid 1) 8040s; running, ready for calls",
        "run: exporter: (pid 41) 8090s",
    ]
    assert "down: tts: backoff" in render_plain(samples.without_tts()).splitlines()
    assert render_plain(samples.stopped()) == "down: appliance: stopped"


@pytest.mark.parametrize("name", samples.ALL)
def test_json_agrees_with_the_state_and_lists_all_processes(name: str) -> None:
    facts = samples.ALL[name]()
    tree = json.loads(render_json(facts))
    assert tree["takes_calls"] == (tree["exit_code"] == 0)
    names = [process.name for process in facts.processes or ()]
    assert [entry["name"] for entry in tree["processes"]] == names


def test_json_has_base_units_and_times_of_rfc_3339() -> None:
    tree = json.loads(render_json(samples.with_gpu()))
    assert tree["state"] == "running"
    assert tree["since"] == "2026-11-24T17:06:00Z"
    assert tree["turns"]["response_seconds"] == {"p50": 1.694, "p95": 2.887}
    assert tree["gpu"]["cards"][0]["temperature_celsius"] == 61
    assert tree["processes"][0]["memory_bytes"] == 312_500_000


@pytest.mark.parametrize(
    ("tls", "days", "shown"),
    [
        ("plain", 0, "TLS: OFF: calls can be read on the network (gateway.plain_network)"),
        ("off", 0, "TLS: off; only this host can connect"),
        ("on", 90.5, "(90 days)"),
        ("on", -2, "TLS: on; THE CERTIFICATE EXPIRED 2"),
    ],
)
def test_encryption_of_calls_is_shown(tls: str, days: float, shown: str) -> None:
    at = samples.running().now
    made = samples.running(tls=tls, metrics={"tls_expiry": at + days * 86_400 if days else 0.0})
    assert shown in render_screen(made, PLAIN)
    tree = json.loads(render_json(made))["tls"]
    assert tree["state"] == tls
    assert (tree["expires"] is None) == (days == 0)


def test_key_that_all_users_can_read_is_shown() -> None:
    expiry = samples.running().now + 90 * 86_400
    made = samples.running(tls="on", metrics={"tls_expiry": expiry, "tls_key_exposed": True})
    assert "TLS: on; WEAK: all users can read the key" in render_screen(made, PLAIN)
    assert json.loads(render_json(made))["tls"]["key_exposed"] is True
