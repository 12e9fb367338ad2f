"""Converts the int8 ONNX model into weights of the PyTorch model, to test that back end.

The result is the int8 model in float32, not the original checkpoint: it exercises the code path and
says nothing about the sound of the original. The graph lacks the affine part of the instance norms
and ALBERT's pooler (unused by Kokoro); these get neutral values.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from appliance.engines.tts.onnx_graph import scaled_output
from appliance.engines.tts.synthesizer import FOLDER, ONNX_MODEL, TORCH_MODEL
from appliance.engines.tts.torch_synthesizer import empty_torch_model

Array = NDArray[np.float32]

# config.json of hexgrad/Kokoro-82M without its vocabulary; loading checks every shape.
CONFIG: Mapping[str, Any] = {
    "istftnet": {
        "upsample_kernel_sizes": [20, 12],
        "upsample_rates": [10, 6],
        "gen_istft_hop_size": 5,
        "gen_istft_n_fft": 20,
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": 512,
    },
    "dim_in": 64,
    "dropout": 0.2,
    "hidden_dim": 512,
    "max_conv_dim": 512,
    "max_dur": 50,
    "multispeaker": True,
    "n_layer": 3,
    "n_mels": 80,
    "n_token": 178,
    "style_dim": 128,
    "text_encoder_kernel_size": 5,
    "plbert": {
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 2048,
        "max_position_embeddings": 512,
        "num_hidden_layers": 12,
        "dropout": 0.1,
    },
}
_PREDICTOR = ("F0", "N", "F0_proj", "N_proj", "shared", "lstm")


def dequantise(source: Path, target: Path) -> None:
    """Write config.json and the safetensors file of `source`'s ONNX model into `target`."""
    torch = importlib.import_module("torch")
    save_file = importlib.import_module("safetensors.torch").save_file
    vocabulary = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
    config = {**CONFIG, "vocab": vocabulary["vocab"]}
    tensors = dict(_OnnxWeights(onnx.load(str(source / ONNX_MODEL))).tensors())
    state = {}
    for name, empty in empty_torch_model(config).state_dict().items():
        if name in tensors:
            tensor = torch.from_numpy(tensors[name].copy())
            assert tensor.shape == empty.shape, (name, tensor.shape, empty.shape)
        elif re.search(r"\.norm\.weight$", name):
            tensor = torch.ones_like(empty)
        elif re.search(r"\.norm\.bias$|^bert\.pooler\.", name):
            tensor = torch.zeros_like(empty)
        else:
            raise KeyError(f"{name} is not in the graph")
        state[name] = tensor.contiguous()
    target.mkdir(parents=True, exist_ok=True)
    save_file(state, target / TORCH_MODEL)
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")


