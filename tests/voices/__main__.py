"""Measure hearing and turn taking with human recordings.

The first run downloads about 310 MB of Debian's packages into .cache/voices and takes some minutes.
All time is simulated, so the load of the machine does not change the results. What the models heard
is kept there, too; FRESH=1 in the environment runs them again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from loguru import logger

from appliance.engines.llm.small.recognition import filter_words
from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.endpointing import EndpointingPolicy, Policy
from appliance.gateway.turns.level import CallerLevel
from appliance.gateway.turns.turn_models import TurnModels
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.settings import LLMConfig, TurnConfig
from tests.voices import echo, level, speech, targets
from tests.voices import hearing as hearing_tables
from tests.voices.bot import REPLIES, SENTENCES, BotVoice
from tests.voices.clips import COMPLETE, KINDS, PAUSED, Clip, clips, joined, silence
from tests.voices.heard import Answers, Hearing
from tests.voices.recordings import NotAvailable, Recordings, download, scaled, trimmed
from tests.voices.replay import (
    FixedPolicy,
    Observation,
    Outcome,
    observe,
    percent,
    quantile,
    replay,
)
from tests.voices.speech import first

FOLDER = Path(".cache/voices")
WEIGHTS = Path("weights")
PIPECAT = "p > 0.5, else 1.5 s"  # Pipecat's policy, used until 2026-11-28
ENGLISH_WORDS = "... English, with words"
ENGLISH, REPORTED = "en", "reported"  # language and part that the targets are about
FALSE_TURN_PAUSE_SECONDS = 2.5  # before and after a sound; a turn ends within it
HELD_SECONDS = 1.0  # a complete utterance that waits longer is held


def main() -> None:
    parser = argparse.ArgumentParser(prog="make voices", description=__doc__)
    parser.add_argument(
        "--only",
        choices=("hearing", "ends", "echo", "level", "noise"),
        help="measure only this part",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help='hearing: only the sets whose names begin so, such as "digits"; may be repeated',
    )
    parser.add_argument(
        "--clips",
        type=int,
        help="hearing: at most this many clips of each set; ends: of each kind, part and language",
    )
    parser.add_argument(
        "--reported", action="store_true", help="ends: only what the targets are about"
    )
    parser.add_argument("--against", type=Path, help="hearing: the folder of another build")
    parser.add_argument("--no-whisper", action="store_true", help="hearing: without whisper-base")
    parser.add_argument(
        "--short",
        default=LLMConfig().short_recognizer,
        help="hearing: second recognizer of both builds, as in llm.short_recognizer; '' for none",
    )
    parser.add_argument("--show", action="store_true", help="hearing: print what is heard wrong")
    args = parser.parse_args()
    logger.remove()
    try:
        download(FOLDER)
    except NotAvailable as error:
        sys.exit(f"{error}. Human recordings need a network once; nothing was measured.")
    recordings, config = Recordings(FOLDER), TurnConfig()
    models, llm = TurnModels(config), LLMConfig()
    answers = Answers(FOLDER / "answers.sqlite", fresh=bool(os.environ.get("FRESH")))
    short = WEIGHTS / args.short if args.short else None
    hearing = Hearing(models, WEIGHTS / llm.hearing_model, answers, short)
    if args.only in (None, "hearing"):
        tables = hearing_tables.measure(
            recordings,
            FOLDER,
            WEIGHTS / llm.hearing_model,
            answers,
            against=args.against,
            short=short,
            only=args.set,
            count=args.clips,
            with_reference=not args.no_whisper,
            show=args.show,
        )
        print("\n".join(tables), flush=True)
    if args.set:
        return
    if args.only in (None, "ends"):
        table = ends(recordings, hearing, config, llm, args.clips, args.reported)
        print("\n".join(table), flush=True)
    if args.only in (None, "echo"):
        print("\n".join(echoes(recordings, models)), flush=True)
    if args.only in (None, "level"):
        print("\n".join(levels(recordings, models)), flush=True)
    if args.only in (None, "noise"):
        print("\n".join(noises(recordings, hearing, config)), flush=True)


def observations(
    recordings: Recordings, hearing: Hearing, config: TurnConfig, count: int | None, reported: bool
) -> list[Observation]:
    """Return what the VAD heard in each clip, at most `count` of a kind, part and language.

    reported  only English clips of the part "reported"
    """
    groups: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in clips(recordings):
        if not reported or (clip.part, clip.language) == (REPORTED, ENGLISH):
            groups[clip.kind, clip.part, clip.language].append(clip)
    chosen = [clip for group in groups.values() for clip in first(group, count)]
    found = []
    for number, clip in enumerate(chosen):
        hearing_tables.progress(number + 1, len(chosen), "clips")
        found.append(observe(clip, hearing, config))
    hearing_tables.progress_end()
    return found


def ends(
    recordings: Recordings,
    hearing: Hearing,
    config: TurnConfig,
    llm: LLMConfig,
    count: int | None = None,
    reported: bool = False,
) -> list[str]:
    """Return the tables of the ends of turns.

    llm       configures the recognizer
    count     at most this many clips of a kind, part and language
    reported  only what the targets are about: English clips of the part "reported"
    """
    found = observations(recordings, hearing, config, count, reported)
    appliance = EndpointingPolicy(config)
    rows: list[tuple[str, Policy, LLMConfig | None, str | None]] = [
        (PIPECAT, FixedPolicy(config, 0.5, 1.5), None, None),
        ("p > 0.9, else 1.5 s", FixedPolicy(config, 0.9, 1.5), None, None),
        ("p > 0.5, else 0.8 s", FixedPolicy(config, 0.5, 0.8), None, None),
        ("the appliance's", appliance, None, None),
        ("... with words", appliance, llm, None),
        ("... English", appliance, None, ENGLISH),
        (ENGLISH_WORDS, appliance, llm, ENGLISH),
    ]
    if reported:  # the other rows are the same
        rows = [row for row in rows if row[0] == PIPECAT or row[3] == ENGLISH]
    lines = [
        hearing_tables.builds(None),
        "Ends of turns. held: complete utterances that wait over 1 s; cut: pauses that end it",
        f"{'policy':24}{'part':>9}{'n':>5}{'held':>7}{'p50':>6}{'p95 s':>7}{'cut: whole':>12}"
        f"{'phone':>7}{'letters':>9}{'lists':>7}{'dates':>7}{'sentences':>11}",
    ]
    replayed: dict[tuple[str, str], dict[str, list[Outcome]]] = {}
    for part in (REPORTED,) if reported else ("tuned", REPORTED):
        for name, policy, words, language in rows:
            outcomes: dict[str, list[Outcome]] = defaultdict(list)
            chosen = [x for x in found if x.part == part and language in (None, x.language)]
            for number, each in enumerate(chosen):
                hearing_tables.progress(number + 1, len(chosen), f"{name}, {part}")
                outcomes[each.kind].append(replay(each, policy, config, hearing, words))
            hearing_tables.progress_end()
            replayed[part, name] = outcomes
            lines.append(f"{name:24}{part:>9}{len(chosen):5}" + _summary(outcomes))
    outcomes = replayed[REPORTED, ENGLISH_WORDS]
    return [
        *lines,
        "",
        "The appliance's policy with words, English speakers of the reported part, by kind",
        *_by_kind(outcomes),
        "",
        f"Targets, for the same: {ENGLISH_WORDS.removeprefix('... ')}, reported",
        *_targets(outcomes, replayed[REPORTED, PIPECAT]),
    ]


def _targets(outcomes: dict[str, list[Outcome]], before: dict[str, list[Outcome]]) -> list[str]:
    """Return a line for each target. `before` is of the policy of the build before."""
    now, old = _figures(outcomes), _figures(before)
    limits = {
        "held, %": targets.HELD_PERCENT,
        "p95, s": targets.DELAY_P95_SECONDS,
        "phone, % cut": targets.PHONE_PERCENT,
        "letters, % cut": targets.LETTERS_PERCENT,
        "sentences, % cut": old["sentences, % cut"],
    }
    return [
        f"{name:20}{now[name]:7.2f}   at most {limit:5.2f}   {targets.judged(now[name], limit, 2)}"
        for name, limit in limits.items()
    ]


def _delays(outcomes: list[Outcome]) -> list[float]:
    return [each.delay_seconds for each in outcomes if each.delay_seconds is not None]


def _cut_percent(outcomes: list[Outcome]) -> float:
    return percent(sum(each.cuts for each in outcomes), sum(each.pauses for each in outcomes))


def _figures(outcomes: dict[str, list[Outcome]]) -> dict[str, float]:
    """Return the figures of a policy, in the order of the table."""
    whole = [each for kind in COMPLETE for each in outcomes[kind]]
    delays = _delays(whole)
    figures = {
        "held, %": percent(sum(each > HELD_SECONDS for each in delays), len(delays)),
        "p50, s": quantile(delays, 0.5),
        "p95, s": quantile(delays, 0.95),
        "whole, % cut": percent(sum(each.cuts > 0 for each in whole), len(whole)),
    }
    for group in ("phone", "letters", "list", "date"):
        kinds = [kind for kind in KINDS if kind.startswith(group)]
        figures[f"{group}, % cut"] = _cut_percent([x for kind in kinds for x in outcomes[kind]])
    figures["sentences, % cut"] = _cut_percent([x for kind in PAUSED for x in outcomes[kind]])
    return figures


def _summary(outcomes: dict[str, list[Outcome]]) -> str:
    held, p50, p95, whole, *cuts = _figures(outcomes).values()
    phone, letters, lists, dates, sentences = cuts
    return (
        f"{held:6.1f}%{p50:6.2f}{p95:7.2f}{whole:11.1f}%"
        f"{phone:6.0f}%{letters:8.0f}%{lists:6.0f}%{dates:6.0f}%{sentences:10.0f}%"
    )


def _by_kind(outcomes: dict[str, list[Outcome]]) -> list[str]:
    lines = [
        f"{'kind':16}{'n':>4}{'turns/clip':>12}{'cut pauses':>12}{'delay p50':>11}{'p95 s':>7}"
    ]
    for kind in KINDS:
        found = outcomes[kind]
        turns = float(np.mean([each.cuts + 1 for each in found]))
        delays = _delays(found)
        lines.append(
            f"{kind:16}{len(found):4}{turns:12.1f}{_cut_percent(found):11.0f}%"
            f"{quantile(delays, 0.5):11.2f}{quantile(delays, 0.95):7.2f}"
        )
    return lines


def echoes(recordings: Recordings, models: TurnModels) -> list[str]:
    """Return the lines about the bot's own voice."""
    bot = BotVoice(WEIGHTS, FOLDER)
    sent = echo.int16(np.concatenate([bot.say(text) for text in REPLIES]))
    steady = echo.steady(sent)
    lines = ["", "The bot's own voice in the microphone: starts of speech a minute"]
    lines.append(f"{'delay':>6}{'level':>7}{'not detected':>14}{'detected':>10}{'CPU':>7}")
    for delay in echo.DELAYS_SECONDS:
        for level_db in echo.LEVELS_DB:
            microphone = echo.at_microphone(sent, delay, level_db)
            without = echo.call(models.vad_analyzer(), None, steady, microphone)
            with_it = echo.call(models.vad_analyzer(), EchoDetector(), steady, microphone)
            lines.append(
                f"{delay:6.2f}{level_db:5} dB{without.starts_a_minute:14.1f}"
                f"{with_it.starts_a_minute:10.1f}{with_it.cpu_percent:6.2f}%"
            )
    for level_db in echo.LEVELS_DB:
        microphone = echo.with_jump(sent, 0.15, level_db)
        jumped = echo.call(models.vad_analyzer(), EchoDetector(), steady, microphone)
        lines.append(
            f"a delay that grows by 40 ms, at {level_db} dB: {jumped.starts_a_minute:.1f} a minute"
        )
    for name, microphone in echo.conditions(sent):
        without = echo.call(models.vad_analyzer(), None, steady, microphone)
        heard = echo.call(models.vad_analyzer(), EchoDetector(), steady, microphone)
        lines.append(
            f"{name}: {without.starts_a_minute:.1f} a minute without, {heard.starts_a_minute:.1f} "
            f"with, {heard.cpu_percent:.2f}%"
        )
    for level_db in echo.LEVELS_DB:
        schedule, microphone = echo.stuttering(sent, 0.1, level_db)
        without = echo.call(models.vad_analyzer(), None, schedule, microphone)
        heard = echo.call(models.vad_analyzer(), EchoDetector(), schedule, microphone)
        lines.append(
            f"audio that stutters, at {level_db} dB: {without.starts_a_minute:.1f} a minute "
            f"without, {heard.starts_a_minute:.1f} with"
        )
    callers = {
        "another voice": level.sentences(recordings, 20, seed=3),
        "the bot's voice": [
            scaled(trimmed(echo.resampled(bot.say(text), OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)))
            for text in SENTENCES
        ],
    }
    for name, sentences in callers.items():
        for echo_db in (None, -6, -12, -20, -30):
            found = [
                _is_heard(models, sent, caller, number, echo_db)
                for number, caller in enumerate(sentences)
            ]
            what = "no echo" if echo_db is None else f"an echo at {echo_db} dB"
            lines.append(f"{name} over {what}: heard {sum(found)} of {len(found)}")
        for echo_db in (-12, -20, -30):
            found = [
                _is_heard(models, sent, caller, number, echo_db, stutters=True)
                for number, caller in enumerate(sentences)
            ]
            lines.append(
                f"{name} over an echo at {echo_db} dB that stutters: heard {sum(found)} of "
                f"{len(found)}"
            )
    return lines


