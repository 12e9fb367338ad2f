"""Splits the int8 model into an acoustic model and a vocoder, so that speech can be streamed.

    tokens, style, speed ──▶ acoustic model ──▶ features, harmonics, durations, energies
    features, harmonics, style, statistics, own_statistics ──▶ vocoder ──▶ audio

The acoustic model runs once per phrase and takes a quarter of the time. The vocoder runs on any
range of frames. It can do so because of two properties: its convolutions look at a few frames
around each frame, and the mean and variance of its normalizations are inputs here. The original
computes them over the whole phrase; statistics.py predicts them. Where they cannot be predicted,
the vocoder gets the whole phrase and computes them like the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from appliance.engines.tts.onnx_graph import rewrite
from appliance.engines.tts.statistics import EPSILON

FEATURES = "/decoder/decoder/decode.3/Div_4_output_0"  # 1 x 512 x frames
HARMONICS = "/decoder/decoder/generator/Concat_3_output_0"  # 1 x 22 x (60 x frames + 1)
DURATIONS = "/encoder/Clip_output_0"  # of each token, in units of 2 frames
ENERGIES = "/encoder/N_proj/Conv_output_0"  # of each frame, as a logarithm: 1 x 1 x frames
AUDIO = "audio"
INVERSE_DEVIATIONS = "inverse_deviations"  # 1 x channels x 1: 1 / sqrt(variance + epsilon)
OFFSETS = "offsets"  # 1 x channels x 1: mean / sqrt(variance + epsilon)
OWN = "own_statistics"  # boolean: measure the statistics, as the original does; ignore the inputs

VOCODER_INPUTS = (FEATURES, HARMONICS, "style", INVERSE_DEVIATIONS, OFFSETS, OWN)
FEATURE_CHANNELS, HARMONIC_CHANNELS = 512, 22

_GENERATOR = "/decoder/decoder/generator/"
# Convolutions of the vocoder that are computed in float. The others round their input to bytes, by
# the largest value of the piece or phrase, so that a piece is rounded differently from a phrase.
# These convolutions cause most of the difference, and cost a tenth of a piece's time (ADR 16).
_EXACT = tuple(
    _GENERATOR + name
    for name in (
        "noise_convs.",
        *(f"resblocks.4/convs{part}.{number}/" for number in (0, 1) for part in (1, 2)),
    )
)


@dataclass(frozen=True, slots=True)
class _Norm:
    """An adaptive instance normalization: scale * (data - mean) / deviation + bias.

    branches  scale, bias and output of each use of the normalized data
    """

    name: str
    data: str
    mean: str
    variance: str
    branches: tuple[tuple[str, str, str], ...]
    nodes: tuple[NodeProto, ...]


def split_model(path: Path, signed_weights: bool) -> tuple[bytes, bytes]:
    """Return the acoustic model and the vocoder of the model at `path`, serialized.

    `signed_weights` is explained at `onnx_graph.fast_graph`.
    """
    model = onnx.load(str(path))
    rewrite(model.graph, signed_weights, lambda name: name.startswith(_EXACT))
    norms = _find_norms(model.graph)
    vocoder_norms = [norm for norm in norms if norm.name.startswith(_GENERATOR)]
    _take_statistics_as_inputs(model.graph, vocoder_norms)
    _fuse_norms(model.graph, [norm for norm in norms if norm not in vocoder_norms])
    _replace_squares(model.graph)
    float_type = TensorProto.FLOAT
    acoustic = _extract(model, [], [FEATURES, HARMONICS, DURATIONS, ENERGIES])
    vocoder = _extract(
        model,
        [
            helper.make_tensor_value_info(FEATURES, float_type, [1, FEATURE_CHANNELS, "frames"]),
            helper.make_tensor_value_info(HARMONICS, float_type, [1, HARMONIC_CHANNELS, "steps"]),
        ],
        [AUDIO],
    )
    return acoustic.SerializeToString(), vocoder.SerializeToString()


def statistics_model(path: Path, signed_weights: bool) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the whole model with additional outputs, to measure what statistics.py predicts.

    The outputs are FEATURES, DURATIONS, and mean and variance of each normalization of the
    vocoder, whose names are returned in the order of the vocoder's channels.
    """
    model = onnx.load(str(path))
    rewrite(model.graph, signed_weights)
    names = [
        (norm.mean, norm.variance)
        for norm in _find_norms(model.graph)
        if norm.name.startswith(_GENERATOR)
    ]
    for name in (FEATURES, DURATIONS, *(name for pair in names for name in pair)):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return model.SerializeToString(), names


