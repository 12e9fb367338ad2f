"""The interface to the installed llama.cpp. Unsupported versions must be refused."""

from __future__ import annotations

import ctypes

import pytest

from appliance.engines.llm.small import llama_library
from appliance.errors import UnsupportedLlamaCpp


def test_installed_library_has_the_supported_struct_layout() -> None:
    library = llama_library.load()
    assert llama_library.model_params(library).use_extra_bufts
    assert llama_library.context_params(library).n_ctx == 512


def test_library_with_another_struct_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class ShiftedContextParams(ctypes.Structure):
        _fields_ = (
            ("inserted", ctypes.c_int32),
            *llama_library.ContextParams._fields_,
        )

    monkeypatch.setattr(llama_library, "ContextParams", ShiftedContextParams)
    with pytest.raises(UnsupportedLlamaCpp, match="by default"):
        llama_library.load()


def test_library_without_a_required_function_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(llama_library.FUNCTIONS, "llama_missing_function", (None, ()))
    with pytest.raises(UnsupportedLlamaCpp, match="llama_missing_function"):
        llama_library.load()


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    llama_library.load()
    assert capfd.readouterr() == ("", "")
