"""Check that a conversation is transcribed, answered in speech, fast enough and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.limits import AcceptanceLimits
from appliance.acceptance.report import (
    CheckResult,
    SpokenTurn,
    format_seconds,
    judge,
    skip,
)
from appliance.acceptance.script import Question, agreement, missing
from appliance.gpu_proof.record import percentile

CHECK = "conversation"
TURNS_PER_CALL = 12  # a call has a time limit, and more turns would only add history
PAUSE_SECONDS = 0.3  # before each question, as between two people and in `client say`
TRANSCRIPTION_ADVICE = (
    "Check the speech recognizer: the seal, its weights, VOICE_TURN_VAD_MIN_VOLUME."
)
SYNTHESIS_ADVICE = "Check the TTS engine: VOICE_TTS_VOICE, its weights, its device."
ANSWER_ADVICE = "Check the LLM engine: its weights, its log, VOICE_LLM_SYSTEM_PROMPT."
HISTORY_ADVICE = (
    "Check that VOICE_LLM_HISTORY_TOKENS and VOICE_LLM_HISTORY_TURNS leave room for the history."
)
LATENCY_ADVICE = (
    "Look at the slowest stage in the report, and for other load on this machine or its GPU."
)


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Ask the questions and check the answers. Raises ClientError and EngineFailed."""
    questions: list[Question] = []
    remaining = context.options.turns
    while remaining > 0:
        call_questions = script.conversation(min(remaining, TURNS_PER_CALL))
        await _call(context, call_questions)
        questions += call_questions
        remaining -= len(call_questions)
    return evaluate(questions, context.turns, context.limits, context.settings.journal.transcripts)


async def _call(context: AcceptanceContext, questions: Sequence[Question]) -> None:
    async with context.call() as talk:
        for question in questions:
            pcm = await context.voice.say(question.text)
            await asyncio.sleep(PAUSE_SECONDS)
            record = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
            context.tally.turn_ended(record)
            context.turns.append(
                SpokenTurn(
                    said=question.text,
                    understood=record.user_text,
                    reply=record.reply_text,
                    sounded=await context.voice.transcribe(record.reply_pcm),
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

    has_texts   whether the appliance sends transcripts and replies to callers as text
    """
    pairs = list(zip(questions, turns, strict=True))
    memory = [(question, turn) for question, turn in pairs if question in script.MEMORY]
    knowledge = [(question, turn) for question, turn in pairs if question not in script.MEMORY]
    return [
        _answered_aloud(turns),
        _understood(pairs) if has_texts else skip("words", "the appliance sends no transcripts"),
        _correct("words", knowledge, has_texts, ANSWER_ADVICE),
        _intelligible(turns, limits)
        if has_texts
        else skip("words", "the appliance sends no reply texts"),
        _correct("memory", memory, has_texts, HISTORY_ADVICE),
        *_fast(turns, limits),
    ]


def _answered_aloud(turns: Sequence[SpokenTurn]) -> CheckResult:
    unanswered = [turn for turn in turns if turn.outcome != "answered" or turn.latency is None]
    actual = f"{len(turns) - len(unanswered)} of {len(turns)} questions answered in speech"
    if unanswered:
        actual += f"; {unanswered[0].said!r} had the outcome {unanswered[0].outcome}"
    return judge("words", not unanswered, actual, "all questions answered", ANSWER_ADVICE)


def _understood(pairs: Sequence[tuple[Question, SpokenTurn]]) -> CheckResult:
    misheard = [
        f"{question.text!r} was transcribed as {turn.understood!r}"
        for question, turn in pairs
        if missing(question.understood, turn.understood)
    ]
    actual = misheard[0] if misheard else f"{len(pairs)} of {len(pairs)} questions understood"
    return judge(
        "words", not misheard, actual, "the key words of each question", TRANSCRIPTION_ADVICE
    )


def _correct(
    check: str, pairs: Sequence[tuple[Question, SpokenTurn]], has_texts: bool, advice: str
) -> CheckResult:
    """Check for the expected words in each reply.

    Without reply texts from the appliance, the transcript of the reply's audio is searched.
    """
    wrong: list[str] = []
    right: list[str] = []
    for question, turn in pairs:
        reply = turn.reply if has_texts else turn.sounded
        line = f"{question.text!r} was answered {reply!r}"
        (wrong if missing(question.answered, reply) else right).append(line)
    words = {word for question, _ in pairs for word in question.answered}
    actual = wrong[0] if wrong else right[-1] if right else "no question was asked"
    expected = "answers that contain " + ", ".join(sorted(words))
    return judge(check, not wrong, actual, expected, advice)


def _intelligible(turns: Sequence[SpokenTurn], limits: AcceptanceLimits) -> CheckResult:
    shares = [agreement(turn.reply, turn.sounded) for turn in turns]
    mean = fmean(shares) if shares else 0.0
    actual = f"{mean:.0%} of the replies' words recognised in their audio"
    if shares and mean < limits.agreement:
        worst = turns[shares.index(min(shares))]
        actual += f"; {worst.reply!r} sounded like {worst.sounded!r}"
    expected = f"{limits.agreement:.0%} or more"
    return judge("words", mean >= limits.agreement, actual, expected, SYNTHESIS_ADVICE)


def _fast(turns: Sequence[SpokenTurn], limits: AcceptanceLimits) -> list[CheckResult]:
    latencies = [turn.latency for turn in turns if turn.latency is not None]
    if not latencies:
        return [
            CheckResult("latency", "fail", "no answer was heard", "audible answers", ANSWER_ADVICE)
        ]
    results = []
    for name, share, limit in (
        ("p50", 0.5, limits.voice_to_voice_p50),
        ("p95", 0.95, limits.voice_to_voice_p95),
    ):
        latency = percentile(latencies, share)
        actual = f"voice to voice {name} {format_seconds(latency)} over {len(latencies)} turns"
        expected = f"at most {format_seconds(limit)}"
        results.append(judge("latency", latency <= limit, actual, expected, LATENCY_ADVICE))
    return results
