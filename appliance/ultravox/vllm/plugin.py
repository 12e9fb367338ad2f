"""The entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes.

vLLM runs the model in child processes of its own. What has to hold there is set up here, since
this is the first of our code that runs in them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
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
CAST = "Attempted to load weight"


def register() -> None:
    """Our processor by the name vLLM looks for; no silent casts; in children also log and end."""
    from vllm.transformers_utils import processors

    from appliance.ultravox.vllm.processor import UltravoxProcessor

    processors.UltravoxProcessor = UltravoxProcessor
    for name in LOADERS:
        loader = logging.getLogger(name)
        loader.addFilter(refuse_casts)
        loader.setLevel(logging.WARNING)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch")]:
        logging.getLogger(name).handlers.clear()  # PyTorch writes to stderr past the journal
        logging.getLogger(name).propagate = True
    if multiprocessing.parent_process() is not None:
        be_a_child()


def refuse_casts(record: logging.LogRecord) -> bool:
    """A filter: raises WeightsCast in the loader's place where it would only warn.

    vLLM loads bf16 weights into int8 parameters with a warning and then answers nonsense.
    """
    if str(record.msg).startswith(CAST):
        name, stored, wanted = (str(part) for part in (record.args or ("?", "?", "?")))
        raise WeightsCast(name=name, stored=stored, wanted=wanted)
    return True


def be_a_child() -> None:
    """Sets up one of vLLM's own processes.

    It logs as the engine does. It is in a process group of its own, because a stop signal is for
    the engine, which lets replies finish. And it ends when its parent is gone, however that went:
    else it would keep the card's memory.
    """
    given = settings.load(os.environ).journal
    journal.configure(given, "ultravox", stream=_stdout(messages=given.pipecat_messages))
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _stdout(messages: bool) -> BinaryIO:
    """Where the journal writes. What else is written, past Python too, is dropped like all
    libraries' words, unless `messages`.
    """
    ours = cast(BinaryIO, os.fdopen(os.dup(1), "wb", buffering=0))
    if not messages:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
    return ours


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
