"""The command line options of `smoke-test`."""

from __future__ import annotations

import ast
from argparse import ArgumentParser
from pathlib import Path

import pytest

from appliance.acceptance import (
    container,
    conversation,
    egress,
    interruption,
    metrics,
    options,
    overload,
    ready,
    recovery,
    seal,
)
from appliance.acceptance.options import CHECKS, AcceptanceOptions, add_options, parse


def parse_words(*words: str) -> AcceptanceOptions:
    parser = ArgumentParser()
    add_options(parser)
    return parse(parser.parse_args(words))


def test_defaults_are_those_of_the_options_class() -> None:
    assert parse_words() == AcceptanceOptions()


def test_options_are_parsed() -> None:
    parsed = parse_words("--skip=seal,egress", "--limit=recovery=5", "--limit", "agreement=0.5")
    assert parsed.skip == {"seal", "egress"}
    assert parsed.limits == {"recovery": 5.0, "agreement": 0.5}


def test_url_without_a_path_gets_the_gateway_path() -> None:
    assert parse_words("--url=wss://voice.example").url == "wss://voice.example/ws"
    assert parse_words("--url=ws://[::1]:77/other").url == "ws://[::1]:77/other"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--skip=sela", "invalid choice: 'sela' (choose from ready, seal,"),
        ("--limit=speed=1", "invalid choice: 'speed' (choose from voice_to_voice_p50,"),
        ("--limit=recovery", "'' is not a number"),
        ("--limit=recovery=fast", "'fast' is not a number"),
        ("--limit=recovery=nan", "'nan' is not a number"),
        ("--wait=-1", "'-1' is not a number that is 0 or more"),
        ("--turns=0", "'0' is not a whole number that is 1 or more"),
        ("--interruptions=two", "'two' is not a whole number"),
        ("--url=http://x/", "'http://x/' is not a URL like wss://HOST:PORT/ws"),
        ("--url=ws://", "'ws://' is not a URL"),
        ("--url=ws://x:port/", "'ws://x:port/' is not a URL"),
    ],
)
def test_invalid_value_is_refused_with_the_choices_or_limits(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_words(argument)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_every_check_can_be_skipped_by_name() -> None:
    modules = (
        ready,
        seal,
        container,
        conversation,
        interruption,
        overload,
        metrics,
        recovery,
        egress,
    )
    assert [module.CHECK for module in modules] == list(CHECKS)


def test_options_import_only_the_standard_library() -> None:
    tree = ast.parse(Path(options.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert names == {
        "__future__",
        "argparse",
        "collections.abc",
        "dataclasses",
        "math",
        "urllib.parse",
    }
