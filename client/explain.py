"""Translates errors of the server and the network into errors that a user understands."""

from __future__ import annotations

import email.utils
import json
import re
import socket
import ssl
import time
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.http11 import Response

from client.errors import BotHungUp, CallDropped, CallRefused, CannotConnect, ClientError

RETRYABLE_CLOSE_CODES = (1001, 1006, 1011, 1012, 1013)  # RFC 6455 section 7.4.1, IANA registry
CLOSE_REASON = re.compile(r"([a-z_]+): (.*)", re.DOTALL)  # the gateway's form of a close reason
SAME_VERSION = "are the appliance and this client of the same version?"
CALL_AGAIN = "call again to start a new conversation"
NEW_TOKEN = "ask the people who run the appliance for a new token"
# By the reason with which the gateway ends a call: docs/client-protocol.md lists them.
ENDED_ADVICE = {
    "bad_frame": SAME_VERSION,
    "protocol_error": "something between here and there changed the messages",
    "frame_too_big": SAME_VERSION,
    "too_fast": "this client must send audio at the pace of a microphone",
    "idle": CALL_AGAIN,
    "made_room": CALL_AGAIN,
    "deadline": CALL_AGAIN,
    "token_revoked": NEW_TOKEN,
    "token_expired": NEW_TOKEN,
    "daily_minutes": "call again tomorrow (UTC), or ask the people who run the appliance for more",
    "shutdown": "connect again in a moment",
    "internal": "connect again",
}
# For a reason that is not in the table, or for none.
CLOSE_ADVICE = {
    1008: "the appliance does not allow this; show this message to the people who run it",
    1009: f"this client sent a message that is too large; {SAME_VERSION}",
    1011: "the appliance had an internal error; connect again",
    1012: "the appliance is restarting; connect again in a moment",
    1013: "the appliance is overloaded; connect again later",
}
NAME_TOKEN = (
    "Name the file that holds the appliance's token with --token-file or VOICE_CLIENT_TOKEN_FILE."
)
# By the reason with which the gateway refuses a call, where its own advice is not for this client.
REFUSED_ADVICE = {"wrong_token": NAME_TOKEN}
# For a refusal without a message, such as that of a proxy.
REFUSED_STATUS = {
    401: f"wrong or missing access token. {NAME_TOKEN}",
    403: "forbidden",
    429: "too many attempts",
    503: "busy or not ready",
}
TEMPORARY_STATUS = (429, 503)
FINAL_REASONS = ("minutes_used",)  # not temporary, although its status is 429
MAX_SERVER_TEXT_CHARS = 300
# By OpenSSL's verify code (X509_V_ERR_... in x509_vfy.h); others are about the authority.
CERTIFICATE_ADVICE = {
    9: "it is not valid yet. Check the clock of this machine",
    10: "it has expired. It has to be renewed on the appliance; check also this machine's clock",
    47: "its authority may not issue certificates for this name",
    62: "it is for another name. Use a name that is in it",
    64: "it is for another address. Use a name or an address that is in it",
}


def explain_close(closed: ConnectionClosed) -> CallDropped:
    """Return the error for a connection that the server or the network closed.

    The gateway's close reason is `REASON: message`, see appliance/gateway/session_socket.py.
    """
    if closed.rcvd is None:
        return CallDropped("the call was dropped: the connection was lost", retryable=True)
    code, text = closed.rcvd.code, _printable(closed.rcvd.reason)
    found = CLOSE_REASON.fullmatch(text)
    reason, message = found.groups() if found else ("", text)
    if reason == "hung_up":
        return BotHungUp("the bot said goodbye and ended the call")
    if reason in ENDED_ADVICE:
        advice, label = ENDED_ADVICE[reason], f"{reason}, {code}"
    else:
        advice, label = CLOSE_ADVICE.get(code, "connect again to continue"), str(code)
        message = text or "no reason given"
    return CallDropped(
        f"the appliance ended the call: {message.rstrip('.')} ({label}); {advice}",
        retryable=code in RETRYABLE_CLOSE_CODES,
    )


