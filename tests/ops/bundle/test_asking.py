"""What a person is asked, on a terminal of its own, and what happens where there is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

from appliance.errors import LicenceNotAccepted
from ops.bundle.asking import Licence, accept, token

LICENCES = [Licence("one/model", "Apache-2.0", "PAGE/one"), Licence("two/model", "MIT", "PAGE/two")]

ACCEPT = "from tests.ops.bundle.test_asking import *; accept(LICENCES); print('ACCEPTED')"
TOKEN = "from tests.ops.bundle.test_asking import *; print('GOT', token('a/b', 'PAGE')[::-1])"


def on_a_terminal(code: str, question: str, answer: str) -> str:
    """Runs it, answers when it has asked, and returns all that the terminal showed."""
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
            except OSError:  # the other end is closed: it has ended
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
def test_a_yes_is_a_yes_to_all_of_them(answer: str) -> None:
    shown = on_a_terminal(ACCEPT, "[yes/no]", answer)
    assert "Apache-2.0: PAGE/one" in shown and "MIT: PAGE/two" in shown
    assert "ACCEPTED" in shown


@pytest.mark.parametrize("answer", ["", "no", "perhaps"])
def test_anything_else_is_none(answer: str) -> None:
    shown = on_a_terminal(ACCEPT, "[yes/no]", answer)
    assert "ACCEPTED" not in shown
    assert "one/model, two/model is not accepted" in shown


def test_a_token_is_not_shown() -> None:
    shown = on_a_terminal(TOKEN, "not kept): ", "hf_secret")
    assert "GOT terces_fh" in shown
    assert "hf_secret" not in shown


def test_no_token_is_an_error() -> None:
    assert "no token was given" in on_a_terminal(TOKEN, "not kept): ", "")


def test_where_nobody_is_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(LicenceNotAccepted, match="--accept-licences"):
            accept(LICENCES)
        with pytest.raises(LicenceNotAccepted, match="HF_TOKEN is not set"):
            token("one/model", "PAGE/one")
