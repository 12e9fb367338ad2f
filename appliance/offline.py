"""Environment variables that keep libraries off the network and callers' words out of logs.

Most are read when the library is imported, so `apply` runs before any other import.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from appliance.errors import BadSetting

SWITCHES: Mapping[str, str] = {
    # podman passes the host's http_proxy into the container; all our requests are local.
    "NO_PROXY": "*",
    "no_proxy": "*",
    # onnxruntime 1.29 and later send telemetry when a session is created.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub and transformers: local files only.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # misaki lets spaCy run `pip install` for a missing model; HF_HUB_OFFLINE does not prevent it.
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # vLLM's usage statistics.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # vLLM does not configure logging. Its worker processes are spawned and load one plugin, ours,
    # which sends their log to our journal.
    "VLLM_CONFIGURE_LOGGING": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_PLUGINS": "ultravox_processor",
    # FlashInfer would compile its kernels, and the sealed image has no compiler.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "DO_NOT_TRACK": "1",
    # Python's resource tracker cleans up after vLLM's processes, and warns about it on stderr.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    # Pipecat: no conversation in its log, no requests to its hub, no traces.
    "PIPECAT_LOG_LLM_CONTEXT": "off",
    "PIPECAT_HUB_CHECK": "0",
    "OTEL_SDK_DISABLED": "true",
}

FORBIDDEN: Mapping[str, str] = {
    "PIPECAT_SETUP_FILES": "it makes Pipecat run the Python files it names; unset it",
    "PIPECAT_SMART_TURN_LOG_DATA": "it writes callers' audio to disk; unset it",
}


def apply(environ: MutableMapping[str, str]) -> None:
    """Set all switches. Raises BadSetting if a forbidden variable is set."""
    for name, why in FORBIDDEN.items():
        if name in environ:
            raise BadSetting(name=name, why=why)
    environ.update(SWITCHES)
