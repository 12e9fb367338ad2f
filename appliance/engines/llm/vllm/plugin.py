"""The entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes.

vLLM runs the model in child processes of its own. What has to hold there is set up here, since
this is the first of our code that runs in them.
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

from appliance import journal, settings
from appliance.errors import WeightsCast

# Who warns when weights are converted while they are loaded, and how the warning begins.
LOADERS = (
    "vllm.model_executor.models.utils",
    "vllm.model_executor.model_loader.sharded_state_loader",
)
CORE = "EngineCore"  # vLLM's name for the process that schedules
CAST = "Attempted to load weight"


def register() -> None:
    """Our model and processor by the names vLLM knows; no silent casts; a child's log and end."""
    from vllm.model_executor.models import ModelRegistry
    from vllm.transformers_utils import processors

    from appliance.engines.llm.vllm.processor import UltravoxProcessor

    processors.UltravoxProcessor = UltravoxProcessor
    ModelRegistry.register_model("UltravoxModel", "appliance.engines.llm.vllm.processor:Ultravox")
    for name in LOADERS:
        loader = logging.getLogger(name)
        loader.addFilter(refuse_casts)
        loader.setLevel(logging.WARNING)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch")]:
        logging.getLogger(name).handlers.clear()  # PyTorch writes to stderr past the journal
        logging.getLogger(name).propagate = True
    if multiprocessing.parent_process() is not None:
        from vllm.platforms import current_platform

        # On a CPU there is one process more, below EngineCore, which gets its stdout from there.
        is_parent = current_platform.is_cpu() and multiprocessing.current_process().name == CORE
        be_a_child(is_parent)


def refuse_casts(record: logging.LogRecord) -> bool:
    """A filter: raises WeightsCast in the loader's place where it would only warn.

    vLLM loads bf16 weights into int8 parameters with a warning and then answers nonsense.
    """
    if str(record.msg).startswith(CAST):
        name, stored, wanted = (str(part) for part in (record.args or ("?", "?", "?")))
        raise WeightsCast(name=name, stored=stored, wanted=wanted)
    return True


def be_a_child(is_parent: bool) -> None:
    """Sets up one of vLLM's own processes.

    It logs as the engine does. It is in a process group of its own, because a stop signal is for
    the engine, which lets replies finish. And it ends when its parent is gone, however that went:
    else it would keep the card's memory.
    """
    given = settings.load(os.environ).journal
    ours = cast(BinaryIO, os.fdopen(os.dup(1), "wb", buffering=0))
    journal.configure(given, "llm", stream=ours)
    if not given.pipecat_messages:
        _drop_the_rest(descriptors=not is_parent)
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _drop_the_rest(descriptors: bool) -> None:
    """What is written past Python's logging goes the way of all libraries' messages: nowhere.

    `descriptors` is for what is written past Python, too; a child to come would inherit them.
    """
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process lives
    sys.stdout = sys.stderr = nowhere
    if descriptors:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
