"""The resources that all sessions of the gateway process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema

from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.session_set import SessionSet
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.gateway.turns.turn_models import TurnModels
from appliance.link.client import EngineClient
from appliance.processes import socket_path
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class SessionResources:
    """Resources that all sessions of the process share.

    hold_message  24 kHz PCM that is played when an engine is lost; may be empty
    waiting       sessions whose user waits for the first phrase of a confirmed turn
    busy          sessions that the engines work for; see speech/reply_start.py
    names         names of the site that are spoken as one
    voices        among which a Realtime client may choose
    """

    settings: Settings
    metrics: GatewayMetrics
    models: TurnModels
    tools: ToolsSchema
    hold_message: bytes = b""
    waiting: SessionSet = field(default_factory=SessionSet)
    busy: SessionSet = field(default_factory=SessionSet)
    names: UnsplitNames = field(default_factory=UnsplitNames)
    voices: tuple[str, ...] = ()

    def engine_client(self, name: str) -> EngineClient:
        """Return a new client of the engine `name`."""
        return EngineClient(name, socket_path(self.settings.paths.run, name))
