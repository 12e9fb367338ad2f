"""`client talk` on the sound devices of a Linux desktop."""

from __future__ import annotations

import functools
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.appliance import QUESTIONS, ROOT, Appliance
from tests.e2e.desktop import MISSING, RATE, desktop
from tests.recognizer import words

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
WAIT_SECONDS = 90.0


class Terminal:
    """What a program shows on a terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.shown = ""

    def wait_for(self, condition: Callable[[str], object]) -> None:
        """Wait until the shown text satisfies the condition."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition(self.shown):
            assert time.monotonic() < deadline, self.shown
            assert self.process.poll() is None, self.shown
            self._read()

    def stop(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        self._read()
        os.close(self._master)
        return code

    def _read(self) -> None:
        time.sleep(0.05)
        try:
            self.shown += os.read(self._master, 1 << 16).decode(errors="replace")
        except OSError:  # nothing to read yet, or the program has ended
            return


def talk_command(appliance: Appliance) -> list[str]:
    command = [sys.executable, "-m", "client", "talk", "--url", appliance.url]
    return [*command, "--token-file", str(appliance.token_file)]


def has_answers(count: int, shown: str) -> bool:
    return shown.count("bot  ") >= count


def test_question_into_the_microphone_is_answered_on_the_loudspeaker(
    appliance: Appliance, tmp_path: Path
) -> None:
    recording = tmp_path / "speaker.raw"
    with desktop() as sound, sound.record(recording):
        terminal = Terminal(talk_command(appliance), sound.environment)
        terminal.wait_for(lambda shown: "connected to" in shown)
        sound.say(QUESTIONS[0])
        terminal.wait_for(lambda shown: "last answer after" in shown)
        assert terminal.stop() == 0
    assert "france" in terminal.shown.lower()
    heard = words(np.fromfile(recording, "<i2"), RATE)
    assert "paris" in heard
    assert "ALSA" not in terminal.shown


def test_bot_does_not_answer_its_own_voice_out_of_the_loudspeaker(
    appliance: Appliance, tmp_path: Path
) -> None:
    """The loudspeaker is heard in the room at a tenth of its amplitude, after 80 ms."""
    outcomes = [f'voice_turns_total{{outcome="{name}"}}' for name in ("answered", "interrupted")]
    before = [appliance.metric(name) for name in outcomes]
    with desktop() as sound:
        sound.reflect(volume=0.1, milliseconds=80)
        terminal = Terminal(talk_command(appliance), sound.environment)
        terminal.wait_for(lambda shown: "connected to" in shown)
        for number, question in enumerate(QUESTIONS, 1):
            sound.say(question)
            terminal.wait_for(functools.partial(has_answers, number))
        assert terminal.stop() == 0
    turns = [appliance.metric(name) - old for name, old in zip(outcomes, before, strict=True)]
    assert turns == [len(QUESTIONS), 0], terminal.shown
