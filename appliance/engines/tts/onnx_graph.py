"""Rewrites the convolutions of the int8 model as matrix products, which onnxruntime runs faster.

The quantizer produced 87 one-dimensional `ConvInteger` nodes, which took nine tenths of the time.
For these, onnxruntime unfolds the input element by element on one thread and multiplies unsigned
by unsigned bytes. Here each node becomes a matrix product over time-major data. For every tap of
the kernel, a slice of the padded input is taken; the slices are concatenated, which copies whole
rows. The product is one `MatMulIntegerToFloat`, which packs its weights in advance and uses the
CPU's byte instructions. The multiplied integers stay the same. The bias is added as float, before
its quantization.

Chosen nodes can become float convolutions instead. They take more time, and their input is not
rounded to bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

# `Slice` clamps an end beyond the data to the length of the data.
_END = np.iinfo(np.int64).max


def fast_graph(path: Path, signed_weights: bool) -> bytes:
    """Load the model at `path`, rewrite its convolutions and serialize it for onnxruntime.

    `signed_weights` stores weights as int8 rather than uint8, with the same values. This is much
    faster on CPUs that multiply u8 by s8 exactly (VNNI, AMX). Do not use it on other CPUs: their
    instruction (vpmaddubsw) saturates its 16-bit sums.
    """
    model = onnx.load(str(path))
    rewrite(model.graph, signed_weights)
    serialized: bytes = model.SerializeToString()
    return serialized


def rewrite(
    graph: GraphProto, signed_weights: bool, is_exact: Callable[[str], bool] = lambda name: False
) -> None:
    """Replace, in place, every ungrouped 1-D `ConvInteger` that has constant weights.

    Nodes for whose name `is_exact` returns true are computed in float.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    nodes: list[NodeProto] = []
    replaced: set[str] = set()
    for node in graph.node:
        if node.op_type == "ConvInteger" and node.input[1] in constants:
            if is_exact(node.name):
                nodes.append(_float_convolution(node, graph, constants, producer, consumers))
            else:
                nodes += _matrix_product(
                    node, graph, constants, producer, consumers, signed_weights
                )
            replaced.update(nodes[-1].output)
        elif node.output[0] not in replaced:
            nodes.append(node)
    _keep_needed(graph, nodes)


