"""Silero VAD's network for 16 kHz, computed with NumPy from the weights of Pipecat's ONNX file.

onnxruntime takes twice as long: the file has a network for each of two sample rates, checks shapes
while it runs, and its convolutions have one to four columns. Here they are matrix products.

    576 samples + 64 reflected ones
      4 windows of 256, hop 128         magnitude of 129 frequencies
      4 convolutions of 3 taps + ReLU   129 → 128, 128 → 64 (stride 2), 64 → 64 (stride 2), 64 → 128
      LSTM                              128
      ReLU, dot product, sigmoid        probability
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources

import numpy as np
import numpy.typing as npt
import onnx
from numpy.lib.stride_tricks import as_strided
from onnx import helper, numpy_helper

Floats = npt.NDArray[np.float32]
SAMPLES = 576  # that the network hears at once
UNITS = 128  # of the LSTM
_REFLECTED = 64
_FRAME, _HOP, _FRAMES = 256, 128, 4
_BINS = _FRAME // 2 + 1
_SHAPES = {
    "stft.forward_basis_buffer": (2 * _BINS, 1, _FRAME),
    "encoder.0.reparam_conv.weight": (128, _BINS, 3),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.3.reparam_conv.weight": (UNITS, 64, 3),
    "decoder.rnn.weight_ih": (4 * UNITS, UNITS),
    "decoder.rnn.weight_hh": (4 * UNITS, UNITS),
    "decoder.decoder.2.weight": (1, UNITS, 1),
}


def load_weights() -> dict[str, Floats]:
    """Return the weights for 16 kHz by name. Raises ValueError if the file has another network."""
    data = resources.files("pipecat.audio.vad.data").joinpath("silero_vad.onnx").read_bytes()
    graph = onnx.load_model_from_string(data).graph
    (choice,) = (node for node in graph.node if node.op_type == "If")  # whether 16 kHz
    branches = {a.name: helper.get_attribute_value(a) for a in choice.attribute}
    weights = {
        node.output[0].rpartition("__")[2]: numpy_helper.to_array(node.attribute[0].t)
        for node in branches["then_branch"].node
        if node.op_type == "Constant"
    }
    for name, shape in _SHAPES.items():
        if name not in weights or weights[name].shape != shape:
            raise ValueError(f"silero_vad.onnx has no {name} of shape {shape}")
    return weights


class SileroNetwork:
    """The network. It keeps no state between two windows, but is not for several threads at once.

    `weights` is as returned by `load_weights`.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._basis = np.ascontiguousarray(weights["stft.forward_basis_buffer"][:, 0].T)
        # With stride 2, the third convolution has one row, whose first tap hears padding only.
        # The fourth one hears one row, and padding at both sides.
        taps = slice(0, 3), slice(0, 3), slice(1, 3), slice(1, 2)
        layers = [_layer(weights, number, part) for number, part in enumerate(taps)]
        self._layers = layers
        gates = np.concatenate([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]], 1)
        bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        # Gates are in the order i, f, g, o. All but g are sigmoids: (1 + tanh(x / 2)) / 2.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], dtype=np.float32), UNITS)
        self._gates = np.ascontiguousarray(gates.T * half)
        self._gates_bias = bias * half
        self._output = weights["decoder.decoder.2.weight"].reshape(UNITS).copy()
        self._output_bias = float(weights["decoder.decoder.2.bias"][0])
        # Intermediate results. The first two layers read overlapping rows; the rows of zeros
        # around their input are its padding.
        self._samples = np.zeros(SAMPLES + _REFLECTED, dtype=np.float32)
        self._frames = _rows(self._samples, _FRAMES, _HOP, _FRAME)
        self._spectrum = np.zeros((_FRAMES, 2 * _BINS), dtype=np.float32)
        padded = np.zeros((_FRAMES + 2, _BINS), dtype=np.float32)
        self._magnitude, first_input = padded[1:-1], _rows(padded, _FRAMES, _BINS, 3 * _BINS)
        padded = np.zeros((_FRAMES + 2, 128), dtype=np.float32)
        second_input = _rows(padded, 2, 2 * 128, 3 * 128)
        second_output = np.zeros((2, 64), dtype=np.float32)
        third_output = np.zeros((1, 64), dtype=np.float32)
        self._lstm_input = np.zeros((1, 2 * UNITS), dtype=np.float32)
        self._activations = np.zeros((1, 4 * UNITS), dtype=np.float32)
        self._passes = [
            (first_input, padded[1:-1]),
            (second_input, second_output),
            (second_output.reshape(1, 128), third_output),
            (third_output, self._lstm_input[:, :UNITS]),
        ]

    def run(self, samples: Floats, state: Floats) -> tuple[float, Floats]:
        """Return the probability of a voice, and the next state.

        `samples` has shape (SAMPLES,), in -1 to 1. A state has shape (2, UNITS): the LSTM's output
        and its cell; zeros at first.
        """
        self._samples[:SAMPLES] = samples
        self._samples[SAMPLES:] = samples[SAMPLES - 2 : SAMPLES - 2 - _REFLECTED : -1]
        spectrum = np.matmul(self._frames, self._basis, out=self._spectrum)
        np.multiply(spectrum, spectrum, out=spectrum)
        np.add(spectrum[:, :_BINS], spectrum[:, _BINS:], out=self._magnitude)
        np.sqrt(self._magnitude, out=self._magnitude)
        for (rows, output), (matrix, bias) in zip(self._passes, self._layers, strict=True):
            np.matmul(rows, matrix, out=output)
            output += bias
            np.maximum(output, 0, out=output)
        state = self._step(state)
        voice = float(np.maximum(state[0], 0) @ self._output) + self._output_bias
        return 0.5 + 0.5 * math.tanh(0.5 * voice), state

    def _step(self, state: Floats) -> Floats:
        """Return the state of the LSTM after the latest output of the convolutions."""
        self._lstm_input[0, UNITS:] = state[0]
        gates = np.matmul(self._lstm_input, self._gates, out=self._activations)
        gates += self._gates_bias
        np.tanh(gates, out=gates)
        enter, keep, value, show = gates.reshape(4, UNITS)
        enter += 1
        enter *= value
        keep += 1
        keep *= state[1]
        keep += enter
        after = np.empty_like(state)
        output, cell = after
        np.multiply(keep, 0.5, out=cell)
        np.tanh(cell, out=output)
        show += 1
        output *= show
        output *= 0.5
        return after


def _layer(weights: Mapping[str, Floats], number: int, taps: slice) -> tuple[Floats, Floats]:
    """Return a convolution as a matrix of shape (taps * inputs, outputs), and its bias."""
    kernel = weights[f"encoder.{number}.reparam_conv.weight"][:, :, taps]
    matrix = np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel)))
    return matrix, weights[f"encoder.{number}.reparam_conv.bias"].copy()


def _rows(values: Floats, count: int, step: int, size: int) -> Floats:
    """Return `count` overlapping views of `size` values, at every `step` values."""
    return as_strided(values, (count, size), (4 * step, 4))
