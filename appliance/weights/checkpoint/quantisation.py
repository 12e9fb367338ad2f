"""Parse the quantisation scheme of the Llama, in the format of compressed-tensors. No I/O.

vLLM 0.32 reads `quantization_config` at the top level of Ultravox's config.json. It applies the
scheme to every linear layer, including the audio tower and the projector, unless an entry of
`ignore` matches. If such a layer is not ignored, vLLM casts its bfloat16 weights to the quantised
dtype with only a warning. The model then understands text but mishears audio. `AUDIO_IGNORED`
prevents this.

Names are matched as in vLLM (compressed_tensors/utils.py): a fused layer matches by its own name or
by the names of all its parts; `re:` starts a regular expression for `re.match`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUDIO_IGNORED = ("re:audio_tower.*", "re:multi_modal_projector.*")
LM_HEAD = "language_model.lm_head"
# Required entries of `ignore` at the top level of a quantised Ultravox. A Llama's own list uses
# the name lm_head.
ALWAYS_IGNORED = ("lm_head", *AUDIO_IGNORED)

_FUSED = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}  # fmt: skip

# vLLM converts scales to float32 without loss. Only the scales of weight-only schemes must have the
# model's dtype.
_SCALES = ("BF16", "F16", "F32")

Spec = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]
"""The dtypes and the shapes that a tensor may have."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The scheme of all quantised linear layers.

    name         fp8, int8, w4a16 or w8a16
    group        number of inputs that share a scale; 0 means one scale per output channel, and -1
                 one scale per tensor
    static       the file contains a scale for the inputs
    zero_points  weights (w4a16, w8a16) or inputs (int8) are asymmetric
    ignore       modules that are not quantised
    """

    name: str
    bits: int
    group: int
    static: bool
    zero_points: bool
    ignore: tuple[str, ...]

    def is_ignored(self, module: str) -> bool:
        """Return whether vLLM does not quantise the linear layer with this name."""
        head, _, last = module.rpartition(".")
        fused = f"{head}.{_FUSED.get(last, last)}"
        return any(_matches(entry, name) for entry in self.ignore for name in (module, fused))

    def tensors(self, outputs: int, inputs: int, dtype: str) -> dict[str, Spec]:
        """Return the stored tensors of a quantised linear layer, by suffix of their names.

        Raises ValueError if the inputs cannot be divided into groups.
        """
        if self.name in ("w4a16", "w8a16"):
            return self._packed(outputs, inputs, dtype)
        weight = "F8_E4M3" if self.name == "fp8" else "I8"
        scalar = ((1,), ())
        scale: tuple[tuple[int, ...], ...] = ((outputs, 1),) if self.group == 0 else scalar
        specs: dict[str, Spec] = {
            "weight": ((weight,), ((outputs, inputs),)),
            "weight_scale": (_SCALES, scale),
        }
        if self.static:
            specs["input_scale"] = (_SCALES, scalar)
            if self.zero_points:
                specs["input_zero_point"] = ((weight,), scalar)
        return specs

    def _packed(self, outputs: int, inputs: int, dtype: str) -> dict[str, Spec]:
        group = self.group or inputs
        if inputs % group:
            raise ValueError(f"{inputs} inputs are not a multiple of the group size {group}")
        groups = inputs // group
        specs: dict[str, Spec] = {
            "weight_packed": (("I32",), ((outputs, _words(inputs, self.bits)),)),
            "weight_scale": ((dtype,), ((outputs, groups),)),
            "weight_shape": (("I64", "I32"), ((2,),)),
        }
        if self.zero_points:
            specs["weight_zero_point"] = (("I32",), ((_words(outputs, self.bits), groups),))
        return specs


def parse(tree: Mapping[str, Any]) -> Scheme:
    """Parse a quantization_config. Raises ValueError, KeyError or TypeError with a description."""
    if tree.get("quant_method") != "compressed-tensors":
        raise ValueError(f"quant_method {tree.get('quant_method')!r} is not compressed-tensors")
    for key in ("kv_cache_scheme", "sparsity_config", "transform_config"):
        if tree.get(key):
            raise ValueError(f"{key} is not supported")
    if len(tree["config_groups"]) != 1:
        raise ValueError("several config_groups are not supported")
    [group] = tree["config_groups"].values()
    if group["targets"] != ["Linear"]:
        raise ValueError(f"targets {group['targets']} are not ['Linear']")
    if group.get("output_activations"):
        raise ValueError("quantised outputs are not supported")
    weights, inputs = group["weights"], group.get("input_activations") or {}
    if weights.get("dynamic"):
        raise ValueError("dynamically quantised weights are not supported")
    if weights.get("actorder") not in (None, "static", "weight"):
        raise ValueError(f"actorder {weights['actorder']!r} is not supported by vLLM 0.32")
    ignore = tuple(tree.get("ignore") or ())
    for entry in ignore:
        if entry.startswith("re:"):
            re.compile(entry[3:])
    return _scheme(group.get("format") or tree["format"], weights, inputs, ignore)


def prefix_ignore(ignore: list[str]) -> list[str]:
    """Convert a Llama's ignore list for Ultravox, in which names start with `language_model.`."""
    inside = [
        rf"re:language_model\.(?:{entry[3:]})"
        if entry.startswith("re:")
        else f"language_model.{entry}"
        for entry in ignore
        if entry not in ALWAYS_IGNORED
    ]
    return [*ALWAYS_IGNORED, *inside]


def _scheme(
    form: str, weights: Mapping[str, Any], inputs: Mapping[str, Any], ignore: tuple[str, ...]
) -> Scheme:
    kind, bits, strategy = weights["type"], weights["num_bits"], weights["strategy"]
    symmetric = weights.get("symmetric", True)
    text = f"{kind}{bits} weights per {strategy} in format {form}"
    if not inputs:
        if (
            (kind, form) != ("int", "pack-quantized")
            or bits not in (4, 8)
            or strategy not in ("group", "channel")
        ):
            raise ValueError(f"{text} without quantised inputs are not supported")
        group = _group_size(weights) if strategy == "group" else 0
        return Scheme(f"w{bits}a16", bits, group, False, not symmetric, ignore)
    static = not inputs.get("dynamic")
    if (
        (inputs["type"], inputs["num_bits"]) != (kind, bits)
        or bits != 8
        or not symmetric
        or strategy not in ("tensor", "channel")
        or inputs["strategy"] != ("tensor" if static else "token")
        or form not in (_FORMS.get(kind), "naive-quantized")
    ):
        activations = f"{inputs['type']}{inputs['num_bits']} inputs per {inputs['strategy']}"
        raise ValueError(f"{text} with {activations} are not supported")
    group = 0 if strategy == "channel" else -1
    name = "fp8" if kind == "float" else "int8"
    zero_points = name == "int8" and not inputs.get("symmetric", True)
    return Scheme(name, 8, group, static, zero_points, ignore)


_FORMS = {"float": "float-quantized", "int": "int-quantized"}


def _group_size(weights: Mapping[str, Any]) -> int:
    size = weights["group_size"]
    if type(size) is not int or not 1 <= size <= 1 << 20:
        raise ValueError(f"the group size {size!r} is not valid")
    return size


def _words(count: int, bits: int) -> int:
    """Return the number of int32 words needed for `count` numbers of `bits` bits."""
    return -(-count * bits // 32)


def _matches(entry: str, name: str) -> bool:
    return bool(re.match(entry[3:], name)) if entry.startswith("re:") else entry == name
