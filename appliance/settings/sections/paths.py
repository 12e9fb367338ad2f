"""The section [paths]: folders and files that all processes share."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION, FilePath


@dataclass(frozen=True, slots=True, config=SECTION)
class PathsConfig:
    """Folders and files."""

    run: FilePath = Field(
        default=Path("run"),
        description="folder of the sockets and state files that the processes share",
    )
    weights: FilePath = Field(
        default=Path("weights"), description="folder of the sealed model files"
    )
    lock: FilePath = Field(
        default=Path("image-manifest.lock"), description="file that lists every sealed model file"
    )
