"""A caller who talks into an answer: how long until it is silent at the caller's ear?"""

from __future__ import annotations

import asyncio

from appliance.acceptance import script
from appliance.acceptance.report import Result, judged, percentile, seconds, skipped
from appliance.acceptance.site import ANSWER_SECONDS, Site, calling

CHECK = "interruption"
INTO_SECONDS = 0.4  # after the answer begins to sound: its first phrase is longer than that
TRIES = 2  # for each interruption wanted: an answer can be over before it is interrupted
ADVICE = "Look at VOICE_TURN_VAD_START_SECONDS, and at what else this machine does."


async def check(site: Site) -> list[Result]:
    """Interrupts some answers. Raises ClientError and EngineFailed."""
    if site.given.turn.half_duplex:
        return [skipped(CHECK, "this appliance does not listen while it speaks (half_duplex)")]
    answered = 0
    wanted = site.wishes.interruptions
    for _ in range(wanted * TRIES):
        if len(site.stops) == wanted:
            break
        answered += await _interrupt(site)
    return judge(site.stops, answered, site.limits.interruption_p95)


async def _interrupt(site: Site) -> bool:
    """Adds the time until silence, if there was something to silence; was the second answered?"""
    story, question = script.LONG, script.INTERRUPTION
    pcm = await site.voice.say(question.text)
    async with calling(site.door, site.tally, site.greets) as talk:
        first = talk.say(await site.voice.say(story.text))
        if await talk.audible(first) is None:
            site.tally.record(await talk.finished(first, ANSWER_SECONDS))
            return False
        await asyncio.sleep(INTO_SECONDS)
        second = talk.say(pcm)
        cut = await talk.finished(first, ANSWER_SECONDS)
        after = await talk.finished(second, ANSWER_SECONDS)
        site.tally.record(cut)
        site.tally.record(after)
    if not (cut.interrupted and cut.heard.ended_at and after.speech_started_at is not None):
        return False
    took = cut.heard.ended_at - after.speech_started_at
    if took <= 0:
        return False  # There was a gap in the answer just then: nothing sounded to be silenced.
    site.stops.append(took)
    return after.outcome == "answered"


def judge(stops: list[float], answered: int, limit: float) -> list[Result]:
    """`answered` of the interruptions were answered themselves."""
    if not stops:
        return [Result(CHECK, "fail", "no answer could be interrupted", "silence", ADVICE)]
    p95 = percentile(stops, 0.95)
    return [
        judged(
            CHECK,
            p95 <= limit,
            f"silent at the caller after {seconds(p95)} (p95 of {len(stops)})",
            f"at most {seconds(limit)}",
            ADVICE,
        ),
        judged(
            CHECK,
            answered >= len(stops),
            f"{answered} of {len(stops)} interruptions answered",
            "all of them",
            "Look at the gateway's log: what became of the turn after the interrupted one?",
        ),
    ]
