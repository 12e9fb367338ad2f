"""The catalogue of errors: everything that can go wrong, what it means and what to do about it.

The docstring of a class is its message template. The keyword arguments that it is raised with fill
the template in. The class attributes are:

    reason       short unique name: metric label, field of the log, `reason` on the wire
    advice       what the operator or the client should do
    http_status  HTTP status for a client that is refused before the WebSocket upgrade
    close_code   WebSocket close code of a session that this error ends (RFC 6455 section 7.4.1)
    exit_code    exit code of a process that exits with this error

    ApplianceError
     +-- Refused         a client is refused before the upgrade
     +-- SessionEnded    the appliance ends a session
     +-- EventRefused    an event of a client is refused; the session continues
     +-- EngineFailed    an engine could not serve a request of the gateway; the session continues
     +-- ModelUnhealthy  an engine's model is unhealthy: the process exits to be restarted
     +-- CannotStart     a process does not start, or a command cannot do its work
     +-- EndedItself     the appliance exits so that the host restarts it

Below, a heading begins each of these kinds, and within a kind the errors are grouped by what they
are about: tokens, TLS, model files, the GPU.

Exit codes: 0 means stopped on request. 64 to 78 are those of sysexits.h. After 70 and 71 a restart
can help; after 78 it cannot, because an operator must change something. 79 is a broken seal: the
installation must not be used. After 80 to 89 the appliance should be restarted.
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class ApplianceError(Exception):
    """Something went wrong."""

    reason: ClassVar[str] = ""
    advice: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, **details: object) -> None:
        self.details = details
        template = inspect.cleandoc(type(self).__doc__ or "").replace("\n", " ")
        super().__init__(template.format(**details))


# --- Refused: a client is refused before the WebSocket upgrade


class Refused(ApplianceError):
    """The connection was refused."""

    http_status: ClassVar[int] = 403
    retry_after_seconds: ClassVar[int | None] = None


# Refused because of its token or ticket


class WrongToken(Refused):
    """The access token is missing or wrong, or was sent more than once."""

    reason = "wrong_token"
    advice = (
        "Send 'Authorization: Bearer TOKEN' with a token that the appliance's operator created, or "
        "log in again."
    )
    http_status = 401


class ExpiredToken(Refused):
    """The access token has expired."""

    reason = "expired_token"
    advice = "Ask the appliance's operator for a new one: voicectl token create."
    http_status = 401


class WrongTicket(Refused):
    """The ticket is wrong or has expired, or was used before."""

    reason = "wrong_ticket"
    advice = "Get a new ticket with POST /start for each connection, and use it within 30 seconds."
    http_status = 401


class TokenInUrl(Refused):
    """An access token was sent in the URL, where logs would keep it."""

    reason = "token_in_url"
    advice = (
        "Replace this token: voicectl token revoke, then create. Send tokens in the header "
        "Authorization; ?token= takes only tickets of POST /start."
    )
    http_status = 400


class MinutesUsed(Refused):
    """All {limit} minutes that this access token may call in a day are used."""

    reason = "minutes_used"
    advice = "Wait until the next day begins (UTC), or give the token more minutes."
    http_status = 429
    retry_after_seconds = 3600


class TokenFull(Refused):
    """All {limit} sessions that one access token may have are taken."""

    reason = "token_full"
    advice = "End one of them, or raise VOICE_GATEWAY_MAX_SESSIONS_PER_TOKEN or the token's limit."
    http_status = 503
    retry_after_seconds = 5


# Refused because of where it comes from, or what it asks for


class WrongOrigin(Refused):
    """Pages from this web origin may not connect."""

    reason = "wrong_origin"
    advice = "Add the origin to VOICE_GATEWAY_ALLOWED_ORIGINS."
    http_status = 403


class NoClientCertificate(Refused):
    """Callers need a client certificate here, and none was presented."""

    reason = "no_client_certificate"
    advice = (
        "Use one that `voicectl tls client NAME` has issued: --cert and --key of the client, or "
        "import it into the browser."
    )
    http_status = 403


class TooManyAttempts(Refused):
    """This address or token has made too many connection attempts or unknown requests."""

    reason = "too_many_attempts"
    advice = "Wait, then try again. If the client keeps retrying, check its token."
    http_status = 429
    retry_after_seconds = 5


class UnknownPath(Refused):
    """There is nothing at this path."""

    reason = "unknown_path"
    advice = "Connect to /ws with a WebSocket. docs/client-protocol.md lists the other paths."
    http_status = 404


# Refused because of the state of the appliance


class Full(Refused):
    """All {limit} sessions are taken."""

    reason = "full"
    advice = "Try again when a session has ended, or raise VOICE_GATEWAY_MAX_SESSIONS."
    http_status = 503
    retry_after_seconds = 5


class NotReady(Refused):
    """The appliance is not ready: it waits for {waiting_for}."""

    reason = "not_ready"
    advice = "Wait until /readyz returns 200. The log of that process shows what it is doing."
    http_status = 503
    retry_after_seconds = 3


class Draining(Refused):
    """The appliance is draining: it accepts no new sessions."""

    reason = "draining"
    advice = "Connect to another appliance, or try again after the drain."
    http_status = 503
    retry_after_seconds = 10


class Closed(Refused):
    """The appliance is closed: it is being tested, and takes no callers yet."""

    reason = "closed"
    advice = "Connect to another appliance. Its operator opens this one: voicectl open."
    http_status = 503
    retry_after_seconds = 10


# --- SessionEnded: the appliance ends a session


class SessionEnded(ApplianceError):
    """The session was ended."""

    close_code: ClassVar[int] = 1000


# Ended because of what the client sent


class BadFrame(SessionEnded):
    """The client sent something that is not allowed: {what}."""

    reason = "bad_frame"
    advice = "Send Pipecat protobuf frames: 16 kHz mono int16 audio and the documented messages."
    close_code = 1008


class FrameTooBig(SessionEnded):
    """The client sent a frame of {size_bytes} bytes; the limit is {limit_bytes}."""

    reason = "frame_too_big"
    advice = "Send audio in frames of 20 to 100 ms."
    close_code = 1009


class ProtocolViolated(SessionEnded):
    """The client broke the WebSocket protocol: {what}."""

    reason = "protocol_error"
    advice = "Use a WebSocket library that follows RFC 6455."
    close_code = 1002


class TooFast(SessionEnded):
    """The client sent audio or messages faster than allowed."""

    reason = "too_fast"
    advice = "Send audio at the pace of a microphone, and at most 10 messages a second."
    close_code = 1008


# Ended because the call is over, or has had its time


class HungUp(SessionEnded):
    """The bot said goodbye and ended the session."""

    reason = "hung_up"
    advice = "Connect again to start a new session."
    close_code = 1000


class IdleTooLong(SessionEnded):
    """Nobody spoke for {seconds:g} seconds."""

    reason = "idle"
    advice = "Connect again to start a new session, or raise VOICE_GATEWAY_IDLE_SECONDS."
    close_code = 1000


class MadeRoom(SessionEnded):
    """Nobody spoke for {seconds:g} seconds, and another caller waited for a session."""

    reason = "made_room"
    advice = "Connect again to start a new session, or raise VOICE_GATEWAY_MAX_SESSIONS."
    close_code = 1000


class LastedTooLong(SessionEnded):
    """The session reached its limit of {seconds:g} seconds."""

    reason = "deadline"
    advice = "Connect again to start a new session, or raise VOICE_GATEWAY_SESSION_SECONDS."
    close_code = 1000


# Ended because of its token


class TokenRevoked(SessionEnded):
    """The access token of this session was revoked."""

    reason = "token_revoked"
    advice = "Ask the appliance's operator for a new token: voicectl token create."
    close_code = 1008


class TokenExpired(SessionEnded):
    """The access token of this session has expired."""

    reason = "token_expired"
    advice = "Ask the appliance's operator for a new token: voicectl token create."
    close_code = 1008


class DailyMinutesUsed(SessionEnded):
    """All {limit} minutes that this access token may call in a day are used."""

    reason = "daily_minutes"
    advice = "Wait until the next day begins (UTC), or give the token more minutes."
    close_code = 1008


# Ended because of the appliance


class ShuttingDown(SessionEnded):
    """The appliance is restarting."""

    reason = "shutdown"
    advice = "Connect again in a moment."
    close_code = 1012


class PipelineFailed(SessionEnded):
    """The session failed because of an internal error."""

    reason = "internal"
    advice = "Connect again. The gateway's log shows the cause."
    close_code = 1011


# --- EventRefused: an event of an OpenAI Realtime client is refused; the session continues
# The reasons are the codes of the `error` event. Where OpenAI's own service has a code for the same
# case, it is used.


class EventRefused(ApplianceError):
    """The client's event was refused; the session continues."""


