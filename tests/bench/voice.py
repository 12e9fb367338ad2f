"""Compare streamed synthesis with synthesis of whole phrases: voice, words, time and CPU time.

Writes a page for each voice, with pairs of recordings to listen to. Phrases go through the engine,
as callers' phrases do. Whole phrases (`tts.streaming` off) are the voice as it was before streaming
existed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from appliance.engines.tts import onnx_split, synthesizer
from appliance.engines.tts.engine import KokoroEngine
from appliance.engines.tts.pieces import one_piece
from appliance.engines.tts.text.normalize import normalize
from appliance.gpu_proof.record import percentile
from appliance.link.engine import OUTPUT_SAMPLE_RATE, TTSSession
from appliance.settings import PathsConfig, Settings, TTSConfig
from tests.bench import voice_page
from tests.bench.figures import machine, row, verdict
from tests.bench.log_spectra import Samples, distance_db, offset
from tests.bench.voice_page import Pair
from tests.bench.voice_phrases import FIRST_PHRASES, PHRASES, SENTENCES
from tests.e2e.appliance import ROOT
from tests.recognizer import plain, words

VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george", "af_heart:2,am_adam:1")
SPEED_PHRASES = (*FIRST_PHRASES[:4], *SENTENCES[:2])
SPEEDS = (1.0, 0.5, 0.75, 1.25, 1.5, 2.0)
OTHER_SPEED_STEP = 4  # of the phrases at other speeds than 1
TO_WHOLE_DB = 3.5  # most distance that streaming may add to the same statistics
OTHER_SPEED_TO_WHOLE_DB = 5.0  # the same at other speeds than 1
TO_TODAY_DB = 8.0  # most distance of streamed from whole phrases
FIRST_AUDIO_RATIO = 0.3
NOTED_SECONDS = 0.05  # words that begin this much earlier or later get a note
VOCODER_LAYERS = ("/decoder/decoder/generator/",)


@contextlib.asynccontextmanager
async def engine(streaming: bool, threads: int = 2) -> AsyncIterator[TTSSession]:
    """Run an engine on this build's weights, and open a session."""
    settings = Settings(
        paths=PathsConfig(weights=ROOT / "weights"),
        tts=TTSConfig(streaming=streaming, threads=threads),
    )
    running = KokoroEngine(settings)
    await running.start()
    try:
        yield running.open()
    finally:
        await running.stop()


async def speak(session: TTSSession, text: str, voice: str, speed: float = 1.0) -> bytes:
    """Return the PCM of a phrase."""
    return b"".join([part async for part in session.speak(text, voice, speed, True)])


@dataclasses.dataclass(frozen=True, slots=True)
class Ways:
    """Sessions of engines that synthesize in different ways.

    exact  streams like `streamed`, with all layers of the vocoder in float; None: a distance above
           a limit is not explained
    """

    whole: TTSSession
    streamed: TTSSession
    exact: TTSSession | None = None


@contextlib.asynccontextmanager
async def ways() -> AsyncIterator[Ways]:
    """Run an engine for each way."""
    async with engine(streaming=False) as whole, engine(streaming=True) as streamed:
        with mock.patch.object(onnx_split, "_EXACT", VOCODER_LAYERS):
            async with engine(streaming=True) as exact:
                yield Ways(whole, streamed, exact)


async def compare(
    sessions: Ways, text: str, voice: str, speed: float = 1.0, recognize: bool = True
) -> Pair:
    """Synthesize a phrase in all ways and compare the results.

    recognize  also have the words recognized; else they are empty
    """
    whole_pcm = await speak(sessions.whole, text, voice, speed)
    streamed_pcm = await speak(sessions.streamed, text, voice, speed)
    one = await _one_piece(sessions.streamed, text, voice, speed)
    old, new = samples(whole_pcm), samples(streamed_pcm)
    pair = Pair(
        text,
        whole_pcm,
        streamed_pcm,
        distance_db(one, new),
        distance_db(old, new),
        _words(old) if recognize else "",
        _words(new) if recognize else "",
        seconds_earlier=offset(old, new) / OUTPUT_SAMPLE_RATE,
    )
    is_close = pair.to_whole_db <= to_whole_limit_db(speed) and pair.to_today_db <= TO_TODAY_DB
    if is_close or sessions.exact is None:
        return pair
    exact = await _one_piece(sessions.exact, text, voice, speed)
    # A whole phrase again: the same operations in int8, in another order.
    with mock.patch.object(synthesizer, "is_predictable", lambda *_: False):
        again = samples(await speak(sessions.streamed, text, voice, speed))
    noise = (
        f"one piece is at {distance_db(exact, one):.1f} dB to itself in float, streamed at "
        f"{distance_db(exact, new):.1f}; whole, with its operations in another order, at "
        f"{distance_db(old, again):.1f} dB to itself"
    )
    return dataclasses.replace(pair, noise=noise)


async def _one_piece(session: TTSSession, text: str, voice: str, speed: float) -> Samples:
    """Return a phrase with the statistics of streamed speech, but not in pieces."""
    with mock.patch.object(synthesizer, "plan_pieces", one_piece):
        return samples(await speak(session, text, voice, speed))


def _words(speech: Samples) -> str:
    """Return what the recognizer hears, with numbers as words: it writes both "2" and "two"."""
    return plain(normalize(words(speech, OUTPUT_SAMPLE_RATE), british=False))


def samples(pcm: bytes) -> Samples:
    """Return the samples of PCM, -1..1."""
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, np.float32)


