"""Check how long the bot stays audible after a caller starts to speak over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, format_seconds, judge, skip
from appliance.gpu_proof.record import percentile

CHECK = "interruption"
INTERRUPT_AFTER_SECONDS = 0.4  # of audible answer; the first phrase is longer than that
TRIES = 4  # calls per interruption at most: an answer can end, or pause, before it is interrupted
ADVICE = "Check VOICE_TURN_VAD_INTERRUPT_SECONDS and the load of this machine."


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Interrupt the configured number of answers. Raises ClientError and EngineFailed."""
    if context.settings.turn.half_duplex:
        return [skip(CHECK, "this appliance does not listen while it speaks (half_duplex)")]
    answered = 0
    interruptions = context.options.interruptions
    for number in range(interruptions * TRIES):
        if len(context.barge_in_stop_seconds) == interruptions:
            break
        answered += await _interrupt(context, context.voices.voice_of(number))
    return evaluate(context.barge_in_stop_seconds, answered, context.limits.interruption_p95)


async def _interrupt(context: AcceptanceContext, voice: str) -> bool:
    """Interrupt a story with a question in this voice. Record the time until the bot is silent.

    Returns whether a time was recorded and the question was answered.
    """
    interruption = await context.voices.say(script.INTERRUPTION.text, voice)
    async with context.call() as talk:
        first = talk.say(await context.voices.say(script.STORY.text, voice))
        if await talk.audible(first) is None:
            context.tally.turn_ended(await talk.finished(first, ANSWER_SECONDS))
            return False
        await asyncio.sleep(INTERRUPT_AFTER_SECONDS)
        second = talk.say(interruption)
        story = await talk.finished(first, ANSWER_SECONDS)
        answer = await talk.finished(second, ANSWER_SECONDS)
        context.tally.turn_ended(story)
        context.tally.turn_ended(answer)
    if not (story.interrupted and story.heard.ended_at and answer.speech_started_at is not None):
        return False
    stop_seconds = story.heard.ended_at - answer.speech_started_at
    if stop_seconds <= 0:
        return False  # the bot was silent already, in a pause of the story
    context.barge_in_stop_seconds.append(stop_seconds)
    return answer.outcome == "answered"


def evaluate(stops: Sequence[float], answered: int, limit_seconds: float) -> list[CheckResult]:
    """Evaluate the interruptions.

    stops           for each interruption, seconds until silence at the caller
    answered        number of interruptions whose question was answered
    limit_seconds   limit for the 95th percentile of `stops`
    """
    if not stops:
        actual = "no answer could be interrupted"
        return [CheckResult(CHECK, "fail", actual, "interrupted answers", ADVICE)]
    p95 = percentile(stops, 0.95)
    return [
        judge(
            CHECK,
            p95 <= limit_seconds,
            f"silent at the caller after {format_seconds(p95)} (p95 of {len(stops)})",
            f"at most {format_seconds(limit_seconds)}",
            ADVICE,
        ),
        judge(
            CHECK,
            answered >= len(stops),
            f"{answered} of {len(stops)} interruptions answered",
            "all interruptions answered",
            "Look in the gateway's log for the turn that follows the interrupted one.",
        ),
    ]