class UnknownEvent(EventRefused):
    """There is no client event of the type {kind}."""

    reason = "unknown_event"
    advice = "Send the events that docs/client-protocol.md lists."


class InvalidEvent(EventRefused):
    """The event is not valid: {what}."""

    reason = "invalid_event"
    advice = "Send a JSON object with the fields of the OpenAI Realtime protocol."


class InvalidValue(EventRefused):
    """The value is not possible here: {what}."""

    reason = "invalid_value"
    advice = "Truncate a message to a part of the audio that was received of it."


class EventNotSupported(EventRefused):
    """This appliance does not support {what}."""

    reason = "not_supported"
    advice = "Leave it out; docs/client-protocol.md says what is supported."


class ResponseInProgress(EventRefused):
    """A response is in progress."""

    reason = "conversation_already_has_active_response"
    advice = "Wait for response.done, or send response.cancel first."


class NoResponseToCancel(EventRefused):
    """No response is in progress."""

    reason = "response_cancel_not_active"
    advice = "Send response.cancel only between response.created and response.done."


class NothingToAnswer(EventRefused):
    """There is no question that was not answered yet."""

    reason = "nothing_to_answer"
    advice = "Send conversation.item.create or input_audio_buffer.commit first."


class AudioBufferEmpty(EventRefused):
    """The input audio buffer has less than 100 ms of audio."""

    reason = "input_audio_buffer_commit_empty"
    advice = "Append audio before the commit."