async def measure_voices(
    voices: Sequence[str], texts: Sequence[str], speeds: Sequence[float], folder: Path
) -> None:
    """Print a table for each voice and speed, and write its page to `folder`.

    At other speeds than 1, only every OTHER_SPEED_STEP-th text is spoken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everything: dict[float, list[Pair]] = {speed: [] for speed in speeds}
    async with ways() as sessions:
        for voice, speed in itertools.product(voices, speeds):
            title = f"{voice} at speed {speed:g}"
            print(f"{title}: distance in dB to one piece, to whole phrases; words", flush=True)
            pairs = []
            for text in texts if speed == 1 else texts[::OTHER_SPEED_STEP]:
                pair = await compare(sessions, text, voice, speed)
                pairs.append(pair)
                print(f"  {_line(pair)}", flush=True)
            everything[speed] += pairs
            lines = summary(pairs, to_whole_limit_db(speed))
            page = voice_page.render(
                title, (f"On {machine()}.", *lines), pairs, to_whole_limit_db(speed), TO_TODAY_DB
            )
            name = f"{voice.replace(':', '-').replace(',', '_')}-{speed:g}"
            path = folder / f"{name}.html"
            path.write_text(page, encoding="utf-8")
            print("\n".join([*lines, f"  {path}"]), flush=True)
    for speed, pairs in everything.items():
        print(
            "\n".join([f"all voices at speed {speed:g}", *summary(pairs, to_whole_limit_db(speed))])
        )


def to_whole_limit_db(speed: float) -> float:
    """Return the limit of the distance to one piece."""
    return TO_WHOLE_DB if speed == 1 else OTHER_SPEED_TO_WHOLE_DB


def _line(pair: Pair) -> str:
    heard = "same" if pair.same_words else f"{pair.words_whole!r} -> {pair.words_streamed!r}"
    line = f"{pair.to_whole_db:5.1f} {pair.to_today_db:5.1f}  {pair.text[:50]:50}  {heard}"
    if abs(pair.seconds_earlier) >= NOTED_SECONDS:
        line += f"; words begin {pair.seconds_earlier * 1000:+.0f} ms earlier"
    return line


def summary(pairs: Sequence[Pair], to_whole_db: float = TO_WHOLE_DB) -> list[str]:
    """Return lines with the distances of all phrases, and whether the limits are met."""
    to_whole = [pair.to_whole_db for pair in pairs]
    to_today = [pair.to_today_db for pair in pairs]
    same = sum(pair.same_words for pair in pairs)
    return [
        row("to one piece", to_whole, "dB"),
        row("to whole phrases", to_today, "dB"),
        verdict("to one piece, largest", max(to_whole), to_whole_db, "dB"),
        verdict("to whole phrases, largest", max(to_today), TO_TODAY_DB, "dB"),
        f"  the recognizer hears the same words in {same} of {len(pairs)}",
        *(f"  noise of int8 in {pair.text!r}: {pair.noise}" for pair in pairs if pair.noise),
    ]


async def measure_speed(rounds: int, threads: int) -> None:
    """Print the time to the first audio and the CPU time per phrase, of both ways in turn.

    On a busy machine, the CPU time to the first audio tells more than the time.
    """
    first: dict[bool, list[float]] = {False: [], True: []}
    first_cpu: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    async with (
        engine(streaming=False, threads=threads) as whole,
        engine(streaming=True, threads=threads) as streamed,
    ):
        for number in range(rounds):
            for text in SPEED_PHRASES:
                order = ((False, whole), (True, streamed))
                for streaming, session in order if number % 2 else reversed(order):
                    seconds, first_cpu_seconds, cpu_seconds = await _time(session, text)
                    first[streaming].append(seconds)
                    first_cpu[streaming].append(first_cpu_seconds)
                    cpu[streaming].append(cpu_seconds)
    print(f"Speed with {threads} thread{'s' if threads > 1 else ''}")
    for name, values in (
        ("first audio", first),
        ("CPU time to the first audio", first_cpu),
        ("CPU time of a phrase", cpu),
    ):
        print(row(f"{name}, whole phrases", values[False], "ms", 1000))
        print(row(f"{name}, streamed", values[True], "ms", 1000))
        ratio = percentile(values[True], 0.5) / percentile(values[False], 0.5)
        target = 1.0 if values is cpu else FIRST_AUDIO_RATIO
        print(verdict(f"{name}, ratio of p50", ratio, target, "x"), flush=True)


async def _time(session: TTSSession, text: str) -> tuple[float, float, float]:
    """Return the seconds and CPU seconds to the first audio, and the CPU seconds of the phrase."""
    began, cpu_began = time.perf_counter(), time.process_time()
    first_audio = first_cpu = 0.0
    async for _ in session.speak(text, "", 1.0, True):
        if not first_audio:
            first_audio, first_cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return first_audio, first_cpu, time.process_time() - cpu_began


async def run(args: argparse.Namespace) -> None:
    """Run the parts that `args` selects."""
    if args.only != "speed":
        texts = PHRASES[:: max(1, len(PHRASES) // args.phrases)][: args.phrases]
        await measure_voices(args.voices or VOICES, texts, args.speeds or SPEEDS, args.folder)
    if args.only != "quality":
        for threads in (1, 2):
            await measure_speed(args.rounds, threads)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-voice", description=__doc__)
    parser.add_argument("--voices", nargs="*", help=f"voices or blends ({' '.join(VOICES)})")
    parser.add_argument(
        "--speeds", nargs="*", type=float, help=f"of the speech ({' '.join(map(str, SPEEDS))})"
    )
    parser.add_argument("--phrases", type=int, default=len(PHRASES), help="phrases per voice (all)")
    parser.add_argument("--rounds", type=int, default=5, help="of each phrase, for the speed (5)")
    parser.add_argument("--only", choices=("quality", "speed"), help="run only this part")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".cache/voice", help="for the pages (.cache/voice)"
    )
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