def _find_norms(graph: GraphProto) -> list[_Norm]:
    """Return all adaptive instance normalizations, sorted by name.

    The exporter emits for each: ReduceMean, Sub, Mul (square), ReduceMean, Add (epsilon), Sqrt and
    Div, then for each branch Mul (scale) and Add (bias).
    """
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            consumers.setdefault(name, []).append(node)

    def following(node: NodeProto, kind: str) -> NodeProto | None:
        return next((n for n in consumers.get(node.output[0], ()) if n.op_type == kind), None)

    norms = []
    for mean in graph.node:
        chain = [mean] if mean.op_type == "ReduceMean" else []
        for kind in ("Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div"):
            next_node = following(chain[-1], kind) if chain else None
            chain = [*chain, next_node] if next_node is not None else []
        if not chain or chain[1].input[0] != mean.input[0]:
            continue
        divided = chain[-1].output[0]
        branches, tail = [], []
        for scaled in consumers[divided]:
            (added,) = consumers[scaled.output[0]]
            (scale,) = (name for name in scaled.input if name != divided)
            (bias,) = (name for name in added.input if name != scaled.output[0])
            branches.append((scale, bias, added.output[0]))
            tail += [scaled, added]
        variance = chain[3].output[0]
        norms.append(
            _Norm(
                mean.name,
                mean.input[0],
                mean.output[0],
                variance,
                tuple(branches),
                (*chain, *tail),
            )
        )
    return sorted(norms, key=lambda norm: norm.name)


def _take_statistics_as_inputs(graph: GraphProto, norms: list[_Norm]) -> None:
    """Normalize with the inputs INVERSE_DEVIATIONS and OFFSETS unless the input OWN is true."""
    channels = [_channels(graph, norm) for norm in norms]
    shape = [1, sum(channels), 1]
    sizes = numpy_helper.from_array(np.array(channels, np.int64), "norm_sizes")
    graph.initializer.append(sizes)
    graph.initializer.append(numpy_helper.from_array(np.array(EPSILON, np.float32), "norm_epsilon"))
    graph.input.append(helper.make_tensor_value_info(OWN, TensorProto.BOOL, []))
    new: list[NodeProto] = []
    for kind in (INVERSE_DEVIATIONS, OFFSETS):
        graph.input.append(helper.make_tensor_value_info(kind, TensorProto.FLOAT, shape))
        parts = [f"{norm.name}/given/{kind}" for norm in norms]
        new.append(helper.make_node("Split", [kind, "norm_sizes"], parts, axis=1))
    for norm in norms:
        inverse, offset = f"{norm.name}/{INVERSE_DEVIATIONS}", f"{norm.name}/{OFFSETS}"
        new.append(_own_or_given_statistics(norm, inverse, offset))
        for number, (scale, bias, result) in enumerate(norm.branches):
            name = f"{norm.name}/{number}"
            new += [
                helper.make_node("Mul", [inverse, scale], [f"{name}/scale"]),
                helper.make_node("Mul", [offset, scale], [f"{name}/shift"]),
                helper.make_node("Sub", [bias, f"{name}/shift"], [f"{name}/bias"]),
                helper.make_node("Mul", [norm.data, f"{name}/scale"], [f"{name}/scaled"]),
                helper.make_node("Add", [f"{name}/scaled", f"{name}/bias"], [result]),
            ]
    _replace(graph, norms, new)