class AudioBufferFull(EventRefused):
    """The question has more than {limit_seconds:g} seconds of audio; the rest is dropped."""

    reason = "input_audio_buffer_full"
    advice = "Commit earlier, or raise VOICE_LLM_MAX_UTTERANCE_SECONDS."


class AudioDropped(EventRefused):
    """Audio arrived faster than it is spoken, and the oldest of it was dropped."""

    reason = "audio_dropped"
    advice = "Send audio at the pace of speech, or set turn_detection to null and commit it."


class NoSuchItem(EventRefused):
    """There is no such item in the conversation: {item}."""

    reason = "item_not_found"
    advice = "Use the item_id of an event of this session."


class NoSuchCall(EventRefused):
    """No call {call} waits for an output."""

    reason = "function_call_not_found"
    advice = (
        "Send one output for each function_call of this session, within "
        "VOICE_LLM_CLIENT_TOOL_SECONDS of it."
    )


class VoiceIsFixed(EventRefused):
    """The voice cannot be changed after the bot has spoken."""

    reason = "cannot_update_voice"
    advice = "Set the voice before the first response, or connect again."


# --- EngineFailed: an engine could not serve a request of the gateway; the session continues


class EngineFailed(ApplianceError):
    """The {engine} engine failed."""

    reason = "engine_failed"
    advice = "The engine's log shows the cause. If the engine exited, supervisord restarts it."


class EngineGone(EngineFailed):
    """The {engine} engine cannot be reached."""

    reason = "engine_gone"
    advice = "supervisord restarts it. Sessions continue as soon as it is ready."


class EngineBusy(EngineFailed):
    """The {engine} engine has too many requests waiting."""

    reason = "engine_busy"
    advice = "Lower VOICE_GATEWAY_MAX_SESSIONS to what `make bench` measures on this machine."


