"""Step `driver`: every value of NVML that the appliance reads, and the plan for this card.

The replies of the driver are recorded call by call, so that tests can replay them: see
`ReplayedNvml` in recording.py. Modules that need more packages than nvidia-ml-py are imported late,
so that the rest is measured without them.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING

from appliance.gpu import nvml
from appliance.gpu.cards import GIB, GpuCard, bytes_per_second, model_of
from appliance.gpu_proof.recording import RecordingNvml
from appliance.gpu_proof.results import Results, StepOptions, parse

if TYPE_CHECKING:
    from appliance.gpu.readings import GpuReadings

READS = 20


def main(options: StepOptions) -> int:
    results = Results(options.results, options.seconds)
    listing = nvml.list_cards()
    if not listing.cards:
        results.problem("driver", listing.problem)
        return 0
    if listing.problem:
        results.note(f"not all cards are usable: {listing.problem}")
    for card in listing.cards:
        results.note(f"{card.title}, compute capability {card.capability}, driver {card.driver}")
    with results.attempt("replies of the driver"):
        record_driver(results)
    for card in listing.cards:
        with results.attempt("memory"):
            compare_with_table(results, card)
    with results.attempt("plan"):
        describe_plan(results, listing.cards[0])
    if options.device == "cuda":
        with results.attempt("memory as CUDA reports it"):
            compare_with_cuda(results, listing.cards[0])
    return 0


def record_driver(results: Results) -> None:
    """Read as exporter and guard do, and record every call; time the reads."""
    from appliance.gpu.readings import NvmlSession

    with nvml.open_driver() as pynvml:
        recording = RecordingNvml(pynvml)
        sys.modules["pynvml"] = recording  # type: ignore[assignment]
        try:
            readings = read_once().readings
        finally:
            sys.modules["pynvml"] = pynvml
    results.data("nvml", recording.calls())
    results.data("readings", [dataclasses.asdict(reading) for reading in readings])
    for reading in readings:
        missing = [name for name, value in dataclasses.asdict(reading).items() if value is None]
        if missing:
            results.note(f"card {reading.number} does not report {', '.join(missing)}")
    session, times = NvmlSession(), []
    for _ in range(READS):
        started = time.perf_counter()
        session.read()
        times.append((time.perf_counter() - started) * 1000)
    session.close()
    results.measure("read of all cards", times, "ms")


def read_once() -> GpuReadings:
    """Open the driver, read all cards, close it."""
    from appliance.gpu.readings import NvmlSession

    session = NvmlSession()
    try:
        return session.read()
    finally:
        session.close()


def compare_with_table(results: Results, card: GpuCard) -> None:
    """The driver's values beside those that the planner assumes for this model."""
    results.measure("memory usable", [card.memory_bytes / GIB], "GiB")
    results.measure("memory free", [card.free_bytes / GIB], "GiB")
    results.measure("bandwidth by driver", [bytes_per_second(card) / 1e9], "GB/s")
    model = model_of(card.name)
    if model is None:
        results.note(f"{card.name} is not in the table of cards (appliance/gpu/cards.py)")
        return
    if model.gib > card.memory_bytes / GIB:
        results.note(
            f"the table promises {model.gib} GiB, the driver {card.memory_bytes / GIB:.2f}: "
            "lower it in appliance/gpu/cards.py"
        )
    results.measure(
        "bandwidth by driver / by table",
        [bytes_per_second(card) / (model.gigabytes_per_second * 1e9)],
        "ratio",
    )


def describe_plan(results: Results, card: GpuCard) -> None:
    """The plan for the recommended weights."""
    from appliance.gpu.cards import recommend_weights
    from appliance.gpu.page import format_plan
    from appliance.gpu.reference import ultravox_8b
    from appliance.settings import load

    kind = (*recommend_weights(card)[0], "bf16")[0]
    text = format_plan(card, ultravox_8b(kind), load({"VOICE_PROFILE": "gpu"}))
    results.data("plan", text.splitlines())


def compare_with_cuda(results: Results, card: GpuCard) -> None:
    """What CUDA itself reports as total and free, and what an empty context costs."""
    import torch

    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    results.measure("memory total by CUDA", [total / GIB], "GiB")
    results.measure("CUDA context", [(card.free_bytes - free) / GIB], "GiB")


if __name__ == "__main__":
    sys.exit(main(parse("driver", __doc__, sys.argv[1:])))
