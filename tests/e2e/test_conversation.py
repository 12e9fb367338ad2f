"""Spoken conversations with the whole appliance, as a user has them."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from client.wav import read_wav, write_wav
from tests.e2e.appliance import QUESTIONS, Appliance, SayResult
from tests.recognizer import word_error_rate, words

STAGES = {"end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport"}


def spoken_words(turn: dict[str, object]) -> str:
    """The reply as played, transcribed by an independent recognizer."""
    pcm = read_wav(Path(str(turn["reply_wav"])))
    return words(np.frombuffer(pcm, "<i2"), 16_000)


@pytest.fixture(scope="module")
def conversation(appliance: Appliance) -> SayResult:
    return appliance.say(*QUESTIONS)


def test_every_question_is_answered(conversation: SayResult) -> None:
    assert conversation.exit_code == 0, conversation.stderr
    assert [turn["outcome"] for turn in conversation.turns] == ["answered"] * len(QUESTIONS)


def test_questions_are_transcribed(conversation: SayResult) -> None:
    for turn, word in zip(conversation.turns, ("france", "museum", "river"), strict=True):
        assert word in turn["user_text"].lower()


def test_later_answers_use_the_context_of_earlier_ones(conversation: SayResult) -> None:
    # The 0.5B does not know the river of the third question.
    for turn, word in zip(conversation.turns, ("paris", "louvre"), strict=False):
        assert word in turn["reply_text"].lower()


def test_audio_of_the_answers_matches_their_text(conversation: SayResult) -> None:
    # As one recording: Whisper tiny mishears a short answer that stands alone ("The Nile.").
    written = " ".join(str(turn["reply_text"]) for turn in conversation.turns)
    replies = [read_wav(Path(str(turn["reply_wav"]))) for turn in conversation.turns]
    spoken = words(np.frombuffer(b"".join(replies), "<i2"), 16_000)
    assert word_error_rate(written, spoken) <= 0.3, (written, spoken)
    assert "paris" in spoken_words(conversation[0])


def test_stages_sum_to_the_latency(conversation: SayResult) -> None:
    for turn in conversation.turns:
        assert set(turn["stages"]) == STAGES
        # The client's figure includes the network and its own buffer, and is of another clock. On a
        # busy machine they take longer; a stage that counts twice is off by more.
        difference = turn["voice_to_voice_seconds"] - sum(turn["stages"].values())
        assert abs(difference) < 0.6 + 0.5 * turn["voice_to_voice_seconds"]


def test_interruption_stops_the_answer_and_is_answered(appliance: Appliance) -> None:
    story = appliance.folder / "story.wav"
    _synthesize("Please tell me a long story about a dog.", story)
    turns = appliance.say(story, QUESTIONS[0], flags=("--barge-in", "2.0"))
    assert turns.exit_code == 0, turns.stderr
    assert turns[0]["interrupted"]
    assert turns[0]["reply_seconds"] < 8
    assert turns[1]["outcome"] == "answered"
    assert not turns[1]["interrupted"]


def test_concurrent_calls_do_not_share_context(appliance: Appliance) -> None:
    folder = appliance.folder
    peters, susans, name = (folder / f"{word}.wav" for word in ("peter", "susan", "name"))
    _synthesize("My name is Peter.", peters)
    _synthesize("My name is Susan.", susans)
    _synthesize("What is my name?", name)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(appliance.say, first, name) for first in (peters, susans)]
        peter, susan = (call.result() for call in calls)
    assert peter.exit_code == susan.exit_code == 0, peter.stderr + susan.stderr
    assert "peter" in peter[1]["reply_text"].lower()
    assert "susan" in susan[1]["reply_text"].lower()
    assert "peter" not in json.dumps(susan.turns).lower()
    assert "susan" not in json.dumps(peter.turns).lower()


def test_noise_is_not_answered_and_the_call_continues(appliance: Appliance) -> None:
    noise = appliance.folder / "noise.wav"
    samples = np.random.default_rng(1).normal(0, 1500, 32_000).astype("<i2")
    write_wav(noise, samples.tobytes(), 16_000)
    turns = appliance.say(noise, QUESTIONS[0], flags=("--answer-seconds", "6"))
    assert not turns[0]["reply_text"]
    assert turns[1]["outcome"] == "answered"


def test_typed_text_is_answered_and_not_logged(appliance: Appliance) -> None:
    canary = "Xylofonia"
    client = appliance.client("ask", f"My cat is called {canary}. Say hello to {canary}, please.")
    stdout, stderr = client.communicate(timeout=120)
    assert client.returncode == 0, stderr
    assert canary.lower() in stdout.lower(), "the word has to pass through the whole pipeline"
    time.sleep(1)
    assert canary.lower() not in appliance.log.read_text().lower()
    assert canary.lower() not in appliance.metrics().lower()


def test_words_of_a_call_are_not_in_the_log(appliance: Appliance, conversation: SayResult) -> None:
    log = appliance.log.read_text().lower()
    assert '"event":"turn"' in log
    for word in ("paris", "louvre", "museum"):
        assert word not in log


def test_each_turn_is_logged_with_its_stages(appliance: Appliance) -> None:
    turns = [line for line in appliance.lines() if line["event"] == "turn" and line["turn"]]
    spoken = [line for line in turns if line["outcome"] == "answered" and line["by"] != "typed"]
    assert spoken
    for line in spoken:
        stages = sum(line[f"{stage}_seconds"] for stage in STAGES)
        assert line["session"]
        assert abs(stages - line["response_seconds"]) < 0.001


def test_metrics_count_the_turns(appliance: Appliance, conversation: SayResult) -> None:
    assert appliance.metric('voice_turns_total{outcome="answered"}') >= len(QUESTIONS)
    assert appliance.metric("voice_turn_response_latency_seconds_count") >= len(QUESTIONS)
    for process in ("gateway", "llm", "tts", "exporter"):
        assert appliance.metric(f'voice_process_up{{process="{process}"}}') == 1


def test_latency_until_heard_is_reported_by_the_client_and_never_shorter(
    appliance: Appliance, conversation: SayResult
) -> None:
    turns = [line for line in appliance.lines() if line["event"] in ("turn", "turn heard")]
    heard = [line for line in turns if "heard_seconds" in line]
    assert len(heard) >= len(QUESTIONS)
    for line in heard:
        assert line["heard_seconds"] >= line.get("response_seconds", 0)
    name = "voice_turn_{}_latency_seconds_count"
    assert appliance.metric(name.format("heard")) >= len(QUESTIONS)
    assert appliance.metric(name.format("heard")) <= appliance.metric(name.format("response"))


def _synthesize(text: str, path: Path) -> None:
    """Write speech that is not among the recorded questions."""
    subprocess.run(["espeak-ng", "-w", str(path), text], check=True)
