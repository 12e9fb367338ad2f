"""Prompts for licences and a token, on a pseudo terminal and without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

from appliance.errors import LicenceNotAccepted
from ops.bundle.prompts import Licence, accept_licences, ask_token

LICENCES = [Licence("one/model", "Apache-2.0", "PAGE/one"), Licence("two/model", "MIT", "PAGE/two")]

IMPORT = "from tests.ops.bundle.test_prompts import *"
ACCEPT = f"{IMPORT}; accept_licences(LICENCES); print('ACCEPTED')"
TOKEN = f"{IMPORT}; print('GOT', ask_token('a/b', 'PAGE')[::-1])"


def run_on_terminal(code: str, question: str, answer: str) -> str:
    """Run code, type the answer after the question, and return all that the terminal showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=follower, stdout=follower, stderr=follower,
        start_new_session=True, close_fds=True,
    )  # fmt: skip
    os.close(follower)
    shown, answered = b"", False
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # the process ended and closed its end
                break
            if question.encode() in shown and not answered:
                answered = True
                os.write(leader, answer.encode() + b"\n")
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    return shown.decode()


@pytest.mark.parametrize("answer", ["yes", "Y"])
def test_yes_accepts_all_licences(answer: str) -> None:
    shown = run_on_terminal(ACCEPT, "[yes/no]", answer)
    assert "Apache-2.0: PAGE/one" in shown and "MIT: PAGE/two" in shown
    assert "ACCEPTED" in shown


@pytest.mark.parametrize("answer", ["", "no", "perhaps"])
def test_any_other_answer_accepts_none(answer: str) -> None:
    shown = run_on_terminal(ACCEPT, "[yes/no]", answer)
    assert "ACCEPTED" not in shown
    assert "one/model, two/model is not accepted" in shown


def test_token_is_not_echoed() -> None:
    shown = run_on_terminal(TOKEN, "not stored): ", "hf_secret")
    assert "GOT terces_fh" in shown
    assert "hf_secret" not in shown


def test_empty_token_is_an_error() -> None:
    assert "no token was given" in run_on_terminal(TOKEN, "not stored): ", "")


def test_without_a_terminal_the_error_names_the_option_or_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(LicenceNotAccepted, match="--accept-licences"):
            accept_licences(LICENCES)
        with pytest.raises(LicenceNotAccepted, match="HF_TOKEN is not set"):
            ask_token("one/model", "PAGE/one")
