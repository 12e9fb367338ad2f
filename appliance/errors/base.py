"""What every error of the catalogue has."""

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
