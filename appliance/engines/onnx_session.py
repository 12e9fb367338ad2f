"""Sessions of ONNX Runtime, with what both engines of the cpu profile ask of it."""

from __future__ import annotations

import ctypes
import os

import onnxruntime as ort  # type: ignore[import-untyped]

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
PROVIDERS = ("CPUExecutionProvider",)


def session_options(threads: int) -> ort.SessionOptions:
    """Return options for sessions whose operators use `threads` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take a core from the other engine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    ort.disable_telemetry_events()
    return options


def open_graph(model: bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Return a session for a serialized model."""
    # A session keeps a model that is passed as bytes for as long as it lives. A file in memory can
    # be closed.
    with os.fdopen(os.memfd_create("model"), "wb") as file:
        file.write(model)
        file.flush()
        return ort.InferenceSession(
            f"/proc/self/fd/{file.fileno()}", options, providers=list(PROVIDERS)
        )


def return_large_blocks() -> None:
    """Let the C library return each freed block of a mebibyte or more at once (glibc).

    By default it keeps up to 64 MB of them for the next time: 25 MB in the LLM engine (measured).
    """
    change_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if change_option is not None:
        change_option(M_MMAP_THRESHOLD, 1 << 20)


def return_freed_memory() -> None:
    """Return freed memory to the operating system, where the C library can (glibc).

    Building a graph and loading it hold the weights several times. What is freed of it stays
    resident otherwise: 190 MB in the TTS engine, 44 MB in the LLM engine (measured).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
