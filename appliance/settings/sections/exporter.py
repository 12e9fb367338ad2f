"""The section [exporter]: where Prometheus collects the metrics."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION, Host, Port, Seconds


@dataclass(frozen=True, slots=True, config=SECTION)
class ExporterConfig:
    """Where metrics are served."""

    host: Host = Field(default="127.0.0.1", description="address that /metrics is served on")
    port: Port = Field(default=9465, description="TCP port that /metrics is served on")
    timeout_seconds: Seconds = Field(
        default=2.0, gt=0, le=60, description="how long a process may take to report its metrics"
    )
