"""The C interface of llama.cpp inside the xllamacpp wheel, called through ctypes.

The wheel's Python class `Server` is unsuitable: it opens an HTTP port, decodes ahead of a slow
consumer, and cannot be stopped while it processes a prompt. However, the extension module exports
the C interface.

The struct layouts follow `include/llama.h` of the llama.cpp version in the wheel (0.6.0-dev).
`load` compares the library's default parameters with the known defaults, so that a version with a
different layout is rejected.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int32,
    c_size_t,
    c_uint32,
    c_void_p,
)
from typing import Any, Final, TypeVar

from appliance.errors import UnsupportedLlamaCpp

T = TypeVar("T", bound=Structure)

DECODE: Final = 1  # LLAMA_PROCESS_TYPE_DECODE
ABORTED: Final = 2  # return value of llama_process after the abort callback stopped it
NO_LOG: Final = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(lambda *_: None)


class ModelParams(Structure):
    """struct llama_model_params"""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class ContextParams(Structure):
    """struct llama_context_params"""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("moe_cache_size", c_size_t),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class _LargeStruct(Structure):
    """Return type large enough for either parameter struct; their size is not known yet."""

    _fields_ = (("words", c_int32 * 128),)


# Name: (result type, argument types). Model, context, vocabulary, memory and batch are opaque
# pointers.
_P, _I = c_void_p, c_int32
FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (_P, _P)),
    "llama_model_load_from_file": (_P, (c_char_p, ModelParams)),
    "llama_model_free": (None, (_P,)),
    "llama_model_get_vocab": (_P, (_P,)),
    "llama_model_n_ctx_train": (_I, (_P,)),
    "llama_init_from_model": (_P, (_P, ContextParams)),
    "llama_free": (None, (_P,)),
    "llama_get_memory": (_P, (_P,)),
    "llama_n_ctx_seq": (c_uint32, (_P,)),
    "llama_memory_seq_rm": (c_bool, (_P, _I, _I, _I)),
    "llama_state_seq_get_size": (c_size_t, (_P, _I)),
    "llama_state_seq_get_data": (c_size_t, (_P, c_char_p, c_size_t, _I)),
    "llama_state_seq_set_data": (c_size_t, (_P, c_char_p, c_size_t, _I)),
    "llama_set_abort_callback": (None, (_P, _P, _P)),
    "llama_batch_ext_init": (_P, (_P,)),
    "llama_batch_ext_free": (None, (_P,)),
    "llama_batch_ext_clear": (None, (_P,)),
    "llama_batch_ext_add_token": (_I, (_P, _I, _I)),
    "llama_batch_ext_set_pos": (c_bool, (_P, _I, POINTER(_I))),
    "llama_batch_ext_set_output_logits": (c_bool, (_P, _I, c_bool)),
    "llama_process": (_I, (_P, _I, _P)),
    "llama_get_logits_ith": (POINTER(c_float), (_P, _I)),
    "llama_tokenize": (_I, (_P, c_char_p, _I, POINTER(_I), _I, c_bool, c_bool)),
    "llama_token_to_piece": (_I, (_P, _I, c_char_p, _I, _I, c_bool)),
    "llama_vocab_n_tokens": (_I, (_P,)),
    "llama_vocab_is_eog": (c_bool, (_P, _I)),
    "llama_vocab_is_control": (c_bool, (_P, _I)),
}

# Default values in this layout. If a field is added or moved, at least one of them differs.
_MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1}
_CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "rope_scaling_type": -1,
    "flash_attn_type": -1,
    "yarn_beta_slow": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
    "op_offload": True,
    "kv_unified": False,
}


def load() -> ctypes.CDLL:
    """Load the library, declare its functions and silence its log. Raises UnsupportedLlamaCpp."""
    package = importlib.util.find_spec("xllamacpp.xllamacpp")
    if package is None or package.origin is None:
        raise UnsupportedLlamaCpp(what="the package is not installed")
    library = ctypes.CDLL(package.origin)
    for name, (result, arguments) in FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError as problem:
            raise UnsupportedLlamaCpp(what=f"{name} is missing") from problem
        function.restype, function.argtypes = result, arguments
    library.llama_log_set(ctypes.cast(NO_LOG, c_void_p), None)
    model_params(library)
    context_params(library)
    library.llama_backend_init()
    return library


def model_params(library: ctypes.CDLL) -> ModelParams:
    """Return the library's default model parameters. Raises UnsupportedLlamaCpp."""
    return _defaults(library.llama_model_default_params, ModelParams, _MODEL_DEFAULTS)


def context_params(library: ctypes.CDLL) -> ContextParams:
    """Return the library's default context parameters. Raises UnsupportedLlamaCpp."""
    return _defaults(library.llama_context_default_params, ContextParams, _CONTEXT_DEFAULTS)


def _defaults(function: Any, kind: type[T], known: Mapping[str, object]) -> T:
    function.restype, function.argtypes = _LargeStruct, ()
    defaults = kind.from_buffer_copy(function())
    for name, value in known.items():
        if getattr(defaults, name) != value:
            raise UnsupportedLlamaCpp(what=f"{name} is {getattr(defaults, name)!r} by default")
    return defaults