class _OnnxWeights:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = model.graph.node
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """Names in the PyTorch model and values. Nodes give the names, as constants are shared."""
        for tensor in self.constants.values():
            if tensor.data_type == TensorProto.FLOAT and not tensor.name.startswith(("/", "onnx")):
                yield _module(tensor.name), self._value(tensor.name)
        for node in self.nodes:
            if node.op_type == "ConvInteger":
                yield from self._convolution(node)
            elif node.op_type in ("Conv", "ConvTranspose") and "stft" not in node.name:
                module = _module(_path(node))
                yield from _weight_norm(module, self._value(node.input[1]))
            elif node.op_type == "MatMulInteger" and node.input[1] in self.constants:
                scale = self._product_scale(node)
                weight = self._dequantised(node.input[1], node.input[3], scale)
                yield _module(_path(node)) + ".weight", weight.T
            elif node.op_type == "MatMul" and node.input[1] in self.constants:
                yield _module(_path(node)) + ".weight", self._value(node.input[1]).T
            elif node.op_type == "DynamicQuantizeLSTM":
                yield from self._lstm(node)
            elif node.op_type == "DequantizeLinear":
                gathered = self.producer[node.input[0]].input[0]
                weight = self._dequantised(gathered, node.input[2], self._value(node.input[1]))
                yield _module(_path(self.producer[node.input[0]])) + ".weight", weight
            for name in node.input:  # biases of linear layers
                if node.op_type == "Add" and name in self.constants and name.endswith(".bias"):
                    yield _module(_path(node)) + ".bias", self._value(name)

    def _convolution(self, node: NodeProto) -> Iterator[tuple[str, Array]]:
        scale_name = node.input[1].removesuffix("_quantized") + "_scale"
        weight = self._dequantised(node.input[1], node.input[3], self._value(scale_name))
        module = _module(_path(node))
        yield from _weight_norm(module, weight)
        yield module + ".weight", weight  # some convolutions have no weight norm
        _, bias = scaled_output(node, self.constants, self.producer, self.consumers)
        if bias:
            yield module + ".bias", self._value(bias)

    def _product_scale(self, node: NodeProto) -> Array:
        """The scale of the weights, from the Cast and the Mul by both scales behind the product."""
        (cast,) = self.consumers[node.output[0]]
        (scaling,) = self.consumers[cast.output[0]]
        scales = next(name for name in scaling.input if name != cast.output[0])
        factors = self.producer[scales].input
        return self._value(next(name for name in factors if name in self.constants))

    def _lstm(self, node: NodeProto) -> Iterator[tuple[str, Array]]:
        """ONNX: [direction, input, 4 x hidden], gates i o f c. PyTorch: i f c o, transposed."""
        module = _module(_path(node))
        data, recurrent, bias = (self._value(name) for name in node.input[1:4])
        data_scale, data_zero, recurrent_scale, recurrent_zero = map(self._value, node.input[8:12])
        for direction, suffix in enumerate(("", "_reverse")):
            for part, values, scale, zero in (
                ("weight_ih", data, data_scale, data_zero),
                ("weight_hh", recurrent, recurrent_scale, recurrent_zero),
            ):
                weight = (values[direction] - zero[direction]) * scale[direction]
                yield f"{module}.{part}_l0{suffix}", _gates(weight.T)
            half = bias.shape[1] // 2
            yield f"{module}.bias_ih_l0{suffix}", _gates(bias[direction, :half])
            yield f"{module}.bias_hh_l0{suffix}", _gates(bias[direction, half:])

    def _dequantised(self, name: str, zero: str, scale: Array) -> Array:
        return ((self._value(name) - self._value(zero)) * scale).astype(np.float32)

    def _value(self, name: str) -> Array:
        return numpy_helper.to_array(self.constants[name]).astype(np.float32)


def _gates(stacked: Array) -> Array:
    i, o, f, c = np.split(stacked, 4)
    return np.concatenate([i, f, c, o]).astype(np.float32)


def _weight_norm(module: str, weight: Array) -> Iterator[tuple[str, Array]]:
    """weight = g * v / |v|. 94 filters were quantized to zero, where v is set to 1."""
    norm = np.sqrt((weight.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
    direction = np.where(norm == 0, np.float32(1), weight)
    yield module + ".weight_v", direction.astype(np.float32)
    yield module + ".weight_g", norm.astype(np.float32)


def _path(node: NodeProto) -> str:
    """'/encoder/F0.0/norm1/fc/Gemm_MatMul_quant' -> 'encoder.F0.0.norm1.fc'."""
    return ".".join(node.name.strip("/").split("/")[:-1])


def _module(path: str) -> str:
    """The module's name in the PyTorch model."""
    path = re.sub(r"^decoder\.decoder\.", "decoder.", path)
    path = re.sub(r"^encoder\.", "", path)
    path = re.sub(r"(cnn\.\d)\.cnn\.\d", r"\1", path).replace("asr_res.asr_res", "asr_res")
    return f"predictor.{path}" if path.split(".")[0] in _PREDICTOR else path


if __name__ == "__main__":
    weights = Path(__file__).parents[2] / "weights"
    dequantise(weights / FOLDER, Path(sys.argv[1]))
