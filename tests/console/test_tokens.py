"""`python -m appliance token` as an operator types it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.access import file
from appliance.access.token import Limits, read_text
from appliance.console.tokens import expiry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def token(path: Path | None, *arguments: str) -> tuple[int, str, str]:
    """Run the command. Return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "token", *arguments],
        env={**os.environ, "VOICE_GATEWAY_TOKEN_STORE": str(path or "")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_created_token_is_printed_once_listed_and_revoked(path: Path) -> None:
    limits = ("--calls", "2", "--attempts", "30", "--minutes", "60")
    code, out, _ = token(path, "create", "ward-3", "--expires", "90d", *limits)
    assert code == 0
    parts = read_text(out.strip())
    store = file.load(path)
    assert parts is not None and store is not None and parts.is_of(store.key)
    created = store.find("ward-3")
    assert created is not None and created.secret.matches(parts.secret)
    assert created.limits == Limits(2, 30, 60)
    assert created.expires is not None and created.expires - created.created == 90 * 86_400

    code, listed, _ = token(path, "list")
    assert code == 0 and "ward-3" in listed and "minutes_per_day=60" in listed
    (entry,) = json.loads(token(path, "list", "--json")[1])
    assert (entry["name"], entry["expired"], entry["calls"]) == ("ward-3", False, 2)
    secret = out.split(".")[2]
    assert secret not in listed and secret not in path.read_text()

    assert token(path, "revoke", "ward-3") == (0, "ward-3 is revoked\n", "")
    assert json.loads(token(path, "list", "--json")[1]) == []


def test_names_that_are_taken_or_unknown_are_refused(path: Path) -> None:
    assert token(path, "create", "ward-3")[0] == 0
    before = path.read_bytes()
    code, out, error = token(path, "create", "ward-3")
    assert (code, out) == (1, "") and "already a token ward-3" in error
    code, _, error = token(path, "revoke", "ward-4")
    assert code == 1 and "no token ward-4" in error
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "Ward 3"),
        ("create", "shared"),
        ("create", "ward-3", "--expires", "yesterday"),
        ("create", "ward-3", "--expires", "2020-01-01"),
        ("create", "ward-3", "--calls", "0"),
        ("create", "ward-3", "--minutes", "-1"),
        ("create",),
        ("forget", "ward-3"),
        (),
    ],
)
def test_wrong_arguments_create_nothing(path: Path, arguments: tuple[str, ...]) -> None:
    code, out, error = token(path, *arguments)
    assert (code, out) == (2, "") and error and "Traceback" not in error
    assert not path.exists()


def test_damaged_store_is_reported_and_kept(path: Path) -> None:
    path.write_text("damaged")
    for arguments in (("list",), ("create", "ward-3"), ("revoke", "ward-3")):
        code, _, error = token(path, *arguments)
        assert code == 2 and str(path) in error and "Traceback" not in error
    assert path.read_text() == "damaged"


def test_store_has_to_be_named_and_in_a_folder(tmp_path: Path) -> None:
    assert token(None, "list")[0] == 2
    assert token(tmp_path / "missing" / "tokens", "create", "ward-3")[0] == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1_800), ("12h", 43_200), ("90d", 7_776_000), ("2w", 1_209_600)]
)
def test_expiry_in_a_length_of_time(text: str, seconds: int) -> None:
    before = int(time.time())
    assert before + seconds <= expiry(text) <= int(time.time()) + seconds


@pytest.mark.parametrize("text", ["", "0d", "90", "90D", "-1d", "1y", "2027-13-01", "9" * 9 + "d"])
def test_any_other_expiry_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        expiry(text)
