"""The catalogue of everything that can go wrong and what each one means.

The docstring of a class is its message template, filled in with the keyword arguments it is
raised with. `advice` says what the reader should do. `reason` is the short name used as a metric
label, in logs and on the wire; it is unique. `close_code` is the WebSocket close code sent when a
session ends on it (RFC 6455 section 7.4.1), `http_status` the refusal before the upgrade, and
`exit_code` what a process that dies of it returns.

    ApplianceError
     +-- Refused                 a caller is turned away before the upgrade (HTTP)
     +-- SessionEnded            a session is closed by us (WebSocket close code)
     +-- EngineFailed            an engine could not do what it was asked (spoken about)
     +-- ModelSick               an engine ends itself, to be started anew (exit code)
     +-- CannotStart             a process refuses to run (exit code)
     +-- EndedItself             the appliance ended, to be started anew by the host (exit code)

Exit codes of the appliance: 0 stopped as asked, 64 to 78 as in sysexits.h (78: an operator has to
change something, a restart will not help), 79 a broken seal (do not use it), 80 to 89 it ended
itself and wants to be started again. 70 and 71 are worth a new start too.
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


# What ends a call, or refuses it


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


# What an engine could not do; the call goes on


class EngineFailed(ApplianceError):
    """The {engine} engine failed."""

    reason = "engine_failed"
    advice = "See the engine's log; supervisord restarts it when it has died."


class EngineGone(EngineFailed):
    """The {engine} engine cannot be reached."""

    reason = "engine_gone"
    advice = "It is restarting if supervisord runs; calls go on when it is back."


class EngineDied(EngineFailed):
    """The model of the {engine} engine died under it."""

    reason = "engine_died"
    advice = "supervisord restarts it; the last lines of the engine's log say what it died of."
    exit_code = 70  # EX_SOFTWARE


class ModelSick(ApplianceError):
    """The model of the {engine} engine no longer answers as it did at its start."""

    reason = "model_sick"
    advice = (
        "The engine ends and supervisord starts it anew. If it comes back, suspect the card: look "
        "at nvidia-smi and the kernel's log (Xid) on the host."
    )
    exit_code = 70  # EX_SOFTWARE


class EngineBusy(EngineFailed):
    """The {engine} engine has too much to do."""

    reason = "engine_busy"
    advice = "Lower VOICE_GATEWAY_MAX_SESSIONS to what the machine carries (make bench says)."


class BadRequest(EngineFailed):
    """The {engine} engine was asked for something it does not do: {what}."""

    reason = "bad_request"
    advice = "Gateway and engine should come from the same image; if they do, report a defect."


class UnknownVoice(EngineFailed):
    """There is no voice called {voice!r}; there are: {known}."""

    reason = "unknown_voice"
    advice = "Set VOICE_TTS_VOICE to one of these, or to a blend such as 'af_heart:2,am_adam:1'."
    exit_code = 78


# Why a process refuses to run, or ends itself


class CannotStart(ApplianceError):
    """The process cannot start."""

    exit_code = 78  # EX_CONFIG of sysexits.h: an operator has to change something.


class BadSetting(CannotStart):
    """The setting {name} is not usable: {why}."""

    reason = "bad_setting"
    advice = "`python -m appliance settings` lists every setting with its unit and default."


class MissingWeights(CannotStart):
    """The model file {path} is missing."""

    reason = "missing_weights"
    advice = "Run `make setup`; in the sealed image this means that the image is incomplete."


class UnreadableModel(CannotStart):
    """The model file {path} cannot be loaded."""

    reason = "unreadable_model"
    advice = "Run `make setup` again; the file should be a GGUF model of a kind llama.cpp knows."


class BadCheckpoint(CannotStart):
    """The model file {path} cannot be used: {why}."""

    reason = "bad_checkpoint"
    advice = "Build the folder again: `python -m ops.bundle ultravox` on the connected side."


class WeightsCast(CannotStart):
    """vLLM would convert the weight {name} from {stored} to {wanted} while it loads it."""

    reason = "weights_cast"
    advice = "Answers would be wrong. Build the model folder again, and leave VOICE_LLM_DTYPE."


class ModelNotStarted(CannotStart):
    """vLLM could not start the model in {path}."""

    reason = "model_not_started"
    advice = "The lines before this one in the log say why; the first error there is the cause."


class UnknownLlama(CannotStart):
    """The llama.cpp in the xllamacpp package is another than we were written for: {what}."""

    reason = "unknown_llama"
    advice = "Install the xllamacpp of the lock file; for another, compare its structs with ours."


class NoCard(CannotStart):
    """There is no NVIDIA card to run on: {why}."""

    reason = "no_card"
    advice = (
        "Give the container the card (--device nvidia.com/gpu=all, or --gpus all); "
        "nvidia-smi on the host says whether the driver sees it."
    )


class TooLittleMemory(CannotStart):
    """{card} has too little memory: {sum}."""

    reason = "too_little_memory"
    advice = "Take weights of fewer bits or a larger card; docs/hardware.md shows the whole sum."


class SealBroken(CannotStart):
    """The seal is broken: {what}."""

    reason = "seal_broken"
    advice = "Do not use this installation. Set it up, or import the image, again."
    exit_code = 79


class BadLock(CannotStart):
    """The lock {path} cannot be used: {why}."""

    reason = "bad_lock"
    advice = "Take the file from the release again; `make lock` writes a new one."


class PackageUnavailable(CannotStart):
    """The package {package} cannot be had: {why}."""

    reason = "package_unavailable"
    advice = (
        "Check the network and the settings of pip and npm, then run `make setup` again; "
        "what is already here is kept."
    )


class PackageChanged(CannotStart):
    """{what} is not what image-manifest.lock says: {why}."""

    reason = "package_changed"
    advice = "Do not use it. Run `make setup` again; if it stays so, the registry's file changed."


class HubUnavailable(CannotStart):
    """The model repository {repository} cannot be had: {why}."""

    reason = "hub_unavailable"
    advice = "Check the network, then run `make weights` again; it goes on where it stopped."


class HubChanged(CannotStart):
    """{what} of the model repository {repository} is not what was pinned: {why}."""

    reason = "hub_changed"
    advice = "Do not use it. Find out why it changed; docs/image-manifest.md says how to pin anew."


class LicenceNotAccepted(CannotStart):
    """The licence of {repository} is not accepted: {why}."""

    reason = "licence_not_accepted"
    advice = "Read it on the repository's page, accept it there if asked to, then run this again."


class NoSpace(CannotStart):
    """The folder {folder} has {free_bytes:,} bytes free, and {wanted_bytes:,} are needed."""

    reason = "no_space"
    advice = "Make room, or put the folder on another disk, then run `make setup` again."


class PortTaken(CannotStart):
    """{host}:{port} is already in use."""

    reason = "port_taken"
    advice = "Stop what listens there, or set VOICE_GATEWAY_PORT or VOICE_EXPORTER_PORT."


class AlreadyRunning(CannotStart):
    """Another appliance runs in the folder {path}."""

    reason = "already_running"
    advice = "Stop it first, or give this one a folder of its own with VOICE_PATHS_RUN."


class ProgramFailed(CannotStart):
    """The process {program} could not be kept running."""

    reason = "program_failed"
    advice = "Read that process's last lines in the log: the first error there is the cause."
    exit_code = 70  # EX_SOFTWARE


class SupervisorFailed(CannotStart):
    """The supervisor failed: {how}."""

    reason = "supervisor_failed"
    advice = "Start the appliance again; if it was killed, the host may be short of memory."
    exit_code = 71  # EX_OSERR


class EndedItself(ApplianceError):
    """The appliance ended itself, so that the host starts it anew."""

    exit_code = 80  # to 89: beyond sysexits.h and a broken seal; to be started again


class RestartLoop(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and ended again."""

    reason = "restart_loop"
    advice = (
        "The host starts the appliance anew. If it goes on, the last lines of that process before "
        "each of its ends say why; killed by signal 9 means that the container is short of memory."
    )
    exit_code = 80


