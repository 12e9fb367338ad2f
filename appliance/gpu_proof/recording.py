"""Records the replies of NVML, and replays them without a card. No I/O.

A handle is recorded as the call that returned it, a structure as its fields, an error as its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

_SCALARS = (bool, int, float, str)
_NOT_RECORDED = ("nvmlInit", "nvmlShutdown")


class RecordingNvml:
    """Stands in for the module `pynvml`: passes every call on and records its result."""

    def __init__(self, pynvml: Any) -> None:
        self._pynvml = pynvml
        self._names: dict[int, str] = {}  # by id of a handle
        self._handles: list[Any] = []  # kept alive, because ids are reused
        self._calls: dict[str, Any] = {}

    def calls(self) -> dict[str, Any]:
        """Results by call, the later one of two equal calls."""
        return dict(self._calls)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._pynvml, name)
        if not callable(value) or isinstance(value, type) or name in _NOT_RECORDED:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            key = describe_call(name, [self._describe(each) for each in arguments], options)
            try:
                result = value(*arguments, **options)
            except self._pynvml.NVMLError as error:
                self._calls[key] = {"error": str(error)}
                raise
            self._calls[key] = self._recorded(key, result)
            return result

        return call

    def _describe(self, argument: Any) -> Any:
        return argument if isinstance(argument, _SCALARS) else self._names.get(id(argument), "?")

    def _recorded(self, key: str, result: Any) -> Any:
        if result is None or isinstance(result, _SCALARS):
            return {"value": result}
        if isinstance(result, Sequence) and result and all(map(_is_scalar, result)):
            return {"value": list(result)}
        fields = structure_fields(result)
        if fields:
            return {"fields": fields}
        self._names[id(result)] = f"<{key}>"
        self._handles.append(result)
        return {"handle": f"<{key}>"}


def _is_scalar(value: Any) -> bool:
    return isinstance(value, _SCALARS)


def structure_fields(value: Any) -> dict[str, Any]:
    """The scalar fields of a ctypes structure or of a plain object; empty for a handle."""
    names = [field[0] for field in getattr(value, "_fields_", ())]
    names = names or (list(vars(value)) if isinstance(value, SimpleNamespace) else [])
    fields = {name: getattr(value, name) for name in names}
    return {name: item for name, item in fields.items() if isinstance(item, _SCALARS)}


def describe_call(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    """A call as text: the key of its result."""
    words = [json.dumps(argument) for argument in arguments]
    words += [f"{option}={json.dumps(value)}" for option, value in sorted(options.items())]
    return f"{name}({', '.join(words)})"


class ReplayedNvml:
    """Stands in for the module `pynvml` with recorded replies.

    A call that was not recorded raises NVMLError, as one that the card does not support.
    """

    class NVMLError(Exception):
        """Stands for pynvml.NVMLError."""

    nvmlMemory_v2 = 0x02000028  # noqa: N815, pynvml's name
    nvmlEventTypeXidCriticalError = 8  # noqa: N815, pynvml's name

    def __init__(self, calls: Mapping[str, Any]) -> None:
        self._calls = calls

    def nvmlInit(self) -> None:  # noqa: N802, pynvml's name
        """Do nothing."""

    def nvmlShutdown(self) -> None:  # noqa: N802, pynvml's name
        """Do nothing."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            reply = self._calls.get(describe_call(name, arguments, options))
            if reply is None:
                raise self.NVMLError(f"{name} was not recorded")
            if "error" in reply:
                raise self.NVMLError(reply["error"])
            if "fields" in reply:
                return SimpleNamespace(**reply["fields"])
            return reply["handle"] if "handle" in reply else reply["value"]

        return call
