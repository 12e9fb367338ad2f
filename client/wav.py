"""WAV files: reads any sample rate, channel count and sample width; writes mono int16."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from client.errors import UsageError
from client.wire import MIC_SAMPLE_RATE

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags, WAVE_FORMAT_* in mmreg.h


def read_wav(path: Path, rate: int = MIC_SAMPLE_RATE) -> bytes:
    """Read the file as mono int16 PCM at `rate` Hz. Raises UsageError.

    The standard library reads neither float samples nor, before Python 3.12, the extensible header
    that recorders write for 24 bit and multichannel files.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        samples, file_rate = _parse(raw)
    except ValueError as error:
        raise UsageError(f"{path} is not a usable WAV file: {error}") from error
    if file_rate != rate:
        samples = soxr.resample(samples, file_rate, rate)
    return to_pcm(samples)


def to_pcm(samples: NDArray[np.float32]) -> bytes:
    """Convert float samples of -1..1 to int16 PCM; louder samples are clipped."""
    return (np.clip(samples, -1.0, 32767 / 32768) * 32768).round().astype("<i2").tobytes()


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """Write mono int16 PCM. Raises UsageError."""
    try:
        with path.open("wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(pcm)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _parse(raw: bytes) -> tuple[NDArray[np.float32], int]:
    """Parse a file into mono float samples and their sample rate. Raises ValueError."""
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    header = b""
    position = 12
    while position + 8 <= len(raw):
        name = raw[position : position + 4]
        size = int.from_bytes(raw[position + 4 : position + 8], "little")
        body = raw[position + 8 : position + 8 + size]
        if name == b"fmt ":
            header = body
        elif name == b"data":
            return _parse_samples(header, body)
        position += 8 + size + size % 2
    raise ValueError("it has no audio data")


def _parse_samples(header: bytes, body: bytes) -> tuple[NDArray[np.float32], int]:
    if len(header) < 16:
        raise ValueError("its header is missing or too short")
    kind = int.from_bytes(header[0:2], "little")
    channels = int.from_bytes(header[2:4], "little")
    rate = int.from_bytes(header[4:8], "little")
    bits = int.from_bytes(header[14:16], "little")
    if kind == EXTENSIBLE and len(header) >= 26:
        kind = int.from_bytes(header[24:26], "little")
    if not 1 <= channels <= 64 or not 1000 <= rate <= 768_000:
        raise ValueError(f"{channels} channels at {rate} Hz are not supported")
    width = bits // 8
    if kind == FLOAT and width in (4, 8):
        wide = np.frombuffer(body[: len(body) // width * width], dtype=f"<f{width}")
        samples = np.nan_to_num(wide.astype(np.float32))
    elif kind == PCM and width in (1, 2, 3, 4):
        samples = _parse_integers(body[: len(body) // width * width], width)
    else:
        raise ValueError(f"its encoding (format {kind}, {bits} bits) is neither PCM nor float")
    frames = samples[: samples.size // channels * channels].reshape(-1, channels)
    return frames.mean(axis=1).astype(np.float32), rate


def _parse_integers(body: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:  # the only unsigned width
        return _scale(np.frombuffer(body, dtype=np.uint8).astype(np.int16) - 128, 1)
    if width == 3:
        padded = np.zeros((len(body) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3)
        return _scale(padded.view("<i4").reshape(-1), 4)
    return _scale(np.frombuffer(body, dtype=f"<i{width}"), width)


def _scale(integers: NDArray[np.integer], width: int) -> NDArray[np.float32]:
    """Convert signed integers of `width` bytes to -1..1."""
    return (integers / 2.0 ** (8 * width - 1)).astype(np.float32)
