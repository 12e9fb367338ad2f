"""How long is the bot still heard after a caller starts to speak?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.report import CheckResult, format_seconds, judge, percentile, skip
from appliance.acceptance.site import Site

CHECK = "interruption"
INTERRUPT_AFTER_SECONDS = 0.4  # of an audible answer; its first phrase is longer
TRIES = 2  # calls per interruption, because an answer can end before it is interrupted
ADVICE = "Check VOICE_TURN_VAD_START_SECONDS, and the load of this machine."


async def check(site: Site) -> list[CheckResult]:
    """Interrupt some answers. Raises ClientError and EngineFailed."""
    if site.settings.turn.half_duplex:
        return [skip(CHECK, "this appliance does not listen while it speaks (half_duplex)")]
    answered = 0
    wanted = site.options.interruptions
    for _ in range(wanted * TRIES):
        if len(site.stops) == wanted:
            break
        answered += await _interrupt(site)
    return evaluate(site.stops, answered, site.limits.interruption_p95)


async def _interrupt(site: Site) -> bool:
    """Ask for a story, interrupt it with a question, and add the time to silence to site.stops.

    Return whether there was a silence to time and the question was answered.
    """
    interruption = await site.voice.say(script.INTERRUPTION.text)
    async with site.call() as talk:
        first = talk.say(await site.voice.say(script.STORY.text))
        if await talk.audible(first) is None:
            site.tally.turn_ended(await talk.finished(first, ANSWER_SECONDS))
            return False
        await asyncio.sleep(INTERRUPT_AFTER_SECONDS)
        second = talk.say(interruption)
        story = await talk.finished(first, ANSWER_SECONDS)
        answer = await talk.finished(second, ANSWER_SECONDS)
        site.tally.turn_ended(story)
        site.tally.turn_ended(answer)
    if not (story.interrupted and story.heard.ended_at and answer.speech_started_at is not None):
        return False
    stop_seconds = story.heard.ended_at - answer.speech_started_at
    if stop_seconds <= 0:
        return False  # the story had a pause just then: there was nothing to silence
    site.stops.append(stop_seconds)
    return answer.outcome == "answered"


def evaluate(stops: Sequence[float], answered: int, limit_seconds: float) -> list[CheckResult]:
    """Evaluate the interruptions; `answered` of them were answered."""
    if not stops:
        return [CheckResult(CHECK, "fail", "no answer could be interrupted", "silence", ADVICE)]
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
            "all of them",
            "The gateway's log shows what became of the turn after the interrupted one.",
        ),
    ]
