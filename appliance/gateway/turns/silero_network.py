"""Silero VAD's network for 16 kHz, computed with NumPy from the weights of Pipecat's ONNX file.

onnxruntime takes twice as long, and 8 MB more: the file has a network for each of two sample rates
and checks shapes while it runs, and its convolutions have one to four columns. Here they are matrix
products (ADR 30).

    576 samples + 64 reflected ones
      4 windows of 256, hop 128         magnitude of 129 frequencies
      4 convolutions of 3 taps + ReLU   129 → 128, 128 → 64 (stride 2), 64 → 64 (stride 2), 64 → 128
      LSTM                              128
      ReLU, dot product, sigmoid        probability
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Floats = npt.NDArray[np.float32]
SAMPLES = 576  # that the network hears at once
UNITS = 128  # of the LSTM
_REFLECTED = 64
_FRAME, _HOP, _FRAMES = 256, 128, 4
_BINS = _FRAME // 2 + 1
_ZERO, _HALF, _ONE = (np.array(x, dtype=np.float32) for x in (0, 0.5, 1))  # numbers take longer
_SHAPES = {
    "stft.forward_basis_buffer": (2 * _BINS, 1, _FRAME),
    "encoder.0.reparam_conv.weight": (128, _BINS, 3),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.3.reparam_conv.weight": (UNITS, 64, 3),
    "encoder.0.reparam_conv.bias": (128,),
    "encoder.1.reparam_conv.bias": (64,),
    "encoder.2.reparam_conv.bias": (64,),
    "encoder.3.reparam_conv.bias": (UNITS,),
    "decoder.rnn.weight_ih": (4 * UNITS, UNITS),
    "decoder.rnn.weight_hh": (4 * UNITS, UNITS),
    "decoder.rnn.bias_ih": (4 * UNITS,),
    "decoder.rnn.bias_hh": (4 * UNITS,),
    "decoder.decoder.2.weight": (1, UNITS, 1),
    "decoder.decoder.2.bias": (1,),
}


def load_weights() -> dict[str, Floats]:
    """Return the weights for 16 kHz by name. Raises ValueError if the file has another network."""
    data = resources.files("pipecat.audio.vad.data").joinpath("silero_vad.onnx").read_bytes()
    graph = _onnx_messages().ModelProto.FromString(data).graph
    (choice,) = (node for node in graph.node if node.op_type == "If")  # whether 16 kHz
    (branch,) = (branch.g for branch in choice.attribute if branch.name == "then_branch")
    tensors = {
        node.output[0].rpartition("__")[2]: node.attribute[0].t
        for node in branch.node
        if node.op_type == "Constant"
    }
    for name, shape in _SHAPES.items():
        if name not in tensors or tuple(tensors[name].dims) != shape:
            raise ValueError(f"silero_vad.onnx has no {name} of shape {shape}")
    return {
        name: np.frombuffer(tensors[name].raw_data, "<f4").reshape(shape)
        for name, shape in _SHAPES.items()
    }


def _onnx_messages() -> Any:
    """Return the protobuf messages of ONNX files.

    They are loaded without the rest of the package `onnx`, which would take 4.5 MB of the gateway.
    """
    package = importlib.util.find_spec("onnx")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise ImportError("the package onnx is not installed")
    path = Path(folders[0]) / "onnx_ml_pb2.py"
    spec = importlib.util.spec_from_file_location("appliance_onnx_ml_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SileroNetwork:
    """The network. It keeps no state between two calls, but is not for several threads at once.

    `weights` is as returned by `load_weights`.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._basis = np.ascontiguousarray(weights["stft.forward_basis_buffer"][:, 0].T)
        # With stride 2, the third convolution has one row, whose first tap hears padding only.
        # The fourth one hears one row, and padding at both sides.
        taps = slice(0, 3), slice(0, 3), slice(1, 3), slice(1, 2)
        self._layers = [_layer(weights, number, part) for number, part in enumerate(taps)]
        # Gates are in the order i, f, g, o. All but g are sigmoids: (1 + tanh(x / 2)) / 2.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], dtype=np.float32), UNITS)
        bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        inputs = np.ascontiguousarray(weights["decoder.rnn.weight_ih"].T * half)
        self._gates = inputs, bias * half
        self._recurrent = np.ascontiguousarray(weights["decoder.rnn.weight_hh"].T * half)
        self._output = weights["decoder.decoder.2.weight"].reshape(UNITS).copy()
        self._output_bias = float(weights["decoder.decoder.2.bias"][0])
        self._buffers: dict[int, _Buffers] = {}

    def encode(self, samples: Floats) -> Floats:
        """Return what the LSTM hears, one row for each window.

        `samples` has shape (windows, SAMPLES), in -1 to 1. Several windows take much less time at
        once than one after another, because the weights, 0.9 MB, are read only once.
        """
        count = len(samples)
        if count not in self._buffers:
            self._buffers[count] = _Buffers(count)
        buffers = self._buffers[count]
        buffers.samples[:, :SAMPLES] = samples
        buffers.samples[:, SAMPLES:] = samples[:, SAMPLES - 2 : SAMPLES - 2 - _REFLECTED : -1]
        spectrum = np.matmul(buffers.frames, self._basis, out=buffers.spectrum)
        np.multiply(spectrum, spectrum, out=spectrum)
        magnitude = buffers.magnitude
        np.add(spectrum[..., :_BINS], spectrum[..., _BINS:], out=magnitude)
        np.sqrt(magnitude, out=magnitude)
        for (rows, output), (matrix, bias) in zip(buffers.passes, self._layers, strict=True):
            np.matmul(rows, matrix, out=output)
            output += bias
            np.maximum(output, _ZERO, out=output)
        matrix, bias = self._gates
        gates: Floats = output[:, 0] @ matrix
        gates += bias
        return gates

    def step(self, encoded: Floats, state: Floats) -> tuple[float, Floats]:
        """Return the probability of a voice in a window, and the next state.

        `encoded` is a row that `encode` has returned. A state has shape (2, UNITS): the LSTM's
        output and its cell; zeros at first.
        """
        gates = state[0] @ self._recurrent
        gates += encoded
        np.tanh(gates, out=gates)
        enter, keep, value, show = gates.reshape(4, UNITS)
        enter += _ONE
        enter *= value
        keep += _ONE
        keep *= state[1]
        keep += enter
        after = np.empty_like(state)
        output, cell = after
        np.multiply(keep, _HALF, out=cell)
        np.tanh(cell, out=output)
        show += _ONE
        output *= show
        output *= _HALF
        voice = float(np.maximum(output, _ZERO) @ self._output) + self._output_bias
        return 0.5 + 0.5 * math.tanh(0.5 * voice), after


