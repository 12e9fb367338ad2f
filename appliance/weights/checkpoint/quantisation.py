"""How the language model's linears are quantised, as compressed-tensors writes it down.

vLLM 0.32 reads `quantization_config` at the top of Ultravox' config.json and asks for every linear
of the whole model, the audio tower's and the projector's too, whether an entry of `ignore` names
it. What is not named is made for quantised weights, and bfloat16 weights are then cast into it
with no more than a warning: the model understands text and mishears audio. Hence `AUDIO_IGNORED`.

Names are matched as vLLM matches them (compressed_tensors/utils.py): a fused linear by its own
name or by the names of all its parts; `re:` begins a regular expression that `re.match` applies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUDIO_IGNORED = ("re:audio_tower.*", "re:multi_modal_projector.*")
LM_HEAD = "language_model.lm_head"
# What the top level of a quantised Ultravox must name; the second form is Llama's own.
ALWAYS_IGNORED = ("lm_head", *AUDIO_IGNORED)

_FUSED = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}  # fmt: skip

# Scales are widened to float32 by vLLM, which keeps their values; those of weight-only schemes
# take the model's dtype and must have it.
_SCALES = ("BF16", "F16", "F32")

Spec = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme for all quantised linears.

    name         fp8, int8, w4a16 or w8a16
    group        inputs that share a scale; 0: all of an output channel, -1: all of a tensor
    static       inputs have a scale of their own in the file
    zero_points  weights (w4a16, w8a16) or inputs (int8) are not symmetric
    ignore       what is not quantised
    """

    name: str
    bits: int
    group: int
    static: bool
    zero_points: bool
    ignore: tuple[str, ...]

    def is_ignored(self, module: str) -> bool:
        """Whether vLLM leaves the linear of this name as it is."""
        head, _, last = module.rpartition(".")
        fused = f"{head}.{_FUSED.get(last, last)}"
        return any(_matches(entry, name) for entry in self.ignore for name in (module, fused))

    def tensors(self, outputs: int, inputs: int, dtype: str) -> dict[str, Spec]:
        """By ending: the dtypes and shapes that the tensors of one quantised linear may have.

        Raises ValueError when the linear cannot be divided into groups.
        """
        if self.name in ("w4a16", "w8a16"):
            return self._packed(outputs, inputs, dtype)
        weight = "F8_E4M3" if self.name == "fp8" else "I8"
        one = ((1,), ())
        scale: tuple[tuple[int, ...], ...] = ((outputs, 1),) if self.group == 0 else one
        found: dict[str, Spec] = {
            "weight": ((weight,), ((outputs, inputs),)),
            "weight_scale": (_SCALES, scale),
        }
        if self.static:
            found["input_scale"] = (_SCALES, one)
            if self.zero_points:
                found["input_zero_point"] = ((weight,), one)
        return found

    def _packed(self, outputs: int, inputs: int, dtype: str) -> dict[str, Spec]:
        group = self.group or inputs
        if inputs % group:
            raise ValueError(f"{inputs} inputs are no whole groups of {group}")
        groups = inputs // group
        found: dict[str, Spec] = {
            "weight_packed": (("I32",), ((outputs, _words(inputs, self.bits)),)),
            "weight_scale": ((dtype,), ((outputs, groups),)),
            "weight_shape": (("I64", "I32"), ((2,),)),
        }
        if self.zero_points:
            found["weight_zero_point"] = (("I32",), ((_words(outputs, self.bits), groups),))
        return found


def parse(tree: Mapping[str, Any]) -> Scheme:
    """Reads a quantization_config. Raises ValueError, KeyError or TypeError, in words."""
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
        raise ValueError("weights cannot be quantised dynamically")
    if weights.get("actorder") not in (None, "static", "weight"):
        raise ValueError(f"actorder {weights['actorder']!r} is not supported by vLLM 0.32")
    ignore = tuple(tree.get("ignore") or ())
    for entry in ignore:
        if entry.startswith("re:"):
            re.compile(entry[3:])
    return _scheme(group.get("format") or tree["format"], weights, inputs, ignore)


def re_prefixed(ignore: list[str]) -> list[str]:
    """The ignore list of a Llama, for the Ultravox that holds it under `language_model.`."""
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
        asked = f"{inputs['type']}{inputs['num_bits']} inputs per {inputs['strategy']}"
        raise ValueError(f"{text} with {asked} are not supported")
    group = 0 if strategy == "channel" else -1
    name = "fp8" if kind == "float" else "int8"
    shifted = name == "int8" and not inputs.get("symmetric", True)
    return Scheme(name, 8, group, static, shifted, ignore)


_FORMS = {"float": "float-quantized", "int": "int-quantized"}


def _group_size(weights: Mapping[str, Any]) -> int:
    size = weights["group_size"]
    if type(size) is not int or not 1 <= size <= 1 << 20:
        raise ValueError(f"a group of {size!r} inputs cannot be")
    return size


def _words(count: int, bits: int) -> int:
    """How many int32 hold so many numbers of so many bits."""
    return -(-count * bits // 32)


def _matches(entry: str, name: str) -> bool:
    return bool(re.match(entry[3:], name)) if entry.startswith("re:") else entry == name