def _is_heard(
    models: TurnModels,
    sent: np.ndarray,
    caller: np.ndarray,
    number: int,
    level_db: float | None,
    stutters: bool = False,
) -> bool:
    """Return whether a caller who speaks while the bot does is heard. Each starts elsewhere."""
    begin = echo.BARGE_IN_SECONDS + number * echo.BARGE_IN_STEP_SECONDS
    microphone, schedule = np.zeros(0), echo.steady(sent)
    if level_db is not None:
        delay = echo.DELAYS_SECONDS[number % len(echo.DELAYS_SECONDS)]
        if stutters:
            begin += echo.STEADY_SECONDS
            schedule, microphone = echo.stuttering(sent, delay, level_db, seed=number)
        else:
            microphone = echo.at_microphone(sent, delay, level_db)
    microphone = echo.mixed(microphone, caller, begin)
    result = echo.call(models.vad_analyzer(), EchoDetector(), schedule, microphone)
    last = begin + len(caller) / INPUT_SAMPLE_RATE
    return any(begin <= start <= last for start in result.starts)


def levels(recordings: Recordings, models: TurnModels) -> list[str]:
    """Return the lines about other speakers."""
    sentences = level.sentences(recordings, 12, seed=1)
    caller = np.concatenate([joined(sentences[:2], 1.0), silence(2.0)])
    after = len(caller) / INPUT_SAMPLE_RATE - 1.0
    lines = ["", "After a caller at -23 dBFS, 60 s of another speaker: starts of speech"]
    for dbfs in (-50.0, -45.0, -40.0):
        microphone = np.concatenate([caller, level.other_speaker(recordings, dbfs)])
        counts = [
            sum(start > after for start, _ in level.spoken(models.vad_analyzer(), microphone, each))
            for each in (None, CallerLevel())
        ]
        lines.append(
            f"at {dbfs:.0f} dBFS: {counts[0]} without, {counts[1]} with the caller's level"
        )
    lines.append("A caller who moves away: seconds until the next speech is heard")
    for change_db in (-10.0, -16.0, -20.0, -25.0):
        moved = joined([scaled(each, level.CALLER_DBFS + change_db) for each in sentences[2:]], 1.0)
        microphone = np.concatenate([caller, moved])
        starts = [
            start - after - 1.0
            for start, _ in level.spoken(models.vad_analyzer(), microphone, CallerLevel())
            if start > after
        ]
        lines.append(
            f"{change_db:.0f} dB: {starts[0]:.1f} s" if starts else f"{change_db:.0f} dB: not"
        )
    return lines


