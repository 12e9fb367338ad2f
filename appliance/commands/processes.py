"""The commands that run a process of the appliance."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from appliance import run_folder
from appliance.commands.command import Command
from appliance.memory import return_blocks
from appliance.processes import EXPORTER, GATEWAY, LLM, TTS, socket_path
from appliance.settings import Settings


def _boot(settings: Settings, args: Namespace) -> int:
    from appliance import site_lexicon
    from appliance.supervision import boot
    from appliance.tls.policy import require_tls
    from appliance.weights.choices import check_models
    from appliance.weights.voices import check_voice

    require_tls(settings.gateway)
    check_models(settings)
    check_voice(settings)
    site_lexicon.read(settings.tts)
    boot.main(settings)
    return 0


def _gateway(settings: Settings, args: Namespace) -> int:
    gaps = _confine(settings, GATEWAY, settings.audit.folder)
    # smart-turn multiplies a matrix at each pause of a caller. With threads, those of numpy's
    # OpenBLAS spin for 0.1 s afterwards (measured), longer than the model takes. Read at import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # uvloop has a buffer of 256 KiB for each TLS connection, also for those that wait for a
    # handshake: 256 of them would take 58 MB (measured), and 4 KiB of each are used.
    return_blocks(256 << 10)
    from appliance.gateway.server import serve

    serve(settings, gaps)
    return 0


def _llm(settings: Settings, args: Namespace) -> int:
    # Without this limit, waiting OpenMP threads spin. When another process needs the core, that
    # slows llama.cpp down (measured: 320 ms per token instead of 123). Read at import.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    from appliance.engines.llm.choose import create_engine
    from appliance.link.server import run_engine

    run_engine(create_engine(settings), socket_path(settings.paths.run, LLM))
    return 0


def _tts(settings: Settings, args: Namespace) -> int:
    from appliance.engines.tts.engine import KokoroEngine
    from appliance.link.server import run_engine

    run_engine(KokoroEngine(settings), socket_path(settings.paths.run, TTS))
    return 0


def _exporter(settings: Settings, args: Namespace) -> int:
    _confine(settings, EXPORTER)
    from appliance.supervision.exporter import serve

    serve(settings)
    return 0


def _confine(settings: Settings, name: str, *folders: str) -> tuple[str, ...]:
    """Take away the rights that this process does not need, before libraries start threads.

    Returns the gaps that the kernel leaves: see `appliance.confinement.confine.Gap`.
    """
    from appliance.confinement.confine import confine

    own = run_folder.of_program(settings.paths.run, name)
    return confine([own, *(Path(folder) for folder in folders if folder)]).gaps


def _guard(settings: Settings, args: Namespace) -> int:
    # supervisord reads its event protocol from stdout: print() anywhere would break it.
    protocol = os.dup(1)
    os.dup2(2, 1)
    from appliance.supervision.guard import serve

    return serve(settings, protocol)


COMMANDS: Mapping[str, Command] = {
    "boot": Command("verify the seal, then run all processes under supervisord", _boot),
    "gateway": Command("serve clients over WebSocket", _gateway),
    "llm": Command("serve the speech-LLM engine on its socket", _llm),
    "tts": Command("serve the speech synthesis engine on its socket", _tts),
    "exporter": Command("serve the metrics of all processes over HTTP", _exporter),
    "guard": Command(
        "restart unhealthy processes, or stop the appliance; run by supervisord",
        _guard,
        log_to_stderr=True,  # stdout is supervisord's event protocol
    ),
}
