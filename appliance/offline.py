"""Every switch that keeps a library from calling out or from writing down what callers say.

Most are read when the library is imported, so `apply` comes before any room's import.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from appliance.errors import BadSetting

SWITCHES: Mapping[str, str] = {
    # podman hands the host's http_proxy on; what we ask is on this machine.
    "NO_PROXY": "*",
    "no_proxy": "*",
    # onnxruntime from 1.29 on posts telemetry when a session is created.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, transformers: local files only.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # misaki lets spaCy run `pip install` for a missing model; HF_HUB_OFFLINE does not stop that.
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # vLLM's usage report.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # vLLM writes no log of its own. Its processes are started afresh, and the one plugin that they
    # load is ours: it sends what they log to our journal.
    "VLLM_CONFIGURE_LOGGING": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_PLUGINS": "ultravox_processor",
    # It would compile its kernels, for which the sealed image has no compiler.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "DO_NOT_TRACK": "1",
    # Python's own helper of vLLM's processes, which tidies up after them and says so on stderr.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    # Pipecat: no conversation in its log, no look at its hub, no traces.
    "PIPECAT_LOG_LLM_CONTEXT": "off",
    "PIPECAT_HUB_CHECK": "0",
    "OTEL_SDK_DISABLED": "true",
}

FORBIDDEN: Mapping[str, str] = {
    "PIPECAT_SETUP_FILES": "it makes Pipecat run the Python files it names; unset it",
    "PIPECAT_SMART_TURN_LOG_DATA": "it writes callers' audio to disk; unset it",
}


def apply(environ: MutableMapping[str, str]) -> None:
    """Sets all switches. Raises BadSetting when a variable is set that we refuse to run with."""
    for name, why in FORBIDDEN.items():
        if name in environ:
            raise BadSetting(name=name, why=why)
    environ.update(SWITCHES)
