"""The GPU proof: measures a card against the plan of the `gpu` profile. `ops/gpu-proof` runs it.

    steps.py     the steps, in order of worth, and which of them fits in the remaining time
    runner.py    runs each step in a process of its own, with a deadline
    record.py    the record, `gpu-proof.json`
    page.py      the record as a table and as an HTML page

The steps: driver.py (NVML), kokoro.py, ultravox.py (arithmetic), engine_speed.py (vLLM),
conversation.py (the whole appliance). A step needs only the packages that it names, so that the
proof is useful on a machine where little is installed.
"""
