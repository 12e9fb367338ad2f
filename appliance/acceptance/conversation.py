"""Is a conversation understood, answered aloud and fast, and remembered?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.limits import AcceptanceLimits
from appliance.acceptance.report import (
    CheckResult,
    SpokenTurn,
    format_seconds,
    judge,
    percentile,
    skip,
)
from appliance.acceptance.script import Question, agreement, missing
from appliance.acceptance.site import Site

CHECK = "conversation"
TURNS_PER_CALL = 12  # calls are limited, and more turns would only add history
PAUSE_SECONDS = 0.3  # before each question, like a person, and like `client say`
HEARING = "Check the recognizer: weights, VOICE_TURN_VAD_MIN_VOLUME, and the seal."
SPEAKING = "Check the voice: VOICE_TTS_VOICE, its weights, its device."
ANSWERING = "Check the speech-LLM: its weights, its log, VOICE_LLM_SYSTEM_PROMPT."
HISTORY = "Check VOICE_LLM_HISTORY_TOKENS and VOICE_LLM_HISTORY_TURNS: is the history kept?"
SLOW = "The report shows the slowest stage; is there other load on this machine or its card?"


async def check(site: Site) -> list[CheckResult]:
    """Hold the conversation. Raises ClientError and EngineFailed."""
    questions: list[Question] = []
    left = site.options.turns
    while left > 0:
        call_questions = script.conversation(min(left, TURNS_PER_CALL))
        await _call(site, call_questions)
        questions += call_questions
        left -= len(call_questions)
    return evaluate(questions, site.turns, site.limits, site.settings.journal.transcripts)


async def _call(site: Site, questions: Sequence[Question]) -> None:
    async with site.call() as talk:
        for question in questions:
            pcm = await site.voice.say(question.text)
            await asyncio.sleep(PAUSE_SECONDS)
            record = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
            site.tally.turn_ended(record)
            site.turns.append(
                SpokenTurn(
                    said=question.text,
                    understood=record.user_text,
                    reply=record.reply_text,
                    sounded=await site.voice.transcribe(record.reply_pcm),
                    outcome=record.outcome,
                    latency=record.voice_to_voice_seconds,
                    stages=record.stages,
                )
            )
            if talk.failure is not None:
                raise talk.failure


def evaluate(
    questions: Sequence[Question],
    turns: Sequence[SpokenTurn],
    limits: AcceptanceLimits,
    has_texts: bool,
) -> list[CheckResult]:
    """Evaluate a conversation.

    has_texts   the appliance sends transcripts and replies to callers as text
    """
    pairs = list(zip(questions, turns, strict=True))
    memory = [(question, turn) for question, turn in pairs if question in script.MEMORY]
    knowledge = [(question, turn) for question, turn in pairs if question not in script.MEMORY]
    return [
        _answered_aloud(turns),
        _understood(pairs) if has_texts else skip("words", "the appliance sends no texts"),
        _correct("words", knowledge, has_texts, ANSWERING),
        _intelligible(turns, limits)
        if has_texts
        else skip("words", "the appliance sends no texts"),
        _correct("memory", memory, has_texts, HISTORY),
        *_fast(turns, limits),
    ]


def _answered_aloud(turns: Sequence[SpokenTurn]) -> CheckResult:
    silent = [turn for turn in turns if turn.outcome != "answered" or turn.latency is None]
    found = f"{len(turns) - len(silent)} of {len(turns)} questions answered aloud"
    if silent:
        found += f"; {silent[0].said!r} ended as {silent[0].outcome}"
    return judge("words", not silent, found, "all of them", ANSWERING)


def _understood(pairs: Sequence[tuple[Question, SpokenTurn]]) -> CheckResult:
    misheard = [
        f"{question.text!r} was heard as {turn.understood!r}"
        for question, turn in pairs
        if missing(question.understood, turn.understood)
    ]
    found = misheard[0] if misheard else f"{len(pairs)} of {len(pairs)} questions understood"
    return judge("words", not misheard, found, "the words that were said", HEARING)


def _correct(
    check: str, pairs: Sequence[tuple[Question, SpokenTurn]], has_texts: bool, advice: str
) -> CheckResult:
    """Check for the expected words, in the text of the reply or else in its transcript."""
    wrong: list[str] = []
    right: list[str] = []
    for question, turn in pairs:
        reply = turn.reply if has_texts else turn.sounded
        line = f"{question.text!r} was answered {reply!r}"
        (wrong if missing(question.answered, reply) else right).append(line)
    words = {word for question, _ in pairs for word in question.answered}
    found = wrong[0] if wrong else right[-1] if right else "nothing asked"
    return judge(check, not wrong, found, "answers with " + ", ".join(sorted(words)), advice)


def _intelligible(turns: Sequence[SpokenTurn], limits: AcceptanceLimits) -> CheckResult:
    shares = [agreement(turn.reply, turn.sounded) for turn in turns]
    mean = fmean(shares) if shares else 0.0
    found = f"{mean:.0%} of the replies' words recognised in their audio"
    if shares and mean < limits.agreement:
        worst = turns[shares.index(min(shares))]
        found += f"; {worst.reply!r} sounded like {worst.sounded!r}"
    wanted = f"{limits.agreement:.0%} or more"
    return judge("words", mean >= limits.agreement, found, wanted, SPEAKING)


def _fast(turns: Sequence[SpokenTurn], limits: AcceptanceLimits) -> list[CheckResult]:
    latencies = [turn.latency for turn in turns if turn.latency is not None]
    if not latencies:
        return [CheckResult("latency", "fail", "no answer was heard", "answers", ANSWERING)]
    results = []
    for name, share, limit in (
        ("p50", 0.5, limits.voice_to_voice_p50),
        ("p95", 0.95, limits.voice_to_voice_p95),
    ):
        latency = percentile(latencies, share)
        found = f"voice to voice {name} {format_seconds(latency)} of {len(latencies)} turns"
        wanted = f"at most {format_seconds(limit)}"
        results.append(judge("latency", latency <= limit, found, wanted, SLOW))
    return results
