"""The vLLM plugin: registers our model and processor, and sets up vLLM's child processes.

vLLM runs the model in child processes. In each process, it calls `register`, an entry point of the
group `vllm.general_plugins`, before any other code of the appliance.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from multiprocessing import connection
from pathlib import Path
from typing import BinaryIO, cast

from appliance import core_dumps, journal, settings
from appliance.engines.llm import NAME
from appliance.errors import WeightsCast

# The architecture in config.json, and its class. The class is registered by name, so that only the
# processes that run the model import it.
ARCHITECTURE = "UltravoxModel"
MODEL = "appliance.engines.llm.vllm.model:PaddingSafeUltravox"
# Loggers that warn when a weight is cast to another dtype during loading.
LOADERS = (
    "vllm.model_executor.models.utils",
    "vllm.model_executor.model_loader.sharded_state_loader",
)
CAST_WARNING = "Attempted to load weight"  # beginning of their warning
CORE = "EngineCore"  # vLLM's name for the scheduler process


def register() -> None:
    """Register our model and processor, reject weight casts, and set up a child process."""
    from vllm.model_executor.models import ModelRegistry
    from vllm.transformers_utils import processors

    from appliance.engines.llm.vllm.processor import UltravoxProcessor

    processors.UltravoxProcessor = UltravoxProcessor
    ModelRegistry.register_model(ARCHITECTURE, MODEL)
    for name in LOADERS:
        loader = logging.getLogger(name)
        loader.addFilter(refuse_casts)
        loader.setLevel(logging.WARNING)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch")]:
        logging.getLogger(name).handlers.clear()  # PyTorch logs to stderr, bypassing the journal
        logging.getLogger(name).propagate = True
    if multiprocessing.parent_process() is not None:
        from vllm.platforms import current_platform

        # On a CPU, EngineCore has a child that inherits its stdout.
        has_child = current_platform.is_cpu() and multiprocessing.current_process().name == CORE
        set_up_child(has_child)


def refuse_casts(record: logging.LogRecord) -> bool:
    """Raise WeightsCast instead of the loader's warning; a logging filter.

    vLLM loads bf16 weights into int8 parameters with only a warning. The model then generates
    nonsense.
    """
    if str(record.msg).startswith(CAST_WARNING):
        name, stored, wanted = (str(part) for part in (record.args or ("?", "?", "?")))
        raise WeightsCast(name=name, stored=stored, wanted=wanted)
    return True


def set_up_child(has_child: bool) -> None:
    """Set up one of vLLM's child processes.

    The child logs in the same format as the engine. It runs in a separate process group, because
    stop signals are intended for the engine, which lets replies finish. It exits when its parent
    exits, even if the parent was killed; otherwise it would keep the GPU memory.
    """
    config = settings.load(os.environ).journal
    stream = cast(BinaryIO, os.fdopen(os.dup(1), "wb", buffering=0))
    journal.configure(config, NAME, stream=stream)
    if not config.pipecat_messages:
        _discard_output(descriptors=not has_child)
    os.setpgid(0, 0)
    core_dumps.hide_memory()  # not inherited over exec
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _discard_output(descriptors: bool) -> None:
    """Discard output that libraries write to stdout and stderr, bypassing Python's logging.

    With `descriptors`, the file descriptors are redirected, too, which also discards the output of
    native code. A later child process would inherit the redirection.
    """
    devnull = Path(os.devnull).open("w")  # noqa: SIM115  # stays open until the process exits
    sys.stdout = sys.stderr = devnull
    if descriptors:
        os.dup2(devnull.fileno(), 1)
        os.dup2(devnull.fileno(), 2)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
