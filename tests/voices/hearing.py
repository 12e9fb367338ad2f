"""Tables of recognition: word errors and dropped words per set, and sounds taken for words.

The builds run in processes of their own (`listen.py`). Their answers are kept by the hash of their
code and of the audio, so a second run measures only what has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.voices import speech, targets, whisper
from tests.voices.heard import Answers, recognizer_version
from tests.voices.recordings import Recordings
from tests.voices.replay import quantile
from tests.voices.speech import Speech
from tests.voices.words import Errors, compare, error_percent, spoken_words, total

ROOT = Path(__file__).parents[2]


class Build:
    """The recognizer of the source tree in `root`. The process starts at the first new clip."""

    def __init__(
        self, root: Path, weights: Path, answers: Answers, short: Path | None = None
    ) -> None:
        self._root = root
        self._weights = weights
        self._answers = answers
        self._short = short
        listener = hashlib.sha256((ROOT / "tests/voices/listen.py").read_bytes()).hexdigest()
        self._key = f"listen {listener[:8]} {recognizer_version(root)}"
        self._key += f" {short.name}" if short else ""
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self, pcm: np.ndarray) -> tuple[str, str, float]:
        """Return the text as used, that of the whole clip, and the CPU seconds left at its end."""
        data = pcm.tobytes()
        used, whole, seconds = self._answers.get(self._key, data, lambda: self._ask(data))
        return used, whole, seconds

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def _ask(self, data: bytes) -> object:
        if self._process is None:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "tests/voices/listen.py"), str(self._weights)),
                    *([str(self._short)] if self._short else []),
                ],
                env={**os.environ, "PYTHONPATH": str(self._root), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(len(data).to_bytes(4, "little") + data)
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Reference:
    """whisper-base, with its answers kept."""

    def __init__(self, folder: Path, answers: Answers) -> None:
        whisper.download(folder)
        self._folder = folder
        self._answers = answers
        self._model: whisper.WhisperBase | None = None

    def transcribe(self, pcm: np.ndarray) -> str:
        """Return the words of a clip."""
        return str(self._answers.get("whisper-base", pcm.tobytes(), lambda: self._ask(pcm)))

    def _ask(self, pcm: np.ndarray) -> str:
        if self._model is None:
            self._model = whisper.WhisperBase(self._folder)
        return self._model.transcribe(pcm)


def errors(clip: Speech, heard: str) -> Errors:
    """Return the errors of what was heard in a clip."""
    return compare(spoken_words(clip.text, clip.kind), spoken_words(heard, clip.kind))


@dataclass
class Row:
    """The errors in each clip of a set.

    used, whole          of this build: as used, and in clips without cutting
    left                 CPU seconds after the end of each clip
    before, reference    of the other build as used, and of whisper-base
    """

    used: list[Errors] = field(default_factory=list)
    whole: list[Errors] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    before: list[Errors] = field(default_factory=list)
    before_whole: list[Errors] = field(default_factory=list)
    reference: list[Errors] = field(default_factory=list)

    def cells(self, name: str) -> list[str]:
        """Return the columns of HEAD."""
        used, whole = total(self.used), total(self.whole)
        reference = total(self.reference) if self.reference else None
        limit = targets.hearing_limit(name, whole, reference)
        return [
            name,
            str(len(self.used)),
            str(used.words),
            f"{error_percent(used):.1f}",
            str(used.dropped),
            f"{error_percent(whole):.1f}",
            f"{error_percent(reference):.1f}" if reference else "-",
            *(
                f"{error_percent(total(x)):.1f}" if x else "-"
                for x in (self.before, self.before_whole)
            ),
            "-" if limit is None else f"{limit:.1f}",
            targets.judged(error_percent(used), limit),
            f"{quantile(self.left, 0.95):.2f}",
        ]


HEAD = (
    *("Set", "Clips", "Words", "As used", "Dropped", "Whole", "whisper-base", "Before"),
    *("Before, whole", "Limit", "Target", "Left, s"),
)


def table(
    sets: speech.Sets,
    build: Build,
    other: Build | None,
    reference: Reference | None,
    show: bool = False,
) -> list[str]:
    """Return the table of sets: word error rates in percent, dropped words, time left at the end.

    show  print each clip that is heard wrong
    """
    rows = [list(HEAD)]
    count, done = sum(len(clips) for clips in sets.values()), 0
    for name, clips in sets.items():
        row = Row()
        for clip in clips:
            done += 1
            progress(done, count, name)
            pcm = speech.as_sent(clip.samples)
            text, all_text, seconds = build.listen(pcm)
            row.used.append(errors(clip, text))
            row.whole.append(errors(clip, all_text))
            row.left.append(seconds)
            right = before = ""
            if reference:
                right = reference.transcribe(pcm)
                row.reference.append(errors(clip, right))
            if other:
                before, all_before, _ = other.listen(pcm)
                row.before.append(errors(clip, before))
                row.before_whole.append(errors(clip, all_before))
            if show and row.used[-1].total:
                print(
                    f"{name}: {clip.text!r}\n    heard {text!r}; whole {all_text!r}; "
                    f"whisper-base {right!r}; before {before!r}",
                    flush=True,
                )
        rows.append(row.cells(name))
    progress_end()
    return markdown(rows)


def markdown(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table for a document. The first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def false_words(sounds: dict[str, np.ndarray], build: Build, other: Build | None) -> list[str]:
    """Return the lines of sounds without words: how many gave words, and which."""
    lines = []
    for name, each in (("this build", build), ("against", other)):
        if each is None:
            continue
        found = {}
        for number, (sound, samples) in enumerate(sounds.items()):
            progress(number + 1, len(sounds), "sounds")
            text, _, _ = each.listen(speech.as_sent(samples))
            if text:
                found[sound] = text
        progress_end()
        lines.append(f"sounds without words, {name}: words in {len(found)} of {len(sounds)}")
        lines += [f"    {sound}: {text}" for sound, text in found.items()]
    return lines


def measure(
    recordings: Recordings,
    folder: Path,
    weights: Path,
    answers: Answers,
    against: Path | None = None,
    only: Iterable[str] = (),
    count: int | None = None,
    with_reference: bool = True,
    show: bool = False,
    short: Path | None = None,
) -> list[str]:
    """Return all tables. `only` names beginnings of sets; `count` limits the clips of each set.

    short  folder of the second recognizer, which builds that have one use for short speech
    """
    build = Build(ROOT, weights, answers, short)
    other = Build(against, weights, answers, short) if against else None
    reference = Reference(folder / "whisper-base", answers) if with_reference else None
    wanted = tuple(only)
    sets = {**speech.plain_sets(recordings), **speech.condition_sets(recordings)}
    chosen = _chosen(sets, wanted)
    chosen = {name: speech.first(clips, count) for name, clips in chosen.items()}
    lines = [builds(against), ""]
    lines += table(chosen, build, other, reference, show) if chosen else []
    if not wanted or "sounds".startswith(wanted):
        lines += ["", *false_words(speech.sounds(recordings), build, other)]
    for each in (build, other):
        if each is not None:
            each.close()
    return lines


def builds(against: Path | None) -> str:
    """Return a line about what is measured: date, builds and versions."""
    packages = ("onnxruntime", "ctranslate2", "faster-whisper")
    return ", ".join(
        [
            f"Measured on {date.today()}: this build {commit(ROOT)}",
            *([f"build before {commit(against)}"] if against else []),
            *(f"{package} {version(package)}" for package in packages),
        ]
    )


def commit(root: Path) -> str:
    """Return the commit of a source tree; "-dirty" if files have changed since."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def _chosen(sets: speech.Sets, wanted: tuple[str, ...]) -> speech.Sets:
    if not wanted:
        return sets
    return {name: clips for name, clips in sets.items() if name.startswith(wanted)}


Progress = Callable[[int, int, str], None]


def progress(done: int, count: int, what: str) -> None:
    """Show how far a measurement is, on the standard error."""
    bar = "#" * (30 * done // count)
    print(f"\r[{bar:30}] {done} of {count}  {what:28}", end="", file=sys.stderr, flush=True)


def progress_end() -> None:
    """End the line of the progress bar."""
    print(file=sys.stderr)
