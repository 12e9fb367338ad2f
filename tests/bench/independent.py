"""An independent check: voicebench, a benchmark of voice agents by others, from PyPI.

It calls the gateway through its Pipecat adapter, records both sides, and finds speech in the
recordings itself. Its scenario is `scenario.yaml`; here are the sounds and the run. It gets a
virtual environment of its own, because it brings its own packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appliance.acceptance.voices import VOICES, EspeakVoices
from appliance.gpu_proof.record import percentile
from client.wav import write_wav
from client.wire import MIC_SAMPLE_RATE
from tests.bench.figures import Samples
from tests.e2e.appliance import Appliance

VERSION = "0.2.0"
SCENARIO = Path(__file__).with_name("scenario.yaml")
INSTALL_SECONDS = 600
RUN_SECONDS = 400
RAN = (0, 1)  # exit codes: all assertions of the scenario passed, or one failed
SENTENCES = {
    "france": "What is the capital of France?",
    "italy": "What is the capital of Italy?",
    # The small model declines to tell stories, and its other answers are too short to interrupt.
    "long-answer": "Please tell me how to make a cup of tea.",
    "stop": "Excuse me. What is the capital of Spain?",
    "uh-huh": "Uh huh.",
    "thanks": "Thank you, that was very helpful.",
}
NUMBER = ("My number is five five five,", "one two three,", "four five six seven.")
NUMBER_PAUSE_SECONDS = 0.5  # people pause this long between the groups of a number


class VoicebenchFailed(Exception):
    """voicebench could not be installed or did not run; the message says why."""


def install(cache: Path) -> Path:
    """Return voicebench's program; install it unless `cache` has it. Raises VoicebenchFailed."""
    folder = cache / f"voicebench-{VERSION}"
    program = folder / "bin/voicebench"
    if not program.exists():
        packages = [f"voicebench[pipecat]=={VERSION}", f"pipecat-ai=={version('pipecat-ai')}"]
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], INSTALL_SECONDS)
        _run([str(folder / "bin/pip"), "install", "--quiet", *packages], INSTALL_SECONDS)
    return program


async def make_sounds(folder: Path, voice: str) -> None:
    """Write the scenario's sounds in this voice of espeak-ng, and the scenario beside them."""
    voices = EspeakVoices()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SENTENCES.items():
        write_wav(folder / f"{name}.wav", await voices.say(text, voice), MIC_SAMPLE_RATE)
    pause = bytes(2 * round(NUMBER_PAUSE_SECONDS * MIC_SAMPLE_RATE))
    number = pause.join([await voices.say(part, voice) for part in NUMBER])
    write_wav(folder / "number.wav", number, MIC_SAMPLE_RATE)
    (folder / "scenario.yaml").write_bytes(SCENARIO.read_bytes())


async def measure(appliance: Appliance, cache: Path) -> Samples:
    """Run the scenario once in each voice; a note says why if a run fails.

    Raises VoicebenchFailed if voicebench cannot be installed.
    """
    program = install(cache)
    samples = Samples()
    for voice in VOICES:
        folder = appliance.folder / "voicebench" / voice
        await make_sounds(folder, voice)
        options = [f"url={appliance.url}"]
        options.append("headers={Authorization: Bearer " + appliance.token + "}")
        command = [str(program), "run", "scenario.yaml", "--adapter", "pipecat", "--out", "out"]
        command += ["--format", "json", "--quiet"]
        for option in options:
            command += ["--option", option]
        try:
            _run(command, RUN_SECONDS, folder, RAN)
        except VoicebenchFailed as error:  # the other voice's figures are kept
            samples.notes.append(f"voicebench, {voice}: not measured: {error}")
            continue
        report = json.loads((folder / "out/report.json").read_text(encoding="utf-8"))
        add_report(samples, report, voice)
    return samples


def add_report(samples: Samples, report: Mapping[str, Any], voice: str) -> None:
    """Add the figures of a report, whether each turn passed, and why those that failed did."""
    turns = [turn for session in report["sessions"] for turn in session["turns"]]
    respond = [turn for turn in turns if turn["expect"] == "respond"]
    latencies = [turn["response_latency_ms"] for turn in respond]
    reported = [latency for latency in latencies if latency is not None]
    heard = [latency for latency in reported if latency >= 0]
    samples.add("voicebench: response", "s", *(latency / 1000 for latency in heard))
    if heard:
        p90 = percentile([each / 1000 for each in heard], 0.9)
        samples.add("voicebench: response p90 of a run", "s", p90)
    stops = [turn["stop_latency_ms"] for turn in turns if turn["stop_latency_ms"] is not None]
    samples.add("voicebench: stop after a barge-in", "ms", *stops)
    answered = 100 * sum(bool(turn["responded"]) for turn in respond) / len(respond)
    samples.add("voicebench: turns answered", "%", answered)
    early = len(reported) - len(heard)
    samples.add("voicebench: answered too early", "%", 100 * early / len(respond))
    reasons = {turn["id"]: _reasons(turn) for turn in turns}
    passed = 100 * sum(not each for each in reasons.values()) / len(turns)
    samples.add("voicebench: turns passed", "%", passed)
    for name, why in reasons.items():
        samples.add(f"voicebench: {name} passed", "%", 0 if why else 100)
        if why:
            samples.notes.append(f"voicebench, {voice}, {name}: {why}")


def _reasons(turn: Mapping[str, Any]) -> str:
    """Return why a turn failed, or an empty string if it passed.

    voicebench passes a question or number that is answered before its end; here it fails.
    """
    if not turn["passed"]:
        return "; ".join(turn["notes"]) or "no reason given"
    latency = turn["response_latency_ms"]
    if turn["expect"] == "respond" and latency is not None and latency < 0:
        return f"answered {-latency:.0f} ms before its end"
    return ""


def _run(
    command: list[str], seconds: float, folder: Path | None = None, expected: tuple[int, ...] = (0,)
) -> None:
    try:
        process = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VoicebenchFailed(f"{Path(command[0]).name}: {error}") from error
    if process.returncode not in expected:
        lines = (process.stderr or process.stdout).strip().splitlines() or ["no message"]
        name = Path(command[0]).name
        raise VoicebenchFailed(f"{name}: exit code {process.returncode}: {lines[-1]}")
