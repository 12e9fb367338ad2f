"""Whisper's encoder and decoder as ONNX graphs, built from the weights of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.engines.llm.small.ctranslate2_file import Array
from appliance.engines.llm.small.whisper_features import BANDS, FRAME_RATE, WINDOW_SECONDS

HEAD: Final = 64  # width of an attention head
CONTRIBUTED: Final = "com.microsoft"  # the domain of ONNX Runtime's own operators


def encoder_graph(weights: dict[str, Array]) -> bytes:
    """Return a graph from features to the keys and values of each cross attention."""
    graph = _Graph(weights)
    value = "features"
    for name, stride in (("conv1", 1), ("conv2", 2)):
        inputs = [graph.weight(f"encoder/{name}/{part}") for part in ("weight", "bias")]
        value = graph.node("Conv", value, *inputs, pads=[1, 1], strides=[stride])
        value = graph.node("Gelu", value)
    states = WINDOW_SECONDS * FRAME_RATE // 2
    positions = weights["encoder/position_encodings/encodings"][:states].astype("f4")
    value = graph.node("Transpose", value, perm=[0, 2, 1])
    value = graph.node("Add", value, graph.constant(positions))
    for number in range(_layers(weights, "encoder")):
        name = f"encoder/layer_{number}/self_attention"
        normed = graph.norm(value, f"{name}/layer_norm")
        query, keys, values = graph.split(graph.linear(normed, f"{name}/linear_0"), 3)
        mixed = graph.attend(query, graph.heads(keys), graph.heads(values))
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_1"))
        value = graph.feed_forward(value, f"encoder/layer_{number}/ffn")
    value = graph.norm(value, "encoder/layer_norm")
    outputs = []
    for number in range(_layers(weights, "decoder")):
        both = graph.linear(value, f"decoder/layer_{number}/attention/linear_1")
        for kind, part in zip(("keys", "values"), graph.split(both, 2), strict=True):
            outputs.append(f"cross_{kind}_{number}")
            graph.rename(graph.heads(part), outputs[-1])
    return graph.model({"features": [1, BANDS, 2 * states]}, outputs)


def decoder_graph(weights: dict[str, Array]) -> bytes:
    """Return a graph from embedded tokens to the scores of the next ones, with a cache."""
    graph = _Graph({**weights, "projection/weight": weights["decoder/embeddings/weight"]})
    width = weights["decoder/embeddings/weight"].shape[1]
    value = "states"
    inputs: dict[str, list[Any]] = {"states": ["rows", "new", width], "mask": ["new", "all"]}
    outputs = ["logits"]
    for number in range(_layers(weights, "decoder")):
        name = f"decoder/layer_{number}/self_attention"
        normed = graph.norm(value, f"{name}/layer_norm")
        query, *new = graph.split(graph.linear(normed, f"{name}/linear_0"), 3)
        whole = []
        for kind, part in zip(("keys", "values"), new, strict=True):
            inputs[f"past_{kind}_{number}"] = ["rows", width // HEAD, "past", HEAD]
            inputs[f"cross_{kind}_{number}"] = [1, width // HEAD, "time", HEAD]
            past = f"past_{kind}_{number}"
            whole.append(graph.node("Concat", past, graph.heads(part), axis=2))
            outputs.append(f"present_{kind}_{number}")
            graph.rename(whole[-1], outputs[-1])
        mixed = graph.attend(query, whole[0], whole[1], mask="mask")
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_1"))
        name = f"decoder/layer_{number}/attention"
        query = graph.linear(graph.norm(value, f"{name}/layer_norm"), f"{name}/linear_0")
        mixed = graph.attend(query, f"cross_keys_{number}", f"cross_values_{number}")
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_2"))
        value = graph.feed_forward(value, f"decoder/layer_{number}/ffn")
    graph.rename(graph.linear(graph.norm(value, "decoder/layer_norm"), "projection"), "logits")
    return graph.model(inputs, outputs)


class _Graph:
    """Collects the nodes and weights of a graph. Its methods return the name of their output."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, inputs, [name], name, domain=domain, **attributes)
        )
        return name

    def rename(self, value: str, name: str) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def constant(self, values: Array) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(self._weights[name].astype("f4"))

    def norm(self, value: str, name: str) -> str:
        gamma, beta = self.weight(f"{name}/gamma"), self.weight(f"{name}/beta")
        return self.node("LayerNormalization", value, gamma, beta, axis=-1, epsilon=1e-5)

    def linear(self, value: str, name: str) -> str:
        """A linear layer with int8 weights, one scale per output."""
        weight = self._weights[f"{name}/weight"].astype("f4")
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-8) / np.float32(127)
        whole = np.rint(weight / scale[:, None]).astype("i1").T
        inputs = [value, self.constant(whole), self.constant(scale.astype("f4")), ""]
        if f"{name}/bias" in self._weights:
            inputs.append(self.weight(f"{name}/bias"))
        return self.node("DynamicQuantizeMatMul", *inputs, domain=CONTRIBUTED)

    def split(self, value: str, parts: int) -> list[str]:
        names = [f"part_{len(self._nodes)}_{index}" for index in range(parts)]
        self._nodes.append(helper.make_node("Split", [value], names, axis=-1, num_outputs=parts))
        return names

    def heads(self, value: str) -> str:
        """Batch x length x width to batch x heads x length x HEAD."""
        shaped = self.node("Reshape", value, self.constant(np.array([0, 0, -1, HEAD])))
        return self.node("Transpose", shaped, perm=[0, 2, 1, 3])

    def attend(self, query: str, keys: str, values: str, mask: str = "") -> str:
        factor = self.constant(np.array(HEAD**-0.5, "f4"))
        scaled = self.node("Mul", self.heads(query), factor)
        scores = self.node("MatMul", scaled, self.node("Transpose", keys, perm=[0, 1, 3, 2]))
        if mask:
            scores = self.node("Add", scores, mask)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), values)
        ordered = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.node("Reshape", ordered, self.constant(np.array([0, 0, -1])))

    def feed_forward(self, value: str, name: str) -> str:
        inner = self.linear(self.norm(value, f"{name}/layer_norm"), f"{name}/linear_0")
        inner = self.node("Gelu", inner)
        return self.node("Add", value, self.linear(inner, f"{name}/linear_1"))

    def model(self, inputs: dict[str, list[Any]], outputs: Sequence[str]) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "whisper",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self._constants,
        )
        sets = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIBUTED, 1)]
        built = helper.make_model(graph, opset_imports=sets, ir_version=9)
        return bytes(built.SerializeToString())


def _layers(weights: dict[str, Array], part: str) -> int:
    return sum(name.startswith(part) and name.endswith("ffn/linear_0/bias") for name in weights)
