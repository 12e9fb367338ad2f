"""Check that a conversation is transcribed, answered in speech, fast enough and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
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
from client.conversation import Conversation

CHECK = "conversation"
TURNS_PER_CALL = 12  # a call has a time limit, and more turns would only add history
RECALL_TRIES = 3  # further times that RECALL is asked, each in another voice, if it was misheard
PAUSE_SECONDS = 0.3  # before each question, as between two people and in `client say`
TRANSCRIPTION_ADVICE = (
    "Check the speech recognizer: the seal, its weights, VOICE_TURN_MIN_SPEECH_DBFS."
)
SYNTHESIS_ADVICE = "Check the TTS engine: VOICE_TTS_VOICE, its weights, its device."
ANSWER_ADVICE = "Check the LLM engine: its weights, its log, VOICE_LLM_SYSTEM_PROMPT."
HISTORY_ADVICE = (
    "Check that VOICE_LLM_HISTORY_TOKENS and VOICE_LLM_HISTORY_TURNS leave room for the history,"
    " and VOICE_LLM_SYSTEM_PROMPT."
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
        questions += await _ask(context, call_questions)
        remaining -= len(call_questions)
    await _play(context)
    has_texts = context.settings.journal.transcripts
    return evaluate(questions, context.turns, context.limits, has_texts)


async def _ask(context: AcceptanceContext, questions: Sequence[Question]) -> list[Question]:
    """Ask the questions in one call, and return what was asked. The voices take turns.

    RECALL is asked again while it was misheard each time: it alone tests the memory.
    """
    asked: list[Question] = []
    has_texts = context.settings.journal.transcripts
    async with context.call() as talk:

        async def ask(question: Question) -> None:
            voice = context.voices.voice_of(len(asked))
            pcm = await context.voices.say(question.text, voice)
            await _take_turn(context, talk, question.text, voice, pcm)
            asked.append(question)

        for question in questions:
            await ask(question)
        for _ in range(RECALL_TRIES):
            recalls = _recalls(zip(asked, context.turns[-len(asked) :], strict=True))
            if not recalls or _heard(recalls, has_texts):
                break
            await ask(script.RECALL)
    return asked


async def _play(context: AcceptanceContext) -> None:
    """Play the site's recordings, TURNS_PER_CALL in a call."""
    for first in range(0, len(context.recordings), TURNS_PER_CALL):
        async with context.call() as talk:
            for each in context.recordings[first : first + TURNS_PER_CALL]:
                await _take_turn(context, talk, each.text, each.name, each.pcm)


