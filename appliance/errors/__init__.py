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

from appliance.errors.base import ApplianceError
from appliance.errors.calls import (
    BadFrame,
    Draining,
    FrameTooBig,
    Full,
    HungUp,
    IdleTooLong,
    LastedTooLong,
    NotReady,
    PipelineFailed,
    Refused,
    SessionEnded,
    ShuttingDown,
    TooFast,
    TooManyAttempts,
    WrongOrigin,
    WrongToken,
)
from appliance.errors.engines import (
    BadRequest,
    EngineBusy,
    EngineDied,
    EngineFailed,
    EngineGone,
    ModelSick,
    UnknownVoice,
)
from appliance.errors.start import (
    AlreadyRunning,
    BadCheckpoint,
    BadLock,
    BadSetting,
    CannotStart,
    EndedItself,
    GpuLost,
    HubChanged,
    HubUnavailable,
    LicenceNotAccepted,
    MemoryGrown,
    MissingWeights,
    ModelNotStarted,
    NeverReady,
    NoCard,
    NoSpace,
    NotAnswering,
    PackageChanged,
    PackageUnavailable,
    PortTaken,
    ProgramFailed,
    RestartLoop,
    SealBroken,
    SupervisorFailed,
    TooLittleMemory,
    UnknownLlama,
    UnreadableModel,
    WeightsCast,
)

__all__ = [
    "AlreadyRunning",
    "ApplianceError",
    "BadCheckpoint",
    "BadFrame",
    "BadLock",
    "BadRequest",
    "BadSetting",
    "CannotStart",
    "Draining",
    "EndedItself",
    "EngineBusy",
    "EngineDied",
    "EngineFailed",
    "EngineGone",
    "FrameTooBig",
    "Full",
    "GpuLost",
    "HubChanged",
    "HubUnavailable",
    "HungUp",
    "IdleTooLong",
    "LastedTooLong",
    "LicenceNotAccepted",
    "MemoryGrown",
    "MissingWeights",
    "ModelNotStarted",
    "ModelSick",
    "NeverReady",
    "NoCard",
    "NoSpace",
    "NotAnswering",
    "NotReady",
    "PackageChanged",
    "PackageUnavailable",
    "PipelineFailed",
    "PortTaken",
    "ProgramFailed",
    "Refused",
    "RestartLoop",
    "SealBroken",
    "SessionEnded",
    "ShuttingDown",
    "SupervisorFailed",
    "TooFast",
    "TooLittleMemory",
    "TooManyAttempts",
    "UnknownLlama",
    "UnknownVoice",
    "UnreadableModel",
    "WeightsCast",
    "WrongOrigin",
    "WrongToken",
    "catalogue",
]


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