class _Buffers:
    """Intermediate results for a number of windows, as views of a few arrays.

    The first two convolutions read overlapping rows; the rows of zeros around their input are its
    padding.

    passes  input and output of each convolution
    """

    def __init__(self, count: int) -> None:
        def zeros(rows: int, columns: int) -> Floats:
            return np.zeros((count, rows, columns), dtype=np.float32)

        self.samples = np.zeros((count, SAMPLES + _REFLECTED), dtype=np.float32)
        self.frames = _rows(self.samples, _FRAMES, _HOP, _FRAME)
        self.spectrum = zeros(_FRAMES, 2 * _BINS)
        first, second = zeros(_FRAMES + 2, _BINS), zeros(_FRAMES + 2, 128)
        third, fourth, last = zeros(2, 64), zeros(1, 64), zeros(1, UNITS)
        self.magnitude = first[:, 1:-1]
        self.passes = [
            (_rows(first, _FRAMES, _BINS, 3 * _BINS), second[:, 1:-1]),
            (_rows(second, 2, 2 * 128, 3 * 128), third),
            (third.reshape(count, 1, 128), fourth),
            (fourth, last),
        ]


def _layer(weights: Mapping[str, Floats], number: int, taps: slice) -> tuple[Floats, Floats]:
    """Return a convolution as a matrix of shape (taps * inputs, outputs), and its bias."""
    kernel = weights[f"encoder.{number}.reparam_conv.weight"][:, :, taps]
    matrix = np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel)))
    return matrix, weights[f"encoder.{number}.reparam_conv.bias"].copy()


def _rows(values: Floats, count: int, step: int, size: int) -> Floats:
    """Return `count` overlapping views of `size` values, at every `step` values of each window."""
    return as_strided(values, (len(values), count, size), (values.strides[0], 4 * step, 4))
