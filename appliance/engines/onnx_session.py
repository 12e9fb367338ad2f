"""Sessions of ONNX Runtime, with what both engines of the cpu profile ask of it."""

from __future__ import annotations

import os

import onnxruntime as ort  # type: ignore[import-untyped]

from appliance.memory import return_blocks

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


def speech_options(threads: int) -> ort.SessionOptions:
    """Return options for models that hear speech; their buffers are freed after each utterance.

    ONNX Runtime's arena, and glibc, would keep the largest ones: 23 MB for Moonshine after 10 s of
    speech (measured).
    """
    options = session_options(threads)
    options.enable_cpu_mem_arena = False
    return_blocks(1 << 20)
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
