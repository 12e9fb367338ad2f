from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from appliance.engines.llm.metrics import OUTCOMES, EngineMeters


def test_every_metric_is_there_at_zero_before_anything_happened() -> None:
    samples = [
        sample
        for family in text_string_to_metric_families(EngineMeters().render().decode())
        for sample in family.samples
    ]
    assert samples
    assert all(sample.name.startswith("voice_llm_") for sample in samples)
    assert all(sample.value == 0 for sample in samples)
    outcomes = {s.labels["outcome"] for s in samples if "outcome" in s.labels}
    assert outcomes == set(OUTCOMES)


def test_two_engines_count_apart() -> None:
    one, other = EngineMeters(), EngineMeters()
    one.decode_tokens.inc(3)
    assert b"voice_llm_decode_tokens_total 3.0" in one.render()
    assert b"voice_llm_decode_tokens_total 0.0" in other.render()
