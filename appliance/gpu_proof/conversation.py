"""Step `conversation`: gateway, speech-LLM and voice on this machine, from question to answer.

Starts the three processes that a call needs, without supervisord and without the seal, so that it
also runs with random weights. A caller asks recorded questions; latency is measured where the
caller hears it, and recorded also when the step runs out of time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance import offline
from appliance.engines.tts.synthesizer import FOLDER as KOKORO
from appliance.engines.tts.synthesizer import TORCH_MODEL
from appliance.gpu_proof.engine_speed import model_folder
from appliance.gpu_proof.kokoro import torch_folder
from appliance.gpu_proof.results import Results, StepOptions, parse
from appliance.processes import GATEWAY, LLM, PROCESSES, TTS
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import ClientError
from client.wav import read_wav

ROOT = Path(__file__).parents[2]
QUESTIONS = sorted((ROOT / "client" / "questions").glob("*.wav"))
REPLY_TOKENS = 32  # random weights do not end a reply
ANSWER_SECONDS = 60.0
PAUSE_SECONDS = 0.5
TURN_SECONDS = 15.0  # a question and its spoken answer; with less time none is asked
POLL_SECONDS = 0.5
STOP_SECONDS = 15.0
MIN_QUESTIONS_SECONDS = 60.0  # of the step's time, after the engines have started


def main(options: StepOptions) -> int:
    offline.apply(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # several processes load vLLM
    results = Results(options.results, options.seconds)
    try:
        model = model_folder(options, results)
        weights = weights_folder(options, results, model)
        with run_processes(options, weights, model.name) as (config, started):
            ready_seconds = wait_ready(config, results, started)
            results.measure("until calls are accepted", [ready_seconds], "s")
            turns = len(QUESTIONS) if options.is_rehearsal else 3 * len(QUESTIONS)
            asyncio.run(converse(config, results, turns))
    except (OSError, RuntimeError, ClientError) as error:
        results.problem("conversation", str(error))
    return 0


def weights_folder(options: StepOptions, results: Results, model: Path) -> Path:
    """The sealed weights; or a folder of links to them and to what is made from them."""
    kokoro = options.weights / KOKORO
    if model.parent == options.weights and (kokoro / TORCH_MODEL).exists():
        return options.weights
    folder = options.scratch / "weights"
    folder.mkdir(exist_ok=True)
    for path in options.weights.iterdir():
        if path.name != KOKORO:
            _link(folder / path.name, path)
    _link(folder / model.name, model)
    (folder / KOKORO).mkdir(exist_ok=True)
    made = torch_folder(kokoro, options.scratch / KOKORO, results)
    for path in (*kokoro.iterdir(), *made.iterdir()):
        _link(folder / KOKORO / path.name, path)
    return folder


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())


@contextlib.contextmanager
def run_processes(
    options: StepOptions, weights: Path, model: str
) -> Iterator[tuple[Config, float]]:
    """Run the processes; return how to call them, and the monotonic time of their start."""
    with tempfile.TemporaryDirectory(prefix="voice.") as name:  # sockets need a short path
        run_folder = Path(name)
        token = secrets.token_urlsafe(32)
        (run_folder / "token").touch(0o600)
        (run_folder / "token").write_text(token)
        port = _free_port()
        environ = {**os.environ, **_settings(options, weights, model, run_folder, port)}
        started = time.monotonic()
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes += [
                subprocess.Popen(spec.command, cwd=ROOT, env=environ)
                for spec in PROCESSES
                if spec.name in (LLM, TTS, GATEWAY)
            ]
            yield Config(url=f"ws://127.0.0.1:{port}/ws", token=token), started
        finally:
            for each in reversed(processes):
                each.terminate()
            for each in processes:
                try:
                    each.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    each.kill()
                    each.wait()


def _settings(
    options: StepOptions, weights: Path, model: str, run: Path, port: int
) -> Mapping[str, str]:
    return {
        "VOICE_PROFILE": "gpu",
        "VOICE_PATHS_RUN": str(run),
        "VOICE_PATHS_WEIGHTS": str(weights),
        "VOICE_GATEWAY_TOKEN_FILE": str(run / "token"),
        "VOICE_GATEWAY_PORT": str(port),
        "VOICE_LLM_ENGINE": "vllm",
        "VOICE_LLM_MODEL": model,
        "VOICE_LLM_DTYPE": "float32" if options.device == "cpu" else "auto",
        "VOICE_LLM_REPLY_TOKENS": str(REPLY_TOKENS),
        "VOICE_TTS_BACKEND": "torch",
        "VOICE_TTS_DEVICE": options.device,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready(config: Config, results: Results, started: float) -> float:
    """Seconds from the start until /readyz returns 200. Raises RuntimeError."""
    url = f"http://{config.host}/readyz"
    why = "no reply"
    while results.seconds_left() > MIN_QUESTIONS_SECONDS:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return time.monotonic() - started
        except urllib.error.HTTPError as error:
            why = error.read().decode("utf-8", "replace").strip()[:200]
        except OSError as error:
            why = str(error)
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"not ready in time: {why}")


async def converse(config: Config, results: Results, turns: int) -> None:
    """Ask the recorded questions. Raises ClientError; what was measured is recorded anyway."""
    questions = [read_wav(path) for path in QUESTIONS]
    latencies: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    unanswered = 0
    try:
        while len(latencies) + unanswered < turns and results.seconds_left() > TURN_SECONDS:
            async with Conversation(await connect(config)) as conversation:
                for pcm in questions:
                    if results.seconds_left() < TURN_SECONDS:
                        break
                    timeout = min(ANSWER_SECONDS, results.seconds_left())
                    record = await conversation.finished(conversation.say(pcm), timeout)
                    if record.voice_to_voice_seconds is None:
                        unanswered += 1
                    else:
                        latencies.append(record.voice_to_voice_seconds)
                    for name, seconds in record.stages.items():
                        stages[name].append(seconds)
                    await asyncio.sleep(PAUSE_SECONDS)
    finally:
        record_latency(results, latencies, stages)
    if unanswered:
        results.problem("conversation", f"{unanswered} questions were not answered aloud")


def record_latency(
    results: Results, latencies: list[float], stages: Mapping[str, list[float]]
) -> None:
    """Voice to voice and its stages, in ms."""
    if latencies:
        results.measure("voice to voice", [1000 * each for each in latencies], "ms")
    for name, values in stages.items():
        if values:
            results.measure("stage", [1000 * each for each in values], "ms", stage=name)


if __name__ == "__main__":
    sys.exit(main(parse("conversation", __doc__, sys.argv[1:])))
