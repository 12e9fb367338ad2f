"""`python -m appliance plan`: what would be started on the card that is here, or on another one."""

from __future__ import annotations

from appliance.errors import BadSetting
from appliance.gpu import nvml, page
from appliance.gpu.cards import KNOWN, Card, asked_for, recommended
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings
from appliance.weights import checkpoint
from appliance.weights.checkpoint import Checkpoint


def told(settings: Settings, card: str, weights: str) -> str:
    """The plan in words for a card of the table by name, or for the first one that is here.

    weights: one of reference.KINDS, or empty for those in the sealed folder; where there is none,
    the kind that suits the card. Raises as plan does, and BadSetting for an unknown name.
    """
    if card:
        line = asked_for(card)
        if not line:
            names = ", ".join(known.name for known in KNOWN)
            raise BadSetting(name="--card", why=f"{card!r} is not one of: {names}")
        return _told(line.as_card(), settings, weights)
    found = nvml.look()
    if not found.cards:
        return (
            f"No card: {found.why}.\nOn the CPU the engine calculates in float32, for tests only. "
            "Ask for a card with --card, such as --card L4."
        )
    first, *more = found.cards
    lines = [_told(first, settings, weights), *(f"not used: {other.title}" for other in more)]
    return "\n".join([*lines, *([found.why] if found.why else [])])


def _told(card: Card, settings: Settings, weights: str) -> str:
    model, note = _model(card, settings, weights)
    return page.shown(card, model, settings) + note


def _model(card: Card, settings: Settings, weights: str) -> tuple[Checkpoint, str]:
    if weights:
        if weights not in KINDS:
            raise BadSetting(name="--weights", why=f"{weights!r} is none of {', '.join(KINDS)}")
        return ultravox_8b(weights), ""
    folder = settings.paths.weights / settings.llm.model
    if folder.exists():
        return checkpoint.read(folder), ""
    kind = (*recommended(card)[0], "bf16")[0]
    return ultravox_8b(kind), f"\nno model in {folder}: reckoned with {kind} weights"
