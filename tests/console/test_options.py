"""What may be written on the command line."""

from __future__ import annotations

import argparse

import pytest

from appliance.console import commands


def parsed(verb: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    getattr(commands, f"{verb}_options")(parser)
    return parser.parse_args(arguments)


def test_without_options_it_is_one_screen_in_colour_on_a_terminal() -> None:
    asked = parsed("status")
    assert (asked.json, asked.plain, asked.colour, asked.lines) == (False, False, "auto", 0)


def test_colour_may_be_spelled_in_two_ways() -> None:
    assert parsed("logs", "--color", "always").colour == "always"
    assert parsed("trace", "--colour=never").colour == "never"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("status", ["--json", "--plain"]),
        ("status", ["--colour", "pink"]),
        ("logs", ["--unit", "nginx"]),
        ("drain", ["--wait", "soon"]),
        ("drain", ["--wait", "3", "--undo"]),
        ("bundle", ["--all"]),
    ],
)
def test_what_makes_no_sense_is_refused(verb: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(verb, *arguments)


def test_help_says_what_the_exit_codes_mean() -> None:
    for verb in ("status", "trace", "drain"):
        parser = argparse.ArgumentParser()
        getattr(commands, f"{verb}_options")(parser)
        assert "Exit code" in parser.format_help()
