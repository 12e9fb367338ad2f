"""A conversation with known questions: was it understood, answered aloud, remembered, and fast?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean

from appliance.acceptance import script
from appliance.acceptance.report import Limits, Result, Sample, judged, percentile, seconds, skipped
from appliance.acceptance.script import Question, agreement, missing
from appliance.acceptance.site import ANSWER_SECONDS, Site, calling

CHECK = "conversation"
TURNS_PER_CALL = 12  # a call has its limits, and later questions would only make history longer
PAUSE_SECONDS = 0.3  # before each question, as a person needs it; the client's `say` does the same
HEARING = "Look at the recognizer: weights, VOICE_TURN_VAD_MIN_VOLUME, and the seal."
SPEAKING = "Look at the voice: VOICE_TTS_VOICE, its weights, its device."
ANSWERING = "Look at the speech-LLM: its weights, its log, VOICE_LLM_SYSTEM_PROMPT."
SLOW = "The slowest stage is in the report; is anything else on this machine, or on its card?"


async def check(site: Site) -> list[Result]:
    """Speaks and listens. Raises ClientError and EngineFailed."""
    asked: list[Question] = []
    left = site.wishes.turns
    while left > 0:
        questions = script.conversation(min(left, TURNS_PER_CALL))
        await _call(site, questions)
        asked += questions
        left -= len(questions)
    shown = site.given.journal.transcripts
    return judge(asked, site.turns, site.limits, shown)


async def _call(site: Site, questions: Sequence[Question]) -> None:
    async with calling(site.door, site.tally, site.greets) as talk:
        for question in questions:
            pcm = await site.voice.say(question.text)
            await asyncio.sleep(PAUSE_SECONDS)
            record = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
            site.tally.record(record)
            site.turns.append(
                Sample(
                    said=question.text,
                    understood=record.user_text,
                    reply=record.reply_text,
                    sounded=await site.voice.hear(record.reply_pcm),
                    outcome=record.outcome,
                    latency=record.voice_to_voice_seconds,
                    stages=record.stages,
                )
            )
            if talk.failure is not None:
                raise talk.failure


def judge(
    asked: Sequence[Question], turns: Sequence[Sample], limits: Limits, shown: bool
) -> list[Result]:
    """`shown`: whether the appliance tells callers the texts of their own calls."""
    pairs = list(zip(asked, turns, strict=True))
    told = [(question, turn) for question, turn in pairs if question in script.MEMORY]
    known = [(question, turn) for question, turn in pairs if question not in script.MEMORY]
    return [
        _aloud(turns),
        _understood(pairs) if shown else skipped("words", "callers are told no texts"),
        _answered("words", known, shown, ANSWERING),
        _sounds_as_written(turns, limits) if shown else skipped("words", "as above"),
        _answered(
            "memory",
            told,
            shown,
            "Look at VOICE_LLM_HISTORY_TOKENS and _TURNS: is the past kept?",
        ),
        *_fast(turns, limits),
    ]


def _aloud(turns: Sequence[Sample]) -> Result:
    silent = [turn for turn in turns if turn.outcome != "answered" or turn.latency is None]
    found = f"{len(turns) - len(silent)} of {len(turns)} questions answered aloud"
    if silent:
        found += f"; {silent[0].said!r} ended as {silent[0].outcome}"
    return judged("words", not silent, found, "all of them", ANSWERING)


def _understood(pairs: Sequence[tuple[Question, Sample]]) -> Result:
    wrong = [
        f"{question.text!r} was heard as {turn.understood!r}"
        for question, turn in pairs
        if missing(question.understood, turn.understood)
    ]
    found = wrong[0] if wrong else f"{len(pairs)} of {len(pairs)} questions understood"
    return judged("words", not wrong, found, "the words that were said", HEARING)


def _answered(
    check: str, pairs: Sequence[tuple[Question, Sample]], shown: bool, advice: str
) -> Result:
    """The expected words, in the text of the reply or, where it is not told, in its sound."""
    wrong: list[str] = []
    right: list[str] = []
    for question, turn in pairs:
        said = turn.reply if shown else turn.sounded
        line = f"{question.text!r} was answered {said!r}"
        (wrong if missing(question.answered, said) else right).append(line)
    wanted = {word for question, _ in pairs for word in question.answered}
    found = wrong[0] if wrong else right[-1] if right else "nothing asked"
    return judged(check, not wrong, found, "answers with " + ", ".join(sorted(wanted)), advice)


def _sounds_as_written(turns: Sequence[Sample], limits: Limits) -> Result:
    parts = [agreement(turn.reply, turn.sounded) for turn in turns]
    mean = fmean(parts) if parts else 0.0
    worst = turns[parts.index(min(parts))] if parts else None
    found = f"{mean:.0%} of the replies' words recognised in their sound"
    if worst and mean < limits.agreement:
        found += f"; {worst.reply!r} sounded as {worst.sounded!r}"
    return judged(
        "words", mean >= limits.agreement, found, f"{limits.agreement:.0%} or more", SPEAKING
    )


def _fast(turns: Sequence[Sample], limits: Limits) -> list[Result]:
    took = [turn.latency for turn in turns if turn.latency is not None]
    if not took:
        return [Result("latency", "fail", "no answer was heard", "answers", ANSWERING)]
    results = []
    for name, share, limit in (
        ("p50", 0.5, limits.voice_to_voice_p50),
        ("p95", 0.95, limits.voice_to_voice_p95),
    ):
        value = percentile(took, share)
        found = f"voice to voice {name} {seconds(value)} of {len(took)} turns"
        wanted = f"at most {seconds(limit)}"
        results.append(judged("latency", value <= limit, found, wanted, SLOW))
    return results