class EngineDied(EngineFailed):
    """The model of the {engine} engine has died."""

    reason = "engine_died"
    advice = "supervisord restarts the engine. The last lines of the engine's log show the cause."
    exit_code = 70  # EX_SOFTWARE


class BadRequest(EngineFailed):
    """The {engine} engine does not support this request: {what}."""

    reason = "bad_request"
    advice = "Run gateway and engine from the same image. If they already are, report a bug."


class UnknownVoice(EngineFailed):
    """There is no voice called {voice!r}; the voices are: {known}."""

    reason = "unknown_voice"
    advice = "Set VOICE_TTS_VOICE to one of them, or to a blend such as 'af_heart:2,am_adam:1'."
    exit_code = 78


# --- ModelUnhealthy: an engine process exits so that supervisord restarts it


class ModelUnhealthy(ApplianceError):
    """The model of the {engine} engine no longer gives the same answers as at its start."""

    reason = "model_sick"
    advice = (
        "supervisord restarts the engine. If this happens again, suspect the GPU: look at "
        "nvidia-smi and at Xid errors in the host's kernel log."
    )
    exit_code = 70  # EX_SOFTWARE


# --- CannotStart: a process does not start, or a command cannot do its work


class CannotStart(ApplianceError):
    """The process cannot start."""

    exit_code = 78  # EX_CONFIG of sysexits.h: an operator has to change something


# Cannot start: settings


class BadSetting(CannotStart):
    """The setting {name} is not usable: {why}."""

    reason = "bad_setting"
    advice = (
        "Correct or unset it: section.name in a TOML file, VOICE_SECTION_NAME in the environment. "
        "Then `python -m appliance settings` lists every setting with its meaning, its allowed "
        "values and its default."
    )
    others: tuple[BadSetting, ...] = ()  # further wrong settings


class ModelNotInstalled(BadSetting):
    """The model of {name} is not installed: {why}."""

    reason = "model_not_installed"
    advice = (
        "Unset it, or set it to an installed model. A sealed image contains one language model: "
        "build an image with another one on the connected side, VOICE_LLM_MODEL=NAME make setup "
        "image, and import it. Without an image, VOICE_LLM_MODEL=NAME make setup fetches it."
    )


class BadLexicon(CannotStart):
    """The site's lexicon cannot be used: {where}: {why}."""

    reason = "bad_lexicon"
    advice = (
        "Correct the file, or remove it. `voicectl settings --check` lists every wrong line, and "
        "docs/lexicon.md describes the format."
    )


# Cannot start: model files, and the libraries that load them


class MissingWeights(CannotStart):
    """The model file {path} is missing."""

    reason = "missing_weights"
    advice = "Run `make setup`. If this is the sealed image, it is incomplete: import it again."


class UnreadableModel(CannotStart):
    """The model file {path} cannot be loaded."""

    reason = "unreadable_model"
    advice = "Run `make setup` again. The file has to be a GGUF model that llama.cpp supports."


class BadCheckpoint(CannotStart):
    """The model file {path} cannot be used: {why}."""

    reason = "bad_checkpoint"
    advice = "Build the model folder again: `python -m ops.bundle ultravox` on the connected side."


class WeightsCast(CannotStart):
    """vLLM would convert the weight {name} from {stored} to {wanted} when it loads it."""

    reason = "weights_cast"
    advice = (
        "The model would give wrong answers. Build the model folder again, and do not set "
        "VOICE_LLM_DTYPE."
    )


class ModelNotStarted(CannotStart):
    """vLLM could not start the model in {path}."""

    reason = "model_not_started"
    advice = "Read the lines before this one in the log: the first error there is the cause."


class UnsupportedLlamaCpp(CannotStart):
    """The llama.cpp in the package xllamacpp does not match this program: {what}."""

    reason = "unknown_llama"
    advice = (
        "Install the xllamacpp of requirements/cpu.txt. To use another version, compare its "
        "structs with llama_library.py."
    )


# Cannot start: the seal


class SealBroken(CannotStart):
    """The seal is broken: {what}."""

    reason = "seal_broken"
    advice = "Do not use this installation. Import the image again, or run `make setup` again."
    exit_code = 79


