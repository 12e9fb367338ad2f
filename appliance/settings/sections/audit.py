"""The section [audit]: the file of who called and what operators did."""

from __future__ import annotations

from typing import Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION, Bytes, require


@dataclass(frozen=True, slots=True, config=SECTION)
class AuditConfig:
    """The audit log: who called and what operators did, in lines that are chained by hashes."""

    folder: str = Field(
        default="",
        description="folder for the audit log; empty: it is only written to the log",
    )
    required: bool = Field(
        default=False,
        description="do not start if the folder cannot be written; otherwise calls are served "
        "without it",
    )
    file_bytes: Bytes = Field(
        default=16_777_216,
        ge=4096,
        le=1_073_741_824,
        description="a new file is begun when the last one has reached this size",
    )

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            folder=(
                bool(self.folder) or not self.required,
                "it is empty, but audit.required is set: name a folder",
            ),
        )