def _own_or_given_statistics(norm: _Norm, inverse: str, offset: str) -> NodeProto:
    """Return the node that outputs `inverse` and `offset`: an If over the input OWN."""

    def node(kind: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(kind, inputs, [f"{norm.name}/own/{output}"])

    def branch(name: str, nodes: list[NodeProto]) -> GraphProto:
        results = [nodes[index].output[0] for index in (-2, -1)]
        values = [helper.make_tensor_value_info(r, TensorProto.FLOAT, None) for r in results]
        return helper.make_graph(nodes, f"{norm.name}/{name}", [], values)

    def mean(data: str, output: str) -> NodeProto:
        reduced = NodeProto.FromString(norm.nodes[0].SerializeToString())  # keeps its axes
        reduced.name = reduced.output[0] = f"{norm.name}/own/{output}"
        reduced.input[0] = data
        return reduced

    own = f"{norm.name}/own"
    measured = [
        mean(norm.data, "mean"),
        node("Sub", [norm.data, f"{own}/mean"], "centred"),
        node("Mul", [f"{own}/centred", f"{own}/centred"], "squares"),
        mean(f"{own}/squares", "variance"),
        node("Add", [f"{own}/variance", "norm_epsilon"], "positive"),
        node("Sqrt", [f"{own}/positive"], "deviation"),
        node("Reciprocal", [f"{own}/deviation"], "inverse"),
        node("Mul", [f"{own}/mean", f"{own}/inverse"], "offset"),
    ]
    given = [
        helper.make_node("Identity", [f"{norm.name}/given/{kind}"], [f"{norm.name}/taken/{kind}"])
        for kind in (INVERSE_DEVIATIONS, OFFSETS)
    ]
    return helper.make_node(
        "If",
        [OWN],
        [inverse, offset],
        name=f"{norm.name}/statistics",
        then_branch=branch("own", measured),
        else_branch=branch("given", given),
    )


def _channels(graph: GraphProto, norm: _Norm) -> int:
    """Return the number of channels, which is half the width of the layer that makes the scale."""
    # The scale is a slice of a linear layer of the style: Gemm with a bias of 2 x channels.
    producer = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    pending, seen = [norm.branches[0][0]], set()
    while pending:
        name = pending.pop(0)
        node = producer.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        for tensor in (constants[i] for i in node.input if i in constants):
            if len(tensor.dims) == 1 and tensor.dims[0] > 1 and "fc.bias" in tensor.name:
                return int(tensor.dims[0]) // 2
        pending += node.input
    raise ValueError(f"the channels of {norm.name} are unknown")


def _fuse_norms(graph: GraphProto, norms: list[_Norm]) -> None:
    """Replace normalizations by InstanceNormalization, which is one pass instead of seven."""
    flat = numpy_helper.from_array(np.array([-1], np.int64), "flat_shape")
    graph.initializer.append(flat)
    new = []
    for norm in norms:
        for number, (scale, bias, result) in enumerate(norm.branches):
            name = f"{norm.name}/{number}"
            new += [
                helper.make_node("Reshape", [scale, "flat_shape"], [f"{name}/scale"]),
                helper.make_node("Reshape", [bias, "flat_shape"], [f"{name}/bias"]),
                helper.make_node(
                    "InstanceNormalization",
                    [norm.data, f"{name}/scale", f"{name}/bias"],
                    [result],
                    epsilon=EPSILON,
                ),
            ]
    _replace(graph, norms, new)


def _replace_squares(graph: GraphProto) -> None:
    """Replace the square of a sine, which is a Pow, by a product: it is vectorized."""
    sines = {node.output[0] for node in graph.node if node.op_type == "Sin"}
    for node in graph.node:
        if node.op_type == "Pow" and node.input[0] in sines:
            node.op_type = "Mul"
            node.input[1] = node.input[0]


def _replace(graph: GraphProto, norms: Iterable[_Norm], new: list[NodeProto]) -> None:
    """Replace the nodes of `norms` by `new`, and restore the order of evaluation."""
    dropped = {node.output[0] for norm in norms for node in norm.nodes}
    nodes = [node for node in graph.node if node.output[0] not in dropped] + new
    producer = {name: number for number, node in enumerate(nodes) for name in node.output}
    dependencies = {
        number: {producer[name] for name in _reads(node) if name in producer}
        for number, node in enumerate(nodes)
    }
    ordered = [nodes[number] for number in TopologicalSorter(dependencies).static_order()]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _extract(
    model: ModelProto, inputs: list[onnx.ValueInfoProto], outputs: list[str]
) -> ModelProto:
    """Return the part of the model that computes `outputs` from its own inputs and `inputs`."""
    graph = model.graph
    own = {value.name: value for value in graph.input}
    given = {value.name: value for value in inputs}
    nodes = list(_needed_nodes(graph, outputs, set(given)))
    used = {name for node in nodes for name in _reads(node)}
    part = helper.make_graph(
        nodes,
        graph.name,
        [*inputs, *(value for name, value in own.items() if name in used)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    extracted = helper.make_model(part, opset_imports=model.opset_import)
    extracted.ir_version = model.ir_version
    return extracted


def _needed_nodes(graph: GraphProto, outputs: list[str], given: set[str]) -> Iterator[NodeProto]:
    """Yield, in order, the nodes that `outputs` depend on, up to the tensors `given`."""
    needed = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output) - given:
            kept.append(node)
            needed.update(_reads(node) - given)
    yield from reversed(kept)


def _reads(node: NodeProto) -> set[str]:
    """Return the names of a node's inputs, and of what its branches read from outside."""
    names = set(node.input)
    for attribute in node.attribute:
        inner = attribute.g.node
        made = {name for nested in inner for name in nested.output}
        names.update(*(_reads(nested) - made for nested in inner))
    return names