def noises(recordings: Recordings, hearing: Hearing, config: TurnConfig) -> list[str]:
    """Return the lines about sounds that are not the caller, after a sentence of the caller."""
    sentence = level.sentences(recordings, 1, seed=1)[0]
    sounds = {"silence": silence(level.NOISE_SECONDS)}
    for dbfs in (-23.0, -33.0):
        for number, piece in enumerate(level.music(recordings)):
            sounds[f"music on hold {number + 1} at {dbfs:.0f} dBFS"] = scaled(piece, dbfs)
    sounds["ringing tone at -23 dBFS"] = scaled(level.ringing(), -23.0)
    sounds["engaged tone at -23 dBFS"] = scaled(level.engaged(), -23.0)
    for below_db in (5.0, 10.0, 15.0):
        sounds[f"babble {below_db:.0f} dB below the caller"] = level.babble(
            recordings, level.NOISE_SECONDS, level.CALLER_DBFS - below_db
        )
    lines = ["", "A sentence, then 60 s of another sound; with the caller's level and no words"]
    lines.append(f"{'sound':34}{'turns a minute':>15}{'longest turn, s':>17}")
    for name, sound in sounds.items():
        microphone = np.concatenate([sentence, sound])
        microphone[: len(sentence)] += sound[: len(sentence)] if "babble" in name else 0
        clip = Clip(name, "noise", "reported", microphone)
        outcome = replay(observe(clip, hearing, config), EndpointingPolicy(config), config, hearing)
        lines.append(f"{name:34}{outcome.turns - 1:15}{outcome.open_seconds:17.1f}")
    return [*lines, *false_turns(recordings, hearing, config, sentence)]


def false_turns(
    recordings: Recordings, hearing: Hearing, config: TurnConfig, sentence: np.ndarray
) -> list[str]:
    """Return the lines about short sounds without words: how many are turns, how many are answered.

    A turn in which no words are heard is not answered.
    """
    policy, pause = EndpointingPolicy(config), silence(FALSE_TURN_PAUSE_SECONDS)
    sounds = speech.sounds(recordings)
    lines = ["", f"{len(sounds)} sounds without words: turns, and turns with words"]
    for name, before in (("alone", pause), ("after a sentence", np.append(sentence, pause))):
        turns, with_words = 0, 0
        for number, (sound, samples) in enumerate(sounds.items()):
            hearing_tables.progress(number + 1, len(sounds), "sounds")
            clip = Clip(sound, "noise", "reported", np.concatenate([before, samples, pause]))
            own = int(before is not pause)  # the sentence is a turn
            if replay(observe(clip, hearing, config), policy, config, hearing).turns > own:
                turns += 1
                with_words += bool(filter_words(hearing.recognize(samples)))
        hearing_tables.progress_end()
        lines.append(f"{name:34}{turns:15}{with_words:17}")
    return lines


if __name__ == "__main__":
    main()
