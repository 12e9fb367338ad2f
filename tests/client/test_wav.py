"""WAV files."""

import resource
import struct
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.errors import UsageError
from client.wav import _parse, decode_wav, read_wav, to_pcm, write_wav
from tests.fakes import tone


def riff(
    kind: int,
    channels: int,
    rate: int,
    bits: int,
    body: bytes,
    extra: bytes = b"",
    chunks: bytes = b"",
) -> bytes:
    header = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    header += extra
    data = b"WAVE" + chunks + b"fmt " + struct.pack("<I", len(header)) + header
    data += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data)) + data


def sine(rate: int, channels: int = 1, seconds: float = 0.5) -> NDArray[np.float64]:
    wave_form = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave_form, channels)


def as_bytes(samples: NDArray[np.float64], kind: int, bits: int) -> bytes:
    if kind == 3:
        return samples.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (samples * 127 + 128).round().astype(np.uint8).tobytes()
    whole: NDArray[np.int32] = (samples * (2 ** (bits - 1) - 1)).round().astype(np.int32)
    if bits == 24:
        return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("kind", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_width_and_channel_count_is_converted_to_16_khz_mono(
    tmp_path: Path, rate: int, kind: int, bits: int, channels: int
) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(riff(kind, channels, rate, bits, as_bytes(sine(rate, channels), kind, bits)))
    samples = np.frombuffer(read_wav(path), "<i2").astype(float)
    assert abs(samples.size - 8_000) <= 2
    expected = sine(16_000)[: samples.size] * 32768
    middle = slice(1_000, 7_000)
    assert np.abs(samples[middle] - expected[middle]).max() < 500


def test_extensible_header_and_unknown_chunks_are_read(tmp_path: Path) -> None:
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    extra = struct.pack("<HHI", 22, 24, 4) + guid
    odd_chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    path = tmp_path / "in.wav"
    body = as_bytes(sine(16_000), 1, 24)
    path.write_bytes(riff(0xFFFE, 1, 16_000, 24, body, extra, odd_chunk))
    assert len(read_wav(path)) == 16_000


@pytest.mark.parametrize("exists", [False, True])
def test_written_file_can_be_read_by_its_owner_only(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "out.wav"
    if exists:
        path.touch(0o644)
    write_wav(path, b"\0\0", 24_000)
    assert path.stat().st_mode & 0o777 == 0o600


SPEECH = as_bytes(sine(16_000), 1, 16)
TAGS = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"


def with_sizes(riff_size: int, data_size: int, body: bytes = SPEECH, tail: bytes = b"") -> bytes:
    """Return a 16 kHz mono file whose header has these sizes."""
    raw = bytearray(riff(1, 1, 16_000, 16, body)) + tail
    raw[4:8], raw[40:44] = struct.pack("<I", riff_size), struct.pack("<I", data_size)
    return bytes(raw)


@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("data_size", [0, 2, 1_000, 0x7FFFF000, 0xFFFFFFFF, len(SPEECH)])
@pytest.mark.parametrize("tail", [b"", TAGS])
def test_wrong_sizes_of_a_streamed_file_do_not_cut_the_audio(
    riff_size: int, data_size: int, tail: bytes
) -> None:
    assert decode_wav(with_sizes(riff_size, data_size, tail=tail)) == SPEECH


def test_silence_of_unknown_length_is_silence() -> None:
    assert decode_wav(with_sizes(0, 0, bytes(640))) == bytes(640)


@pytest.mark.parametrize("tail", [b"\0", b"\x01"])
def test_half_a_sample_at_the_end_is_dropped(tail: bytes) -> None:
    assert decode_wav(with_sizes(0xFFFFFFFF, 0xFFFFFFFF, tail=tail)) == SPEECH


def test_tags_after_audio_of_an_odd_length_are_not_audio() -> None:
    raw = riff(1, 1, 16_000, 8, as_bytes(sine(16_000), 1, 8)[:-1])
    plain = decode_wav(raw)
    assert len(plain) == 2 * 7_999
    assert decode_wav(raw + b"\0" + TAGS) == decode_wav(raw + TAGS) == plain


def test_file_without_audio_is_empty() -> None:
    assert decode_wav(with_sizes(36, 0, b"")) == decode_wav(with_sizes(36, 0, b"", TAGS)) == b""


def test_output_of_a_program_that_writes_into_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    subprocess.run(["espeak-ng", "-w", str(path), "Hello."], check=True)
    streamed = subprocess.run(["espeak-ng", "--stdout", "Hello."], check=True, capture_output=True)
    assert decode_wav(streamed.stdout) == read_wav(path)


def test_written_file_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    write_wav(path, tone(0.1, 24_000), 24_000)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
    assert read_wav(path, 24_000) == tone(0.1, 24_000)


def test_file_that_does_not_fit_on_the_disk_is_named_and_no_part_of_it_is_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.wav"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"cannot write .*out\.wav"):
            write_wav(path, tone(1.0, 24_000), 24_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("sample", "loud"), [(np.inf, True), (1e30, True), (np.nan, False)])
def test_float_samples_without_a_level_are_clipped_or_silent_at_any_rate(
    sample: float, loud: bool, bits: int
) -> None:
    for rate in (16_000, 48_000):
        raw = riff(3, 1, rate, bits, as_bytes(np.full(rate, sample), 3, bits))
        middle = np.frombuffer(decode_wav(raw), "<i2")[4_000:12_000]
        assert (middle.min() > 30_000) if loud else (not middle.any())


def test_too_loud_samples_are_clipped_not_wrapped() -> None:
    assert to_pcm(np.array([1.5, -1.5, 0.0], np.float32)) == struct.pack("<hhh", 32767, -32768, 0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "RIFF"),
        (b"ID3" + bytes(100), "RIFF"),
        (b"RIFF\x04\0\0\0WAVE", "no audio data"),
        (b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0\0\0\0\0", "header"),
        (riff(7, 1, 8_000, 8, bytes(80)), "mu-law: format 7"),
        (b"RIFX" + riff(1, 1, 8_000, 8, bytes(80))[4:], "RIFF"),
        (riff(1, 0, 8_000, 16, bytes(80)), "0 channels"),
        (riff(1, 1, 0, 16, bytes(80)), "0 Hz"),
    ],
)
def test_invalid_wav_file_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=message) as caught:
        read_wav(path)
    assert "broken.wav" in str(caught.value)
    assert str(caught.value).endswith("Export it as WAV with 16-bit PCM.")


def test_missing_file_and_unwritable_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.wav"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(UsageError, match="cannot write"):
        write_wav(tmp_path / "no" / "folder.wav", b"", 24_000)


@given(st.binary(max_size=120))
def test_reader_raises_only_value_errors_for_any_bytes(raw: bytes) -> None:
    for start in (b"", b"RIFF\0\0\0\0WAVE", riff(1, 2, 16_000, 24, b"")[:36]):
        try:
            _parse(start + raw)
        except ValueError as problem:
            assert str(problem)
