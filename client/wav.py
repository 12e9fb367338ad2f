"""WAV files: reads any sample rate, channel count and sample width; writes mono int16.

Programs that write a WAV file into a pipe do not know its length: they leave the sizes in the
header at 0, 0xFFFFFFFF or another placeholder. The reader therefore trusts a size only if it leads
to the end of the file or to another chunk; otherwise the chunk extends to the end of the file.
"""

from __future__ import annotations

import contextlib
import os
import wave
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from client.errors import UsageError
from client.wire import MIC_SAMPLE_RATE

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags, WAVE_FORMAT_* in mmreg.h
FORMAT_NAMES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 85: "MP3"}
CHUNK_HEADER_BYTES = 8
TRAILING_CHUNKS = (b"LIST", b"id3 ")  # names of chunks with tags, which may follow the audio


def read_wav(path: Path, rate: int = MIC_SAMPLE_RATE) -> bytes:
    """Read the file as mono int16 PCM at `rate` Hz. Raises UsageError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        return decode_wav(raw, rate)
    except ValueError as error:
        raise UsageError(
            f"{path} is not a usable WAV file: {error}. Export it as WAV with 16-bit PCM."
        ) from error


def decode_wav(raw: bytes, rate: int = MIC_SAMPLE_RATE) -> bytes:
    """Return the content of a WAV file as mono int16 PCM at `rate` Hz. Raises ValueError.

    The standard library reads neither float samples nor, before Python 3.12, the extensible header
    that recorders write for 24 bit and multichannel files.
    """
    samples, file_rate = _parse(raw)
    if file_rate != rate:
        samples = soxr.resample(samples, file_rate, rate)
    return to_pcm(samples)


def to_pcm(samples: NDArray[np.float32]) -> bytes:
    """Convert float samples of -1..1 to int16 PCM; louder samples are clipped."""
    return (np.clip(samples, -1.0, 32767 / 32768) * 32768).round().astype("<i2").tobytes()


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """Write mono int16 PCM to a file that only its owner can read. Raises UsageError.

    A file that could not be written to its end, as on a full disk, is removed.
    """
    is_open = False
    try:
        with open(path, "wb", opener=_open_private) as file, wave.open(file, "wb") as out:
            is_open = True
            if path.is_file():  # an older file, too, but not /dev/stdout
                path.chmod(0o600)
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(pcm)
    except OSError as error:
        if is_open and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _parse(raw: bytes) -> tuple[NDArray[np.float32], int]:
    """Parse a file into mono float samples and their sample rate. Raises ValueError."""
    if raw[:4] not in (b"RIFF", b"RF64") or raw[8:12] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    header: bytes | None = None
    position = 12
    while _begins_chunk(raw, position):
        start = position + CHUNK_HEADER_BYTES
        end = start + int.from_bytes(raw[position + 4 : start], "little")
        match raw[position : position + 4]:
            case b"fmt ":
                header = raw[start:end]
            case b"data":
                if header is None:
                    raise ValueError("the header with its format is missing")
                return _parse_samples(header, raw[start : _data_end(raw, start, end)])
        position = _next_chunk(raw, end)
    raise ValueError("it has no audio data")


def _begins_chunk(raw: bytes, position: int) -> bool:
    """Return whether the name of a chunk and its size are at `position`."""
    name = raw[position : position + 4]
    return position + CHUNK_HEADER_BYTES <= len(raw) and all(0x20 <= byte < 0x7F for byte in name)


def _next_chunk(raw: bytes, end: int) -> int:
    """Return where the chunk after one that ends at `end` begins.

    Chunks begin at even positions; some programs forget the padding.
    """
    return end if end % 2 == 0 or _chunks_until_end(raw, end) else end + 1


def _data_end(raw: bytes, start: int, end: int) -> int:
    """Return where the audio data ends that begins at `start`, if its size says `end`."""
    if end < len(raw) and _chunks_until_end(raw, _next_chunk(raw, end)):
        return end
    for name in TRAILING_CHUNKS:
        position = raw.rfind(name, start)
        if position >= 0 and _chunks_until_end(raw, position):
            return position
    return len(raw)


def _chunks_until_end(raw: bytes, position: int) -> bool:
    """Return whether only whole chunks follow at `position`, and no other bytes."""
    while _begins_chunk(raw, position):
        size = int.from_bytes(raw[position + 4 : position + CHUNK_HEADER_BYTES], "little")
        position += CHUNK_HEADER_BYTES + size + size % 2
    return position in (len(raw), len(raw) + 1)  # the last chunk's padding may be missing


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
    width = (bits + 7) // 8  # samples of 12 or 20 bits are stored in whole bytes
    if kind == FLOAT and width in (4, 8):
        wide = np.frombuffer(body[: len(body) // width * width], dtype=f"<f{width}")
        # Clipped here, too: the resampler would turn an infinite sample into silence.
        samples = np.clip(np.nan_to_num(wide), -1.0, 1.0).astype(np.float32)
    elif kind == PCM and width in (1, 2, 3, 4):
        samples = _parse_integers(body[: len(body) // width * width], width)
    else:
        name = FORMAT_NAMES.get(kind, "unknown")
        raise ValueError(
            f"its encoding ({name}: format {kind}, {bits} bits) is neither PCM nor float"
        )
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