class BadLock(CannotStart):
    """The lock {path} cannot be used: {why}."""

    reason = "bad_lock"
    advice = "Copy the file from the release again, or write a new one with `make lock`."


# Cannot start: the GPU


class NoCard(CannotStart):
    """There is no usable NVIDIA GPU: {why}."""

    reason = "no_card"
    advice = (
        "Give the container the GPU (--device nvidia.com/gpu=all, or --gpus all). Run nvidia-smi "
        "on the host to see whether the driver finds it."
    )


class TooLittleMemory(CannotStart):
    """{card} has too little memory: {sum}."""

    reason = "too_little_memory"
    advice = (
        "Use weights with fewer bits, or a GPU with more memory. docs/hardware.md explains the "
        "calculation."
    )


# Cannot start, or voicectl tls cannot do its work: certificates


class PlainNetwork(CannotStart):
    """The gateway listens on {host} without a certificate: others could read calls and tokens."""

    reason = "plain_network"
    advice = (
        "Run `voicectl tls init`, or set VOICE_GATEWAY_TLS_CERTIFICATE and VOICE_GATEWAY_TLS_KEY. "
        "Only if something else encrypts the calls, such as a proxy that terminates TLS, set "
        "VOICE_GATEWAY_PLAIN_NETWORK=true."
    )


class BadCertificate(CannotStart):
    """The certificate {path} cannot be used: {why}."""

    reason = "bad_certificate"
    advice = (
        "Run `voicectl tls show`. `voicectl tls init` makes a certificate if there is none. "
        "docs/tls.md describes how to install one of your own."
    )


class BadName(CannotStart):
    """{text!r} is neither a host name nor an address, or cannot be a name in a certificate."""

    reason = "bad_name"
    advice = "Use names such as voice.example or reception-1, or addresses such as 192.0.2.7."


class OutsideAuthority(CannotStart):
    """The site's own CA may not issue certificates for {names}."""

    reason = "outside_authority"
    advice = (
        "It is limited to the names that this host had when it was made. To make a new one, which "
        "all devices have to trust again: `voicectl tls init --new-ca --name NAME`."
    )


class NoAuthority(CannotStart):
    """There is no certificate authority in {folder}."""

    reason = "no_authority"
    advice = "Run `voicectl tls init`."


class NotOurCertificate(CannotStart):
    """The certificate {path} was not issued by this site's own CA. It was not changed."""

    reason = "not_our_certificate"
    advice = (
        "Renew it where it was issued, and replace both files. To use the site's own CA instead, "
        "move them away, then run `voicectl tls init`."
    )


class TlsFilesUnwritable(CannotStart):
    """The file {path} cannot be read or written: {why}."""

    reason = "tls_files_unwritable"
    advice = "Run voicectl as root, and check that the disk is neither full nor read-only."


# Cannot start: the audit log


class AuditUnavailable(CannotStart):
    """The audit log cannot be written to {path}: {why}."""

    reason = "audit_unavailable"
    advice = (
        "Mount a folder there that user 10001 may write and no other appliance uses, or free some "
        "space. With VOICE_AUDIT_REQUIRED=false the appliance starts without it."
    )


# Cannot start: ports, sockets and processes


class PortTaken(CannotStart):
    """{host}:{port} is already in use."""

    reason = "port_taken"
    advice = (
        "Stop the program that listens there, or change VOICE_GATEWAY_PORT or VOICE_EXPORTER_PORT."
    )


class AlreadyRunning(CannotStart):
    """Another appliance is running in the folder {path}."""

    reason = "already_running"
    advice = "Stop it first, or give this one its own folder with VOICE_PATHS_RUN."


class SocketTaken(CannotStart):
    """Another process serves {path}."""

    reason = "socket_taken"
    advice = (
        "Two processes share a run folder: stop the other one, or give this one its own folder "
        "with VOICE_PATHS_RUN."
    )
    exit_code = 71  # EX_OSERR: a process that was killed may have left a child, which ends soon


class ProgramFailed(CannotStart):
    """The process {program} failed to start several times."""

    reason = "program_failed"
    advice = "Read the last lines of that process in the log: the first error there is the cause."
    exit_code = 70  # EX_SOFTWARE


