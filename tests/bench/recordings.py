"""Ten sentences by a human speaker, with pauses inside, from a package of Debian.

The package asterisk-core-sounds-en-wav (CC-BY-SA-3.0, Allison Smith, 8 kHz) is downloaded when the
benchmark runs and is never committed. Telephone prompts have hardly any pause within a sentence,
so that each one is given a pause where its sentence goes on.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from client.wav import read_wav
from client.wire import MIC_SAMPLE_RATE

PACKAGE = "asterisk-core-sounds-en-wav"
SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
FETCH_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Recording:
    """A prompt, and the pause that it is given.

    name              file name below SOUNDS, without `.wav`
    text              what is said; `|` marks the pause
    quiet_at          seconds from the start of the file: begin of its own quiet stretch
    quiet_seconds     length of that stretch
    pause_seconds     length of the pause that the caller makes there
    """

    name: str
    text: str
    quiet_at: float
    quiet_seconds: float
    pause_seconds: float


# The quiet stretches were measured with a threshold of -45 dBFS in frames of 20 ms.
RECORDINGS = (
    Recording(
        "agent-pass", "Please enter your password | followed by the pound key.", 1.5, 0.26, 0.5
    ),
    Recording(
        "privacy-prompt",
        "Please enter your phone number, | starting with the area code.",
        1.66,
        0.32,
        0.6,
    ),
    Recording(
        "vm-whichbox", "To leave a message, | please enter a mailbox number.", 1.12, 0.16, 0.5
    ),
    Recording(
        "vm-tmpexists",
        "There is a temporary greeting, | which overrides your standard greetings.",
        1.96,
        0.14,
        0.7,
    ),
    Recording(
        "vm-rec-name",
        "After the tone say your name | and then press the pound key.",
        2.06,
        0.18,
        0.6,
    ),
    Recording(
        "followme/options", "Press 1 to accept this call, | or 2 to reject it.", 1.86, 0.18, 0.4
    ),
    Recording(
        "agent-newlocation", "Please enter a new extension, | followed by pound.", 1.84, 0.2, 0.3
    ),
    Recording(
        "vm-tempgreeting2",
        "Press 1 to record your temporary greeting, | or press 2 to erase it.",
        2.82,
        0.18,
        0.5,
    ),
    Recording(
        "privacy-unident",
        "The party you are trying to reach | does not accept unidentified calls.",
        1.8,
        0.18,
        0.4,
    ),
    Recording(
        "conf-getconfno",
        "Please enter your conference number | followed by the pound key.",
        1.74,
        0.06,
        0.3,
    ),
)


class RecordingsUnavailable(Exception):
    """The package could not be downloaded or unpacked; the message says why."""


def fetch(cache: Path) -> Path:
    """Return the folder with the recordings; download the package unless `cache` has it.

    Raises RecordingsUnavailable.
    """
    folder = cache / PACKAGE
    sounds = folder / SOUNDS
    if all((sounds / f"{recording.name}.wav").exists() for recording in RECORDINGS):
        return sounds
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(folder, "apt-get", "-qq", "download", PACKAGE)
        for package in folder.glob(f"{PACKAGE}_*.deb"):
            _run(folder, "dpkg", "-x", package.name, ".")
            package.unlink()
    except (OSError, subprocess.SubprocessError) as error:
        raise RecordingsUnavailable(f"{PACKAGE} could not be fetched: {error}") from error
    missing = [each.name for each in RECORDINGS if not (sounds / f"{each.name}.wav").exists()]
    if missing:
        raise RecordingsUnavailable(f"{PACKAGE} lacks {', '.join(missing)}")
    return sounds


def load(sounds: Path) -> list[bytes]:
    """Return the recordings with their pauses, mono int16 PCM at 16 kHz. Raises UsageError."""
    return [
        with_pause(
            read_wav(sounds / f"{each.name}.wav"),
            each.quiet_at + each.quiet_seconds / 2,
            each.pause_seconds - each.quiet_seconds,
        )
        for each in RECORDINGS
    ]


def with_pause(pcm: bytes, at_seconds: float, seconds: float) -> bytes:
    """Insert silence into mono int16 PCM at 16 kHz."""
    cut = 2 * round(at_seconds * MIC_SAMPLE_RATE)
    return pcm[:cut] + bytes(2 * round(seconds * MIC_SAMPLE_RATE)) + pcm[cut:]


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
