"""Step `golden` of the GPU proof: all recorded cases on the engine of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys

from appliance import journal, offline, settings
from appliance.errors import ApplianceError
from appliance.gpu_proof.results import Results, StepOptions, parse
from tests.golden.comparison import TOLERANCES, compare_all
from tests.golden.reference import FOLDERS, Reference

# Folders, and number formats of the arithmetic and of the KV cache. A CPU computes only in float32.
# The time of a GPU is short, so the other formats are tried with one folder.
RUNS = (
    *((folder, "float32", "auto") for folder in FOLDERS),
    (FOLDERS[0], "bfloat16", "auto"),
    (FOLDERS[0], "bfloat16", "fp8"),
)


async def run(
    results: Results, reference: Reference, config: settings.Settings, dtype: str, kv_dtype: str
) -> None:
    """Record for each case the largest difference of a log-probability and the equal tokens."""
    model = reference.folder.name
    async with contextlib.aclosing(compare_all(reference, config)) as comparisons:
        async for result in comparisons:
            conditions = {"model": model, "case": result.case, "dtype": dtype, "kv": kv_dtype}
            results.measure("equal tokens", [result.equal / result.tokens], "ratio", **conditions)
            if math.isfinite(result.difference):  # not without a reply
                results.measure("logprob difference", [result.difference], "nats", **conditions)
            if kv_dtype == "auto" and not result.passes(TOLERANCES[dtype]):
                results.problem(f"{model}, {dtype}, {result.case}", str(result))


def main(options: StepOptions) -> int:
    offline.apply(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # several processes load vLLM
    results = Results(options.results, options.seconds)
    for folder, dtype, kv_dtype in RUNS:
        if options.device == "cpu" and dtype != "float32":
            continue
        what = f"{folder.name}, cases in {dtype} with KV cache {kv_dtype}"
        if not results.require_time(what, 20):
            break
        reference = Reference(folder)
        try:
            config = settings.load(
                {
                    "VOICE_PATHS_WEIGHTS": str(reference.checkpoint.parent),
                    "VOICE_LLM_ENGINE": "vllm",
                    "VOICE_LLM_MODEL": reference.checkpoint.name,
                    "VOICE_LLM_DTYPE": dtype,
                    "VOICE_LLM_KV_DTYPE": kv_dtype,
                    "VOICE_LLM_TODAY": reference.today,
                    "VOICE_JOURNAL_LEVEL": "warning",
                }
            )
            journal.configure(config.journal, "golden")
            asyncio.run(run(results, reference, config, dtype, kv_dtype))
        except ApplianceError as error:
            results.problem(what, f"{error} {error.advice}")
    return 0


if __name__ == "__main__":
    sys.exit(main(parse("golden", __doc__, sys.argv[1:])))
