"""What ends a call, or never lets it begin; told to the caller."""

from __future__ import annotations

from typing import ClassVar

from appliance.errors.base import ApplianceError


class Refused(ApplianceError):
    """The connection was refused."""

    http_status: ClassVar[int] = 403
    retry_after_seconds: ClassVar[int | None] = None


class WrongToken(Refused):
    """The access token is missing or wrong."""

    reason = "wrong_token"
    advice = "Send 'Authorization: Bearer TOKEN' with the token from the appliance's token file."
    http_status = 401


class WrongOrigin(Refused):
    """Pages from this web origin may not connect."""

    reason = "wrong_origin"
    advice = "Add the origin to VOICE_GATEWAY_ALLOWED_ORIGINS, or open the page from there."
    http_status = 403


class TooManyAttempts(Refused):
    """Too many connection attempts from this address."""

    reason = "too_many_attempts"
    advice = "Wait, then try again; check the client's token if it keeps retrying."
    http_status = 429
    retry_after_seconds = 5


class Full(Refused):
    """All {limit} sessions are taken."""

    reason = "full"
    advice = "Try again when a call has ended, or raise VOICE_GATEWAY_MAX_SESSIONS."
    http_status = 503
    retry_after_seconds = 5


class NotReady(Refused):
    """The appliance is still starting: {waiting_for} is not ready."""

    reason = "not_ready"
    advice = "Wait for /readyz to answer 200; the logs of the named process say how far it is."
    http_status = 503
    retry_after_seconds = 3


class Draining(Refused):
    """The appliance is draining: calls go on, but it takes no new ones."""

    reason = "draining"
    advice = "Connect to another appliance, or wait until it is back."
    http_status = 503
    retry_after_seconds = 10


class SessionEnded(ApplianceError):
    """The session was ended."""

    close_code: ClassVar[int] = 1000


class BadFrame(SessionEnded):
    """The client sent something that is not allowed: {what}."""

    reason = "bad_frame"
    advice = "Send Pipecat protobuf frames: 16 kHz mono int16 audio and the documented messages."
    close_code = 1008


class FrameTooBig(SessionEnded):
    """The client sent a frame of {size_bytes} bytes; {limit_bytes} is the most."""

    reason = "frame_too_big"
    advice = "Send audio in frames of 20 to 100 ms."
    close_code = 1009


class TooFast(SessionEnded):
    """The client sent audio faster than a microphone can."""

    reason = "too_fast"
    advice = "Pace audio at real time."
    close_code = 1008


class HungUp(SessionEnded):
    """The call ended with a goodbye."""

    reason = "hung_up"
    advice = "Connect again for another call."
    close_code = 1000


class IdleTooLong(SessionEnded):
    """Nobody spoke for {seconds:g} seconds."""

    reason = "idle"
    advice = "Connect again to go on."
    close_code = 1000


class LastedTooLong(SessionEnded):
    """The session reached its limit of {seconds:g} seconds."""

    reason = "deadline"
    advice = "Connect again to go on, or raise VOICE_GATEWAY_SESSION_SECONDS."
    close_code = 1000


class ShuttingDown(SessionEnded):
    """The appliance is restarting."""

    reason = "shutdown"
    advice = "Connect again in a moment."
    close_code = 1012


class PipelineFailed(SessionEnded):
    """The session's pipeline failed."""

    reason = "internal"
    advice = "Connect again; the operator finds the cause in the gateway's log."
    close_code = 1011
