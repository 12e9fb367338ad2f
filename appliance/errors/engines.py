"""What an engine could not do; spoken about, the call goes on."""

from __future__ import annotations

from appliance.errors.base import ApplianceError


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
