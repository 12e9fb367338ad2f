"""The client's words for every refusal and every end of a call in the gateway's catalogue."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from typing import TypeVar

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close
from websockets.http11 import Response

from appliance.errors import ApplianceError, Refused, SessionEnded
from appliance.gateway.http.endpoints import denial
from appliance.gateway.session_socket import MAX_CLOSE_REASON_CHARS
from client.errors import BotHungUp, CallDropped, ClientError
from client.explain import explain_close, explain_status

T = TypeVar("T", bound=ApplianceError)
REFUSALS = Refused.__subclasses__()
ENDS = SessionEnded.__subclasses__()
ABOUT_FRAMES = {"bad_frame", "frame_too_big"}  # here the versions may be the cause
# What is said in the client's own words.
OWN_WORDS = {"unknown_path": "nothing at this path", "hung_up": "the bot said goodbye"}


def example(kind: type[T]) -> T:
    """Return an error of this class, whose details have the value 7."""
    names = [name for _, name, *_ in string.Formatter().parse(kind.__doc__ or "") if name]
    return kind(**dict.fromkeys(names, 7))


def refused(kind: type[Refused]) -> ClientError:
    """Return the client's error for the response that the gateway sends."""
    answer = denial(example(kind))
    headers = Headers(answer.headers.items())
    return explain_status(Response(answer.status_code, "", headers, bytes(answer.body)), "box:1")


def ended(kind: type[SessionEnded]) -> CallDropped:
    """Return the client's error for the close frame that the gateway sends."""
    text = f"{kind.reason}: {example(kind)}"[:MAX_CLOSE_REASON_CHARS]
    return explain_close(ConnectionClosedError(Close(kind.close_code, text), None))


def check(error: ClientError, kind: type[Refused | SessionEnded]) -> None:
    """Check that the text names what happened, and what to do, and blames no version wrongly."""
    text = str(error)
    assert OWN_WORDS.get(kind.reason, str(example(kind)).rstrip(".")) in text
    assert ("version" in text) == (kind.reason in ABOUT_FRAMES)
    assert text.isprintable()


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.reason)
def test_refusal_says_why_and_what_to_do(kind: type[Refused]) -> None:
    error = refused(kind)
    check(error, kind)
    assert error.exit_code == (4 if kind.reason == "unknown_path" else 3)
    if kind.reason not in ("wrong_token", "unknown_path"):
        assert kind.advice in str(error)


def test_only_a_missing_or_wrong_token_is_to_be_named() -> None:
    named = {kind.reason for kind in REFUSALS if "--token-file" in str(refused(kind))}
    assert named == {"wrong_token"}


def test_what_passes_soon_is_tried_again() -> None:
    again = {kind.reason for kind in REFUSALS if refused(kind).retryable}
    assert again == {"too_many_attempts", "token_full", "full", "not_ready", "draining", "closed"}
    assert {kind.reason for kind in ENDS if ended(kind).retryable} == {"shutdown", "internal"}


@pytest.mark.parametrize("kind", ENDS, ids=lambda kind: kind.reason)
def test_end_of_a_call_says_why_and_what_to_do(kind: type[SessionEnded]) -> None:
    error = ended(kind)
    check(error, kind)
    if kind.reason == "hung_up":
        assert isinstance(error, BotHungUp) and error.exit_code == 0
        return
    assert error.exit_code == 5
    happened, advice = str(error).rsplit("; ", 1)
    assert happened.endswith(f"({kind.reason}, {kind.close_code})")
    assert advice


def test_advice_fits_the_kind_of_end() -> None:
    advice = defaultdict(set)
    for kind in ENDS:
        for word in re.findall(
            r"call again|new token|tomorrow|pace|connect again", str(ended(kind))
        ):
            advice[word].add(kind.reason)
    assert advice == {
        "call again": {"idle", "made_room", "deadline", "daily_minutes"},
        "new token": {"token_revoked", "token_expired"},
        "tomorrow": {"daily_minutes"},
        "pace": {"too_fast"},
        "connect again": {"shutdown", "internal"},
    }