def _matrix_product(
    conv: NodeProto,
    graph: GraphProto,
    constants: dict[str, TensorProto],
    producer: dict[str, NodeProto],
    consumers: dict[str, list[NodeProto]],
    signed_weights: bool,
) -> list[NodeProto]:
    """Return the nodes that replace `conv` and the scaling and bias that follow it."""
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    data, weight_name, zero_point = conv.input[:3]
    weights = numpy_helper.to_array(constants[weight_name])  # [out, in, taps]
    if weights.ndim != 3 or attributes.get("group", 1) != 1:
        return [conv]
    result, bias = scaled_output(conv, constants, producer, consumers)
    taps = weights.shape[2]
    name = conv.name

    weight_zero = int(numpy_helper.to_array(constants[conv.input[3]]))
    matrix = weights.transpose(2, 1, 0).reshape(-1, weights.shape[0])
    if signed_weights:
        matrix = (matrix.astype(np.int16) - 128).astype(np.int8)
        weight_zero -= 128

    def constant(label: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{name}/{label}"))
        return f"{name}/{label}"

    unfolding, rows = _unfold(conv, taps, constant)
    product = helper.make_node(
        "MatMulIntegerToFloat",
        [
            rows,
            constant("matrix", matrix),
            producer[data].output[1],
            _scale_name(weight_name),
            zero_point,
            constant("matrix_zero", np.array(weight_zero, dtype=matrix.dtype)),
            *([bias] if bias else []),
        ],
        [f"{name}/product"],
        domain="com.microsoft",
    )
    transposed = helper.make_node("Transpose", [f"{name}/product"], [result], perm=[0, 2, 1])
    return [*unfolding, product, transposed]


def _unfold(
    conv: NodeProto, taps: int, constant: Callable[[str, np.ndarray], str]
) -> tuple[list[NodeProto], str]:
    """Return the nodes that make a row of the inputs of each output, and the name of the rows.

    `constant` adds a constant to the graph, by its label, and returns its name.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    dilation, stride = attributes["dilations"][0], attributes["strides"][0]
    before, after = attributes["pads"]
    data, zero_point, name = conv.input[0], conv.input[2], conv.name

    def integers(label: str, *values: int) -> str:
        return constant(label, np.array(values, dtype=np.int64))

    nodes = [helper.make_node("Transpose", [data], [f"{name}/rows"], perm=[0, 2, 1])]
    rows = f"{name}/rows"
    if before or after:
        pads = integers("pads", 0, before, 0, 0, after, 0)
        nodes.append(helper.make_node("Pad", [rows, pads, zero_point], [f"{name}/padded"]))
        rows = f"{name}/padded"
    if taps > 1 or stride > 1:
        axis, step = integers("axis", 1), integers("step", stride)
        slices = []
        for tap in range(taps):
            end = (tap - taps + 1) * dilation or _END
            ends = integers(f"end{tap}", end)
            starts = integers(f"start{tap}", tap * dilation)
            slices.append(f"{name}/tap{tap}")
            nodes.append(helper.make_node("Slice", [rows, starts, ends, axis, step], slices[-1:]))
        nodes.append(helper.make_node("Concat", slices, [f"{name}/unfolded"], axis=2))
        rows = f"{name}/unfolded"
    return nodes, rows


def _float_convolution(
    conv: NodeProto,
    graph: GraphProto,
    constants: dict[str, TensorProto],
    producer: dict[str, NodeProto],
    consumers: dict[str, list[NodeProto]],
) -> NodeProto:
    """Return the node that replaces `conv`, the quantization before it and the scaling after it."""
    weight_name = conv.input[1]

    def number(name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(constants[name]).astype(np.float32)

    weights = (number(weight_name) - number(conv.input[3])) * number(_scale_name(weight_name))
    name = f"{conv.name}/weights"
    graph.initializer.append(numpy_helper.from_array(weights, name))
    result, bias = scaled_output(conv, constants, producer, consumers)
    data = producer[conv.input[0]].input[0]  # before DynamicQuantizeLinear
    inputs = [data, name, *([bias] if bias else [])]
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    return helper.make_node("Conv", inputs, [result], name=f"{conv.name}/float", **attributes)


def _scale_name(weight_name: str) -> str:
    return weight_name.removesuffix("_quantized") + "_scale"


def scaled_output(
    conv: NodeProto,
    constants: dict[str, TensorProto],
    producer: dict[str, NodeProto],
    consumers: dict[str, list[NodeProto]],
) -> tuple[str, str]:
    """Return the names of the float output after `conv` and of its float bias ('' without bias).

    The quantizer emits ConvInteger, then Cast, then Mul(scale). With a bias, it emits
    Add(Reshape(Cast(Floor(Div(bias, scale))))) between ConvInteger and Cast.
    """
    bias = ""
    (following,) = consumers[conv.output[0]]
    if following.op_type == "Add":
        (term,) = (name for name in following.input if name != conv.output[0])
        while term not in constants or constants[term].data_type != TensorProto.FLOAT:
            term = producer[term].input[0]
        bias = term
        (following,) = consumers[following.output[0]]
    (scaling,) = consumers[following.output[0]]
    return scaling.output[0], bias


def _keep_needed(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Keep only the nodes and constants that the graph's outputs depend on."""
    needed = {output.name for output in graph.output}
    kept = []
    produced: set[str] = set()
    for node in reversed(nodes):
        if any(name in needed and name not in produced for name in node.output):
            kept.append(node)
            produced.update(node.output)
            needed.update(node.input)
    kept.reverse()
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)
