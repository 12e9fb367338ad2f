"""Step `ultravox`: the model's arithmetic at full size with random weights, without vLLM.

Encoder and projector by seconds of audio, Llama's prefill by tokens, decode steps by batch, and its
linear layers in bf16, FP8 and INT4. From these come the constants of the plan
(appliance/gpu/speed.py): how much of the card's bandwidth and arithmetic is reached.

Shapes are those of fixie-ai/ultravox-v0_5-llama-3_1-8b: docs/hardware.md lists the sizes.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from appliance.gpu_proof.results import Results, StepOptions, parse

CLIP_SECONDS = (1, 3, 5, 10, 30)
PREFILL_TOKENS = (64, 128, 256, 512, 600, 1024, 2048, 4096)
BATCHES = (1, 2, 4, 8, 16)
HISTORY_TOKENS = 600  # in the KV cache while decoding
COPY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes of the audio encoder (Whisper), the projector and Llama."""

    mel_bins: int
    encoder_width: int
    encoder_layers: int
    encoder_heads: int
    encoder_inner: int
    stack: int
    projector_inner: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int

    @property
    def linear_shapes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of the linear layers of one Llama layer, as vLLM joins them."""
        query_key_value = (self.heads + 2 * self.kv_heads) * self.head_size
        return (
            (query_key_value, self.width),
            (self.width, self.heads * self.head_size),
            (2 * self.inner, self.width),
            (self.width, self.inner),
        )


FULL = Shapes(128, 1280, 32, 20, 5120, 8, 4096, 4096, 32, 32, 8, 128, 14336, 128256)
TINY = Shapes(128, 64, 2, 2, 128, 8, 64, 64, 2, 2, 1, 32, 256, 512)


def main(options: StepOptions) -> int:
    results = Results(options.results, options.seconds)
    torch = importlib.import_module("torch")
    torch.manual_seed(1)
    bench = UltravoxBench(options, results, TINY if options.is_rehearsal else FULL)
    with results.attempt("copy bandwidth"):
        bench.measure_copy()
    with results.attempt("encoder"):
        bench.measure_encoder()
    with results.attempt("linear layers"):
        bench.measure_linear_layers()
    if results.require_time("language model", 1 if options.is_rehearsal else 20):
        with results.attempt("language model"):
            bench.measure_language_model()
    return 0


class UltravoxBench:
    """Times parts of the model on one device, in bf16."""

    def __init__(self, options: StepOptions, results: Results, shapes: Shapes) -> None:
        self._torch = importlib.import_module("torch")
        self._transformers = importlib.import_module("transformers")
        self._results = results
        self._device = options.device
        self._shapes = shapes
        self._is_rehearsal = options.is_rehearsal
        self._rounds = 2 if options.is_rehearsal else 10

    def measure_copy(self) -> None:
        """What a plain copy on the device reaches, counting bytes read and written."""
        torch = self._torch
        size = COPY_BYTES >> (8 if self._is_rehearsal else 0)
        source = torch.empty(size, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        seconds = self._time(lambda: target.copy_(source))
        self._results.measure("copy", [2 * size / each / 1e9 for each in seconds], "GB/s")

    def measure_encoder(self) -> None:
        """Encoder and projector, by seconds of audio; one clip, and eight at once."""
        torch = self._torch
        with self._on_device():
            encoder = self._new_encoder()
            projector = self._new_projector()
        parameters = sum(each.numel() for each in encoder.parameters())
        clips = CLIP_SECONDS[:2] if self._is_rehearsal else CLIP_SECONDS
        for seconds in clips:
            for batch in (1, 8):
                if seconds > 10 and batch > 1:
                    continue
                mel = torch.randn(
                    batch,
                    self._shapes.mel_bins,
                    seconds * 100,
                    device=self._device,
                    dtype=torch.bfloat16,
                )
                with torch.inference_mode():
                    times = self._time(partial(_encode_and_project, encoder, projector, mel))
                values = [1000 * each for each in times]
                self._results.measure("encoder", values, "ms", seconds=seconds, clips=batch)
                operations = 2 * parameters * 50 * seconds * batch
                rate = operations / statistics.median(times) / 1e12
                self._results.measure(
                    "encoder arithmetic", [rate], "TFLOP/s", seconds=seconds, clips=batch
                )

    def measure_linear_layers(self) -> None:
        """All linear layers of one decode step, with separate weights, in each number format."""
        kernels: dict[str, Callable[[int, int], Callable[[Any], Any]]] = {
            "bf16": self._bf16_layer,
            "fp8": self._fp8_layer,
            "int4": self._int4_layer,
        }
        item_bytes = {"bf16": 2.0, "fp8": 1.0, "int4": 0.5 + 4 / 128}
        numbers = sum(outputs * inputs for outputs, inputs in self._shapes.linear_shapes)
        for name, create in kernels.items():
            if name != "bf16" and self._device != "cuda":
                self._results.not_applicable(f"linear layers in {name}", "the kernels need CUDA")
                continue
            with self._results.attempt(f"linear layers in {name}"):
                layers = [
                    (inputs, create(outputs, inputs))
                    for _ in range(self._shapes.layers)
                    for outputs, inputs in self._shapes.linear_shapes
                ]
                for batch in BATCHES[:2] if self._is_rehearsal else BATCHES:
                    seconds = self._time_linear(layers, batch)
                    values = [1000 * each for each in seconds]
                    self._results.measure(
                        "linear layers", values, "ms", weights=name, sequences=batch
                    )
                    size = numbers * self._shapes.layers * item_bytes[name]
                    rate = size / statistics.median(seconds) / 1e9
                    self._results.measure(
                        "linear layers, bytes", [rate], "GB/s", weights=name, sequences=batch
                    )
                del layers

    def _time_linear(
        self, layers: Sequence[tuple[int, Callable[[Any], Any]]], batch: int
    ) -> list[float]:
        torch = self._torch
        inputs = {
            width: torch.randn(batch, width, device=self._device, dtype=torch.bfloat16)
            for width in {width for width, _ in layers}
        }

        def step() -> None:
            for width, layer in layers:
                layer(inputs[width])

        with torch.inference_mode():
            return self._time(self._graph(step))

    def _bf16_layer(self, outputs: int, inputs: int) -> Callable[[Any], Any]:
        torch = self._torch
        weight = torch.randn(outputs, inputs, device=self._device, dtype=torch.bfloat16)
        return lambda x: torch.nn.functional.linear(x, weight)

    def _fp8_layer(self, outputs: int, inputs: int) -> Callable[[Any], Any]:
        """As vLLM: a scale per output and per token.

        The activations are quantised once, on the first call: vLLM does it in one fused kernel,
        whose time is small.
        """
        torch = self._torch
        weight = torch.randn(outputs, inputs, device=self._device, dtype=torch.bfloat16)
        weight = weight.to(torch.float8_e4m3fn)
        scale = torch.full((1, outputs), 0.01, device=self._device)
        quantised: dict[int, tuple[Any, Any]] = {}  # by batch

        def apply(x: Any) -> Any:
            if len(x) not in quantised:
                x_scale = (x.abs().amax(dim=1, keepdim=True).float() / 448).clamp(min=1e-6)
                quantised[len(x)] = (x / x_scale).to(torch.float8_e4m3fn), x_scale
            values, x_scale = quantised[len(x)]
            return torch._scaled_mm(
                values, weight.t(), scale_a=x_scale, scale_b=scale, out_dtype=torch.bfloat16
            )

        return apply

    def _int4_layer(self, outputs: int, inputs: int) -> Callable[[Any], Any]:
        """PyTorch's own kernel for 4-bit weights in groups of 128; vLLM uses Marlin."""
        torch = self._torch
        packed = torch.randint(0, 255, (outputs, inputs // 2), dtype=torch.uint8, device="cuda")
        weight = torch.ops.aten._convert_weight_to_int4pack(packed, 8)
        scales = torch.ones(inputs // 128, outputs, 2, device="cuda", dtype=torch.bfloat16)
        return lambda x: torch.ops.aten._weight_int4pack_mm(x, weight, 128, scales)

    def measure_language_model(self) -> None:
        """Prefill and decode steps of Llama in transformers."""
        torch = self._torch
        started = time.perf_counter()
        with self._on_device():
            model = self._new_llama()
        self._synchronise()
        self._results.note(f"Llama with random weights in {time.perf_counter() - started:.0f} s")
        parameters = sum(each.numel() for each in model.parameters())
        embeddings = model.get_input_embeddings().weight.numel()
        per_token = parameters - embeddings
        with torch.inference_mode():
            lengths = PREFILL_TOKENS[:2] if self._is_rehearsal else PREFILL_TOKENS
            for tokens in lengths:
                if not self._results.require_time(f"prefill of {tokens} tokens", 2):
                    break
                ids = torch.randint(0, self._shapes.vocabulary, (1, tokens), device=self._device)
                times = self._time(partial(model, ids, use_cache=True, logits_to_keep=1))
                values = [1000 * each for each in times]
                self._results.measure("prefill", values, "ms", tokens=tokens)
                rate = 2 * per_token * tokens / statistics.median(times) / 1e12
                self._results.measure("prefill arithmetic", [rate], "TFLOP/s", tokens=tokens)
            for batch in BATCHES[:2] if self._is_rehearsal else BATCHES:
                if not self._results.require_time(f"decode steps of {batch} sequences", 3):
                    break
                self._measure_decode(model, per_token * 2, batch)

    def _measure_decode(self, model: Any, weight_bytes: int, batch: int) -> None:
        """One step for `batch` sequences: launched one by one, and as a CUDA graph."""
        torch = self._torch
        history = 16 if self._is_rehearsal else HISTORY_TOKENS
        cache = self._transformers.StaticCache(config=model.config, max_cache_len=history + 64)
        ids = torch.randint(0, self._shapes.vocabulary, (batch, history), device=self._device)
        model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = torch.randint(0, self._shapes.vocabulary, (batch, 1), device=self._device)
        position = torch.tensor([history], device=self._device)
        mask = torch.zeros(batch, 1, 1, history + 64, device=self._device, dtype=torch.bfloat16)
        mask[..., history + 1 :] = torch.finfo(torch.bfloat16).min

        def step() -> Any:
            return model(
                token,
                past_key_values=cache,
                position_ids=position.expand(batch, 1),
                cache_position=position,
                attention_mask=mask,
                use_cache=True,
            ).logits

        for name in ("one by one", "CUDA graph"):
            if name == "CUDA graph" and self._device != "cuda":
                self._results.not_applicable(f"decode step, {name}", "graphs need CUDA")
                continue
            with self._results.attempt(f"decode step, {name}"):
                times = self._time(
                    self._graph(step, required=True) if name == "CUDA graph" else step
                )
                values = [1000 * each for each in times]
                conditions: dict[str, Any] = {"launch": name, "sequences": batch}
                self._results.measure("decode step", values, "ms", **conditions)
                if batch == 1:  # with more, SDPA repeats the cache for each head of the query
                    rate = weight_bytes / statistics.median(times) / 1e9
                    self._results.measure("decode bytes", [rate], "GB/s", **conditions)

    def _new_encoder(self) -> Any:
        shapes = self._shapes
        config = self._transformers.WhisperConfig(
            num_mel_bins=shapes.mel_bins,
            d_model=shapes.encoder_width,
            encoder_layers=shapes.encoder_layers,
            encoder_attention_heads=shapes.encoder_heads,
            encoder_ffn_dim=shapes.encoder_inner,
            decoder_layers=1,
            decoder_attention_heads=shapes.encoder_heads,
            decoder_ffn_dim=shapes.encoder_inner,
            max_source_positions=1500,
            attn_implementation="sdpa",
        )
        module = importlib.import_module("transformers.models.whisper.modeling_whisper")
        return module.WhisperEncoder(config).eval()

    def _new_projector(self) -> Any:
        """Stack 8 frames, RMS norm, linear, SwiGLU, RMS norm, linear; no biases."""
        torch, shapes = self._torch, self._shapes
        nn = torch.nn
        stacked = shapes.encoder_width * shapes.stack
        norm_in, norm_mid = nn.RMSNorm(stacked), nn.RMSNorm(shapes.projector_inner // 2)
        first = nn.Linear(stacked, shapes.projector_inner, bias=False)
        second = nn.Linear(shapes.projector_inner // 2, shapes.width, bias=False)

        def project(frames: Any) -> Any:
            missing = -frames.shape[1] % shapes.stack
            frames = nn.functional.pad(frames, (0, 0, 0, missing))
            frames = frames.reshape(frames.shape[0], -1, stacked)
            values, gate = first(norm_in(frames)).chunk(2, dim=-1)
            return second(norm_mid(nn.functional.silu(gate) * values))

        return project

    def _new_llama(self) -> Any:
        shapes = self._shapes
        config = self._transformers.LlamaConfig(
            hidden_size=shapes.width,
            intermediate_size=shapes.inner,
            num_hidden_layers=shapes.layers,
            num_attention_heads=shapes.heads,
            num_key_value_heads=shapes.kv_heads,
            head_dim=shapes.head_size,
            vocab_size=shapes.vocabulary,
            max_position_embeddings=8192,
            attn_implementation="sdpa",
        )
        return self._transformers.LlamaForCausalLM(config).eval()

    def _on_device(self) -> Any:
        """Create modules there, in bf16."""
        return _Defaults(self._torch, self._device)

    def _graph(self, step: Callable[[], Any], required: bool = False) -> Callable[[], Any]:
        """The step as a CUDA graph, so that launching its kernels takes no time of the CPU."""
        torch = self._torch
        if self._device != "cuda":
            return step
        before = torch.cuda.current_stream()
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # a capture that fails leaves its own stream current
            if required:
                raise
            cause = str(error.__context__ or error)
            self._results.note(f"not as a CUDA graph: {cause.splitlines()[0][:200]}")
            return step
        replay: Callable[[], Any] = graph.replay
        return replay

    def _time(self, work: Callable[[], Any]) -> list[float]:
        """Seconds of each of several runs, after a warm-up."""
        for _ in range(2):
            work()
        self._synchronise()
        seconds = []
        for _ in range(self._rounds):
            started = time.perf_counter()
            work()
            self._synchronise()
            seconds.append(time.perf_counter() - started)
        return seconds

    def _synchronise(self) -> None:
        if self._device == "cuda":
            self._torch.cuda.synchronize()


class _Defaults:
    """Create tensors in bf16 on a device, within a `with` statement."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch = torch
        self._device = torch.device(device)

    def __enter__(self) -> None:
        self._before = self._torch.get_default_dtype()
        self._torch.set_default_dtype(self._torch.bfloat16)
        self._device.__enter__()

    def __exit__(self, *error: object) -> None:
        self._device.__exit__(*error)
        self._torch.set_default_dtype(self._before)


def _encode_and_project(encoder: Any, projector: Callable[[Any], Any], mel: Any) -> Any:
    return projector(encode(encoder, mel))


def encode(encoder: Any, mel: Any) -> Any:
    """Run Whisper's encoder on a clip of any length, as Ultravox does.

    `WhisperEncoder.forward` accepts only 30 s; Ultravox leaves the padding out, so the cost follows
    the length of the clip. `mel`: clips x bins x frames, at 100 frames per second.
    """
    functional = importlib.import_module("torch").nn.functional
    hidden = functional.gelu(encoder.conv1(mel))
    hidden = functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for layer in encoder.layers:
        output = layer(hidden, None)
        hidden = output[0] if isinstance(output, tuple) else output
    return encoder.layer_norm(hidden)


if __name__ == "__main__":
    sys.exit(main(parse("ultravox", __doc__, sys.argv[1:])))