class SupervisorFailed(CannotStart):
    """The supervisor failed: {how}."""

    reason = "supervisor_failed"
    advice = "Start the appliance again. If the supervisor was killed, the host is short of memory."
    exit_code = 71  # EX_OSERR


# voicectl prove-offline cannot watch


class NoProof(CannotStart):
    """The watcher of prove-offline cannot watch this network namespace: {why}."""

    reason = "no_proof"
    advice = (
        "Run it with voicectl prove-offline. The container engine must grant NET_ADMIN and NET_RAW."
    )


# Files cannot be fetched or built: ops/bundle, on the connected side


class PackageUnavailable(CannotStart):
    """The package {package} cannot be downloaded: {why}."""

    reason = "package_unavailable"
    advice = (
        "Check the network and the settings of pip and npm, then run `make setup` again. Files "
        "that are already here are kept."
    )


class PackageChanged(CannotStart):
    """{what} does not match image-manifest.lock: {why}."""

    reason = "package_changed"
    advice = (
        "Do not use it. Run `make setup` again. If the error stays, the file in the registry has "
        "changed."
    )


class HubUnavailable(CannotStart):
    """The model repository {repository} cannot be downloaded: {why}."""

    reason = "hub_unavailable"
    advice = "Check the network, then run `make weights` again. It continues where it stopped."


class HubChanged(CannotStart):
    """{what} of the model repository {repository} does not match its pin: {why}."""

    reason = "hub_changed"
    advice = (
        "Do not use it. Find out why it changed. docs/image-manifest.md explains how to pin it."
    )


class LicenceNotAccepted(CannotStart):
    """The licence of {repository} is not accepted: {why}."""

    reason = "licence_not_accepted"
    advice = "Read it on the repository's page. If you agree, accept it there and run this again."


class NoSpace(CannotStart):
    """The folder {folder} has {free_bytes:,} bytes free; {wanted_bytes:,} are needed."""

    reason = "no_space"
    advice = "Free some space, or move the folder to another disk, then run `make setup` again."


# --- EndedItself: the appliance exits so that the host restarts it


class EndedItself(ApplianceError):
    """The appliance exited so that the host restarts it."""

    exit_code = 80  # to 89


class RestartLoop(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and exited again."""

    reason = "restart_loop"
    advice = (
        "The host restarts the appliance. If this happens again, look for the cause in the last "
        "lines of that process before each exit. Killed by signal 9 means that the container is "
        "short of memory."
    )
    exit_code = 80


class NotAnswering(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and hangs again."""

    reason = "not_answering"
    advice = (
        "The host restarts the appliance. If this happens again, the machine may be overloaded: "
        "lower VOICE_GATEWAY_MAX_SESSIONS."
    )
    exit_code = 81


class NeverReady(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and is never ready."""

    reason = "never_ready"
    advice = (
        "The log of that process shows what it waits for. If it only loads slowly, raise "
        "VOICE_SUPERVISION_LOAD_SECONDS or use a faster disk."
    )
    exit_code = 82


class MemoryGrown(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and grew again."""

    reason = "memory_grown"
    advice = (
        "The host restarts the appliance. If the process needs this memory, raise its limit "
        "(VOICE_SUPERVISION_..._MEMORY_BYTES) and the container's; otherwise report a bug."
    )
    exit_code = 83


class GpuLost(EndedItself):
    """A GPU that was available at the start has disappeared: {why}."""

    reason = "gpu_lost"
    advice = (
        "The host creates the container again, which helps if only the container lost the GPU. If "
        "the GPU stays lost, look at nvidia-smi and at Xid errors in the host's kernel log."
    )
    exit_code = 84


def catalogue() -> dict[str, type[ApplianceError]]:
    """Return every error class that defines a reason, by reason."""
    by_reason: dict[str, type[ApplianceError]] = {}
    pending: list[type[ApplianceError]] = [ApplianceError]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        if kind.reason and "reason" in vars(kind):
            by_reason[kind.reason] = kind
    return by_reason