async def _take_turn(
    context: AcceptanceContext, talk: Conversation, text: str, voice: str, pcm: bytes
) -> None:
    """Say one question and hear its answer. Raises the error with which the call ended, if any."""
    await asyncio.sleep(PAUSE_SECONDS)
    record = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
    context.tally.turn_ended(record)
    context.turns.append(
        SpokenTurn(
            said=text,
            understood=record.user_text,
            reply=record.reply_text,
            sounded=await context.ear.transcribe(record.reply_pcm),
            outcome=record.outcome,
            latency=record.voice_to_voice_seconds,
            stages=record.stages,
            voice=voice,
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
    """Evaluate a conversation: the turns of the questions, then those of the site's recordings.

    has_texts   whether the appliance sends transcripts and replies to callers as text
    """
    pairs = list(zip(questions, turns[: len(questions)], strict=True))
    recorded = turns[len(questions) :]  # nobody knows their answers
    memory = [(question, turn) for question, turn in pairs if question in script.MEMORY]
    knowledge = [(question, turn) for question, turn in pairs if question not in script.MEMORY]
    return [
        _answered_aloud(turns),
        _understood(pairs, recorded, limits)
        if has_texts
        else skip("words", "the appliance sends no transcripts"),
        _correct(knowledge, has_texts),
        _intelligible(turns, limits)
        if has_texts
        else skip("words", "the appliance sends no reply texts"),
        _remembered(memory, has_texts),
        *_fast(turns, limits),
    ]


def _answered_aloud(turns: Sequence[SpokenTurn]) -> CheckResult:
    unanswered = [turn for turn in turns if turn.outcome != "answered" or turn.latency is None]
    actual = f"{len(turns) - len(unanswered)} of {len(turns)} questions answered in speech"
    if unanswered:
        actual += f"; {unanswered[0].said!r} had the outcome {unanswered[0].outcome}"
    return judge("words", not unanswered, actual, "all questions answered", ANSWER_ADVICE)


def _understood(
    pairs: Sequence[tuple[Question, SpokenTurn]],
    recorded: Sequence[SpokenTurn],
    limits: AcceptanceLimits,
) -> CheckResult:
    """Check for the key words of each question, and for the share of each recording's words."""
    wrong = [turn for question, turn in pairs if missing(question.understood, turn.understood)]
    wrong += [turn for turn in recorded if agreement(turn.said, turn.understood) < limits.agreement]
    misheard = [
        f"{turn.said!r}, spoken by {turn.voice}, was transcribed as {turn.understood!r}"
        for turn in wrong
    ]
    count = len(pairs) + len(recorded)
    actual = misheard[0] if misheard else f"{count} of {count} questions understood"
    return judge(
        "words", not misheard, actual, "the key words of each question", TRANSCRIPTION_ADVICE
    )


def _correct(pairs: Sequence[tuple[Question, SpokenTurn]], has_texts: bool) -> CheckResult:
    """Check for the expected words in each reply.

    Without reply texts from the appliance, the transcript of the reply's audio is searched.
    """
    wrong: list[str] = []
    right: list[str] = []
    for question, turn in pairs:
        reply = _reply(turn, has_texts)
        line = f"{question.text!r} was answered {reply!r}"
        (wrong if missing(question.answered, reply) else right).append(line)
    words = {word for question, _ in pairs for word in question.answered}
    actual = wrong[0] if wrong else right[-1] if right else "no question was asked"
    expected = "answers that contain " + ", ".join(sorted(words))
    return judge("words", not wrong, actual, expected, ANSWER_ADVICE)


def _remembered(pairs: Sequence[tuple[Question, SpokenTurn]], has_texts: bool) -> CheckResult:
    """Check that each answer to RECALL tells the caller the caller's name.

    Answers to another question, because this one was misheard, say nothing about the memory.
    """
    asked = _recalls(pairs)
    heard = _heard(asked, has_texts)
    if asked and not heard:
        return skip("memory", f"{asked[0].said!r} was transcribed as {asked[0].understood!r}")
    replies = [_reply(turn, has_texts) for turn in heard]
    wrong = [reply for reply in replies if not script.names_caller(reply)]
    shown = [*wrong, *reversed(replies)][:1]
    actual = "".join(f"{script.RECALL.text!r} was answered {reply!r}" for reply in shown)
    return judge(
        "memory",
        bool(replies) and not wrong,
        actual or "no question was asked",
        "answers that tell the caller the caller's name, such as 'Your name is Peter.'",
        HISTORY_ADVICE,
    )


def _recalls(pairs: Iterable[tuple[Question, SpokenTurn]]) -> list[SpokenTurn]:
    return [turn for question, turn in pairs if question == script.RECALL]


def _heard(recalls: Sequence[SpokenTurn], has_texts: bool) -> list[SpokenTurn]:
    """Return the turns whose RECALL was understood; without transcripts, all of them."""
    if not has_texts:
        return list(recalls)
    return [turn for turn in recalls if not missing(script.WHOSE, turn.understood)]


def _reply(turn: SpokenTurn, has_texts: bool) -> str:
    """Return the text of the answer, or without texts the transcript of its audio."""
    return turn.reply if has_texts else turn.sounded


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
    voices = {turn.voice for turn in turns}
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
        actual = (
            f"voice to voice {name} {format_seconds(latency)} at the caller's buffer,"
            f" over {len(latencies)} turns and {len(voices)} voices"
        )
        expected = f"at most {format_seconds(limit)}"
        results.append(judge("latency", latency <= limit, actual, expected, LATENCY_ADVICE))
    return results
