"""Why a container ended, from its exit code and its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import errors
from appliance.console.exit_reason import (
    EXIT_CODES,
    OUT_OF_MEMORY,
    UNKNOWN,
    ExitReason,
    find_exit_reason,
    render_exit_json,
    render_exit_plain,
    render_exit_screen,
)
from appliance.console.logs import LogLine, parse_line
from appliance.errors import ApplianceError
from tests.console import log_lines

ROOT = Path(__file__).parents[2]
CODES = sorted(
    {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ApplianceError)
    }
    - {ApplianceError.exit_code}
)


def error(exit_code: int, what: str) -> LogLine:
    fields = {"reason": "bad_setting", "what": what, "advice": "List the settings."}
    text = log_lines.event(1, "stopped by an error", exit_code=exit_code, **fields)
    return parse_line(text)


@pytest.mark.parametrize("code", CODES)
def test_exit_code_of_the_catalogue_has_a_meaning_here_and_in_the_guide(code: int) -> None:
    assert code in EXIT_CODES
    assert f"\n| {code} | " in (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def test_last_error_with_the_exit_code_is_the_reason() -> None:
    lines = [error(78, "The first."), error(78, "The last."), error(70, "A process.")]
    assert find_exit_reason([*log_lines.LINES, *lines], 78) == ExitReason(
        78, EXIT_CODES[78], "bad_setting", "The last.", "List the settings."
    )


def test_unknown_exit_code_is_taken_from_the_last_error() -> None:
    assert find_exit_reason([error(78, "A setting."), error(80, "A loop.")]).exit_code == 80


def test_log_without_an_error_leaves_the_meaning_of_the_exit_code() -> None:
    assert find_exit_reason(log_lines.LINES, 84) == ExitReason(84, EXIT_CODES[84])
    assert find_exit_reason([], 99) == ExitReason(99, UNKNOWN)
    assert find_exit_reason([]) == ExitReason(None, UNKNOWN)


def test_out_of_memory_is_not_explained_by_another_exit() -> None:
    end = find_exit_reason([error(70, "A process crashed.")], 137, out_of_memory=True)
    assert end == ExitReason(137, OUT_OF_MEMORY)


def test_screen_has_code_reason_and_advice_within_80_columns() -> None:
    end = find_exit_reason([error(78, "The setting gateway.port is not usable. " * 4)], 78)
    text = render_exit_screen(end)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("      Exit: code 78: a setting or the installation must be corrected\n")
    assert "    Reason: The setting gateway.port" in text
    assert text.endswith("\n    Advice: List the settings.")
    assert render_exit_screen(find_exit_reason([])) == f"      Exit: unknown: {UNKNOWN}"


def test_plain_is_one_line_and_cannot_control_the_terminal() -> None:
    assert render_exit_plain(find_exit_reason([error(78, "No\nport\x1b[2J.")])) == (
        "exit code 78: No port?[2J"
    )
    assert render_exit_plain(find_exit_reason([], 84)) == "exit code 84: the GPU is lost"


def test_json_has_null_for_what_the_log_lacks() -> None:
    tree = json.loads(render_exit_json(find_exit_reason([], 0)))
    assert tree == {
        "exit_code": 0,
        "meaning": "stopped as requested",
        "reason": None,
        "what": None,
        "advice": None,
    }