def explain_failure(
    error: Exception, host: str, timeout_seconds: float, *, over_tls: bool = False
) -> ClientError:
    """Return the error for a connection that could not be opened."""
    match error:
        case InvalidStatus():
            return explain_status(error.response, host)
        case TimeoutError():
            text = f"{host} did not answer within {timeout_seconds:g} s"
            return CannotConnect(text, retryable=True)
        case ssl.SSLCertVerificationError():
            return CannotConnect(_explain_certificate(error, host))
        case ssl.SSLError() if "ALERT" in (error.reason or ""):
            return _certificate_refused(host, error)
        case InvalidMessage() if (alert := _tls_alert(error)) is not None:
            return _certificate_refused(host, alert)  # TLS 1.3 tells it after the handshake
        case ssl.SSLError():
            why = (error.reason or str(error)).replace("_", " ").lower()
            return CannotConnect(
                f"cannot open a TLS connection to {host}: {why}. Does it expect ws:// (no TLS)?"
            )
        case socket.gaierror():
            return CannotConnect(f"the host {host} was not found; check the URL")
        case InvalidMessage() | EOFError() | ConnectionResetError() if over_tls:
            return CannotConnect(
                f"{host} ended the connection after the TLS handshake. If it asks for client"
                " certificates, use one that it has issued, with --cert and --key.",
                retryable=True,
            )
        case InvalidMessage() | EOFError():
            return CannotConnect(
                f"{host} did not answer as a web server does. Does it expect wss:// (TLS)?",
                retryable=True,
            )
        case InvalidHandshake():
            return CannotConnect(f"{host} is not a voice appliance: {error}")
        case ConnectionRefusedError():
            return _nothing_listens(host)
        case OSError() if "Connect call failed" in str(error):  # asyncio, for several addresses
            return _nothing_listens(host)
        case _:
            return CannotConnect(f"cannot reach {host}: {error}", retryable=True)


def explain_status(response: Response, host: str) -> ClientError:
    """Return the error for an HTTP response that is not the WebSocket upgrade."""
    status = response.status_code
    reason, message = _refusal(response.body)
    if status == 404:
        return CannotConnect(f"{host} has nothing at this path (404); the usual path is /ws")
    if reason or status in REFUSED_STATUS:
        text = (
            f"{host} refused the call ({status}): {message or REFUSED_STATUS.get(status, reason)}"
        )
        temporary = status in TEMPORARY_STATUS and reason not in FINAL_REASONS
        retry_after = retry_after_seconds(response.headers.get("Retry-After"))
        return CallRefused(text, retryable=temporary, retry_after_seconds=retry_after)
    retryable = status in (502, 504)  # a proxy in front of a restarting appliance
    detail = f": {message}" if message else ""
    text = f"{host} returned {status} instead of accepting the call{detail}"
    return CannotConnect(text, retryable=retryable)


def retry_after_seconds(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Parse a Retry-After header (RFC 9110 section 10.2.3): seconds or a date; None if neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except ValueError:
        return None


def _explain_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    advice = CERTIFICATE_ADVICE.get(error.verify_code)
    why = error.verify_message.rstrip(".")
    if advice is not None:
        return f"the certificate of {host} cannot be trusted: {advice} ({why})."
    return (
        f"the certificate of {host} is not trusted: {why}."
        " Name the certificate authority that signed it with --ca or VOICE_CLIENT_CA;"
        " on the appliance, `voicectl tls export` prints it."
    )


def _certificate_refused(host: str, error: ssl.SSLError) -> CannotConnect:
    why = (error.reason or str(error)).replace("_", " ").lower()
    return CannotConnect(
        f"{host} ended the TLS handshake: {why}. If it asks for client certificates, use one that"
        " it has issued, with --cert and --key."
    )


def _tls_alert(error: BaseException) -> ssl.SSLError | None:
    """Return the TLS alert that caused an error, if one did."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _nothing_listens(host: str) -> CannotConnect:
    text = f"nothing listens at {host}; is the appliance running?"
    return CannotConnect(text, retryable=True)


def _refusal(body: bytes | bytearray | None) -> tuple[str, str]:
    """Return reason and text of the appliance's JSON response; both empty for any other body.

    The text is the message, and the advice for this client or else the appliance's own.
    """
    try:
        fields = json.loads(body or b"")
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(fields, dict):
        return "", ""
    reason, message, advice = (
        part if isinstance(part := fields.get(name), str) else ""
        for name in ("reason", "message", "advice")
    )
    text = f"{message} {REFUSED_ADVICE.get(reason, advice)}" if message else ""
    return _printable(reason), _printable(text)


def _printable(text: str) -> str:
    """Shorten a text to one line of limited length, without control characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line[:MAX_SERVER_TEXT_CHARS].strip()