class NotAnswering(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and is silent again."""

    reason = "not_answering"
    advice = (
        "The host starts the appliance anew. If it goes on, lower VOICE_GATEWAY_MAX_SESSIONS: a "
        "machine with too much to do looks the same."
    )
    exit_code = 81


class NeverReady(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and is never ready."""

    reason = "never_ready"
    advice = "Give it more time with VOICE_SUPERVISION_LOAD_SECONDS, or faster disks."
    exit_code = 82


class MemoryGrown(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and grew again."""

    reason = "memory_grown"
    advice = (
        "The host starts the appliance anew. If it needs what it holds, raise its limit "
        "(VOICE_SUPERVISION_..._MEMORY_BYTES) and the container's; if not, report a defect."
    )
    exit_code = 83


class GpuLost(EndedItself):
    """A graphics card that was here is gone: {why}."""

    reason = "gpu_lost"
    advice = (
        "The host makes the container anew, which brings the card back where only the container "
        "lost it. If it stays away, look at nvidia-smi and the kernel's log (Xid) on the host."
    )
    exit_code = 84


def catalogue() -> dict[str, type[ApplianceError]]:
    """Every error that has a reason, by reason."""
    found: dict[str, type[ApplianceError]] = {}
    waiting: list[type[ApplianceError]] = [ApplianceError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind.reason and "reason" in vars(kind):
            found[kind.reason] = kind
    return found
