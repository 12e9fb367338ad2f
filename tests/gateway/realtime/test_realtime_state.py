"""The conversation as a Realtime client sees it, without the pipeline."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pipecat.frames.frames import Frame

from appliance.gateway.frames import (
    ClientGreetingFrame,
    ClientQuestionFrame,
    ClientReplyFrame,
    ClientSettingsFrame,
)
from appliance.gateway.realtime import client_events as events
from appliance.gateway.realtime.client_events import RefusedEvent, decode
from appliance.gateway.realtime.config import SessionConfig
from appliance.gateway.realtime.conversation import MAX_ITEMS
from appliance.gateway.realtime.state import RealtimeState

SECOND = bytes(32_000)  # of 16 kHz PCM


def state(**more: Any) -> RealtimeState:
    config = SessionConfig(
        "m",
        "v",
        transcripts=more.pop("transcripts", True),
        client_settings=more.pop("client_settings", False),
        voices=("v", "w"),
        turn_detection=more.pop("turn_detection", "server_vad"),
    )
    return RealtimeState("n", config, 1, 60.0, lambda pcm: pcm[: len(pcm) * 2 // 3], **more)


def send(caller: RealtimeState, kind: str, /, **fields: Any) -> tuple[list[str], Frame | None]:
    """Send an event. Return the types of the answers, and the command."""
    answers, command = caller.handle(decode(json.dumps({"type": kind, **fields})))
    return [answer["type"] for answer in answers], command


def type_text(session: RealtimeState, text: str) -> str:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    answers, _ = session.handle(
        decode(json.dumps({"type": "conversation.item.create", "item": item}))
    )
    return str(answers[0]["item"]["id"])


def refusal(session: RealtimeState, kind: str, /, **fields: Any) -> str:
    with pytest.raises(RefusedEvent) as refused:
        send(session, kind, **fields)
    return refused.value.problem.reason


def content(frame: Frame | None) -> dict[str, Any]:
    """Return the own fields of a frame of frames.py."""
    assert frame is not None
    return {name: getattr(frame, name) for name in type(frame).__annotations__}


def command_id(command: Frame | None) -> str:
    assert isinstance(command, ClientQuestionFrame | ClientReplyFrame | ClientGreetingFrame)
    return command.response_id


def begin(session: RealtimeState, command: Frame | None) -> list[dict[str, Any]]:
    """Let the pipeline begin what was asked for. Return the events of that."""
    session.responses.response_begun(command_id(command))
    return session.reply_started(False) if isinstance(command, ClientQuestionFrame) else []


def types(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["type"] for answer in answers]


def test_typed_questions_are_asked_together() -> None:
    session = state()
    type_text(session, "First.")
    type_text(session, "Second.")
    kinds, command = send(session, "response.create")
    assert kinds == ["response.created"]
    assert content(command) == {
        "text": "First.\nSecond.",
        "audio": (),
        "stop": 0,
        "response_id": "resp_n_3",
    }
    assert begin(session, command) == []
    assert refusal(session, "response.create") == "conversation_already_has_active_response"
    assert types(session.responses.reply_ended(False, "")) == ["response.done"]
    assert refusal(session, "response.create") == "nothing_to_answer"


def test_reply_is_reported_in_order() -> None:
    session = state()
    session.reply_started(False)
    assert types(session.responses.phrase("Hello there.")) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
    ]
    assert types(session.responses.audio(b"\x01\x00")) == ["response.output_audio.delta"]
    (delta,) = session.responses.phrase("How are you?")
    assert delta["delta"] == " How are you?"
    *_, done = session.responses.reply_ended(False, "Hello there. How are you?")
    assert done["response"]["status"] == "completed"
    (item,) = done["response"]["output"]
    assert item["content"][0]["transcript"] == "Hello there. How are you?"


def test_interrupted_reply_has_what_was_heard() -> None:
    session = state()
    session.reply_started(False)
    session.responses.phrase("One two three.")
    session.responses.audio(b"\x01\x00")
    *_, done = session.responses.reply_ended(True, "One")
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["response"]["output"][0]["status"] == "incomplete"
    assert done["response"]["output"][0]["content"][0]["transcript"] == "One"


def test_cancel_ends_the_response_at_once_and_its_late_audio_is_dropped() -> None:
    session = state()
    session.reply_started(False)
    session.responses.phrase("One two three.")
    kinds, command = send(session, "response.cancel")
    assert kinds[-1] == "response.done"
    assert content(command) == {"number": 1}
    assert session.responses.audio(b"\x01\x00") == session.responses.phrase("four") == []
    type_text(session, "Next.")
    command = send(session, "response.create")[1]
    assert session.responses.phrase("five") == []
    assert session.responses.reply_ended(True, "One") == []  # the report of the cancelled one
    session.responses.stopped(1)
    assert begin(session, command) == []
    assert session.responses.phrase("Yes.")
    assert types(session.responses.reply_ended(False, "Yes."))[-1] == "response.done"


def test_a_reply_cancelled_before_it_begins_is_never_shown() -> None:
    session = state()
    type_text(session, "A story.")
    command = send(session, "response.create")[1]
    send(session, "response.cancel")
    assert (
        begin(session, command)
        == session.responses.phrase("One")
        == session.responses.audio(b"\x01\x00")
        == []
    )
    assert session.responses.reply_ended(True, "") == []
    session.responses.stopped(1)
    assert session.responses.audio(b"\x01\x00") == []


def test_a_stop_lasts_until_it_was_executed_although_the_user_interrupts_meanwhile() -> None:
    session = state()
    session.reply_started(False)
    send(session, "response.cancel")
    session.user_input.speech_started()
    assert session.responses.reply_ended(True, "") == []  # by the user
    assert session.reply_started(False) == []  # of something that the stop will end
    assert session.responses.reply_ended(True, "") == []
    session.responses.stopped(1)
    assert types(session.reply_started(False)) == ["response.created"]


def test_an_interruption_before_a_question_does_not_end_its_response() -> None:
    session = state()
    type_text(session, "A story.")
    command = send(session, "response.create")[1]
    assert session.responses.reply_ended(True, "") == []  # a user began to speak just before
    begin(session, command)
    assert types(session.responses.reply_ended(True, "")) == ["response.done"]


def test_audio_after_an_interruption_opens_no_response() -> None:
    session = state()
    session.reply_started(False)
    session.responses.phrase("One two three.")
    session.responses.audio(b"\x01\x00")
    session.responses.reply_ended(True, "One")
    assert session.responses.audio(b"\x01\x00") == []
    assert "response.created" in types(session.responses.phrase("One moment."))
    assert types(session.responses.audio(b"\x01\x00")) == ["response.output_audio.delta"]


def test_truncating_the_message_in_progress_stops_it() -> None:
    session = state()
    session.reply_started(False)
    item_id = session.responses.phrase("One two three.")[0]["item"]["id"]
    session.responses.audio(bytes(48_000))
    answers, command = session.handle(events.ItemTruncate(item_id, 0, 400))
    assert types(answers)[-2:] == ["response.done", "conversation.item.truncated"]
    details = answers[-2]["response"]["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}
    assert content(command) == {"number": 1}
    assert session.responses.audio(b"\x01\x00") == []


def test_cancel_without_a_response_is_refused() -> None:
    session = state()
    assert refusal(session, "response.cancel") == "response_cancel_not_active"
    session.reply_started(False)
    assert refusal(session, "response.cancel", response_id="x") == "response_cancel_not_active"


def test_spoken_question() -> None:
    session = state()
    session.append(SECOND)
    (started,) = session.user_input.speech_started()
    assert started["audio_start_ms"] == 1000
    session.append(SECOND)
    stopped, committed, added, done = session.user_input.speech_stopped()
    assert stopped["audio_end_ms"] == 2000
    ids = {stopped["item_id"], committed["item_id"], added["item"]["id"], done["item"]["id"]}
    assert ids == {started["item_id"]}
    (words,) = session.user_input.transcribed("Hello.")
    assert words["item_id"] == started["item_id"]
    assert words["usage"] == {"type": "duration", "seconds": 1.0}
    retrieved, _ = session.handle(events.ItemRetrieve(started["item_id"]))
    assert retrieved[0]["item"]["content"] == [{"type": "input_audio", "transcript": "Hello."}]


def test_the_question_is_complete_before_its_response_begins() -> None:
    session = state()
    session.user_input.speech_started()
    assert types(session.reply_started(True)) == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert session.user_input.speech_stopped() == []


def test_manual_mode_keeps_the_audio_until_it_is_committed() -> None:
    session = state(turn_detection="")
    assert refusal(session, "input_audio_buffer.commit") == "input_audio_buffer_commit_empty"
    assert session.append(SECOND) == b""
    send(session, "input_audio_buffer.clear")
    assert refusal(session, "input_audio_buffer.commit") == "input_audio_buffer_commit_empty"
    session.append(SECOND)
    kinds, command = send(session, "input_audio_buffer.commit")
    assert kinds[0] == "input_audio_buffer.committed"
    assert command is None
    command = send(session, "response.create")[1]
    assert isinstance(command, ClientQuestionFrame)
    assert (command.text, command.audio) == ("", (SECOND,))


def test_a_full_buffer_is_reported_once() -> None:
    session = state(turn_detection="")
    for _ in range(60):
        session.append(SECOND)
    with pytest.raises(RefusedEvent) as refused:
        session.append(SECOND)
    assert refused.value.problem.reason == "input_audio_buffer_full"
    session.append(SECOND)
    send(session, "input_audio_buffer.commit")
    asked = send(session, "response.create")[1]
    assert isinstance(asked, ClientQuestionFrame)
    assert len(asked.audio[0]) == 60 * len(SECOND)


def test_turn_detection_and_commits_of_the_client_exclude_each_other() -> None:
    session = state()
    assert session.append(SECOND) == SECOND
    assert refusal(session, "input_audio_buffer.commit") == "not_supported"


def test_only_a_question_that_was_not_asked_can_be_deleted() -> None:
    session = state()
    item_id = type_text(session, "Wrong.")
    kinds, _ = send(session, "conversation.item.delete", item_id=item_id)
    assert kinds == ["conversation.item.deleted"]
    assert refusal(session, "response.create") == "nothing_to_answer"
    assert refusal(session, "conversation.item.retrieve", item_id=item_id) == "item_not_found"
    asked = type_text(session, "Right.")
    send(session, "response.create")
    assert refusal(session, "conversation.item.delete", item_id=asked) == "not_supported"


def test_truncate_is_for_what_the_bot_said() -> None:
    session = state()
    question = type_text(session, "Hello.")
    fields = {"content_index": 0, "audio_end_ms": 120}
    assert refusal(session, "conversation.item.truncate", item_id=question, **fields)
    begin(session, send(session, "response.create")[1])
    item = session.responses.phrase("Yes.")[0]["item"]["id"]
    session.responses.audio(bytes(48 * 200))  # 0.1 s
    session.responses.audio(bytes(48 * 49))  # 24.5 ms
    session.responses.reply_ended(False, "Yes.")
    kinds, command = send(session, "conversation.item.truncate", item_id=item, **fields)
    assert (kinds, command) == (["conversation.item.truncated"], None)


@pytest.mark.parametrize(
    ("content_index", "audio_end_ms", "param"), [(0, 126, "audio_end_ms"), (1, 10, "content_index")]
)
def test_a_part_that_was_not_sent_cannot_be_truncated(
    content_index: int, audio_end_ms: int, param: str
) -> None:
    session = state()
    session.reply_started(False)
    item = session.responses.phrase("Yes.")[0]["item"]["id"]
    session.responses.audio(bytes(48 * 125))
    event = events.ItemTruncate(item, content_index, audio_end_ms)
    with pytest.raises(RefusedEvent) as refused:
        session.handle(event)
    assert (refused.value.problem.reason, refused.value.param) == ("invalid_value", param)
    assert types(session.responses.audio(b"\x01\x00")) == [
        "response.output_audio.delta"
    ]  # it goes on


def test_greeting_is_said_once_when_asked_for() -> None:
    session = state(greeting=True)
    kinds, command = send(session, "response.create")
    assert kinds == ["response.created"]
    assert isinstance(command, ClientGreetingFrame)
    assert command.response_id == "resp_n_1"
    begin(session, command)
    session.responses.phrase("Good morning.")
    assert types(session.responses.reply_ended(False, "Good morning."))[-1] == "response.done"
    assert refusal(session, "response.create") == "nothing_to_answer"
    assert not session.greets()


def test_greeting_is_said_when_the_microphone_opens() -> None:
    session = state(greeting=True)
    assert session.greets()
    assert not session.greets()


def test_what_nobody_asked_for_is_a_response_of_its_own() -> None:
    session = state()
    assert types(session.responses.phrase("One moment."))[0] == "response.created"
    assert types(session.responses.notice_ended())[-1] == "response.done"
    session.reply_started(False)
    session.responses.phrase("A reply after a hold message.")
    assert session.responses.notice_ended() == []


def test_failed_reply_says_so() -> None:
    session = state()
    session.reply_started(False)
    session.responses.reply_failed("engine_failed")
    (done,) = session.responses.reply_ended(False, "")
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["code"] == "engine_failed"


def test_without_transcripts_no_words_are_sent() -> None:
    session = state(transcripts=False)
    session.user_input.speech_started()
    session.user_input.speech_stopped()
    assert session.user_input.transcribed("secret") == []
    session.reply_started(False)
    assert session.responses.phrase("secret") == []
    shown = json.dumps(
        [session.responses.audio(b"\x01\x00"), session.responses.reply_ended(True, "secret")]
    )
    assert "secret" not in shown


def test_the_clients_instructions_are_passed_on_only_if_they_changed() -> None:
    session = state(client_settings=True)
    update = {"session": {"type": "realtime", "instructions": "Be brief."}}
    assert content(send(session, "session.update", **update)[1]) == {
        "instructions": "Be brief.",
        "voice": "v",
        "tools": (),
    }
    assert send(session, "session.update", **update)[1] is None
    assert send(state(), "session.update", **update)[1] is None


def update(**fields: Any) -> dict[str, Any]:
    return {"session": {"type": "realtime", **fields}}


def output(call_id: str, text: str) -> dict[str, Any]:
    return {"item": {"type": "function_call_output", "call_id": call_id, "output": text}}


def called(**more: Any) -> RealtimeState:
    """Return a session whose model has called a tool with the call id "c1"."""
    session = state(client_settings=True, **more)
    type_text(session, "Is the door open?")
    begin(session, send(session, "response.create")[1])
    session.responses.tool_called("c1", "door", '{"number": 1}')
    return session


def test_the_voice_is_chosen_before_the_bot_speaks() -> None:
    session = state(client_settings=True)
    chosen = update(audio={"output": {"voice": "w"}})
    assert content(send(session, "session.update", **chosen)[1]) == {
        "instructions": "",
        "voice": "w",
        "tools": (),
    }
    session.reply_started(False)
    session.responses.audio(b"\x01\x00")
    back = update(audio={"output": {"voice": "v"}})
    assert refusal(session, "session.update", **back) == "cannot_update_voice"
    unknown = update(audio={"output": {"voice": "alloy"}})
    for same in (chosen, unknown):
        answers, command = session.handle(events.SessionUpdate(same["session"]))
        assert answers[0]["session"]["audio"]["output"]["voice"] == "w"
        assert command is None


def test_tools_are_passed_on_and_withdrawn() -> None:
    session = state(client_settings=True)
    tools = update(tools=[{"type": "function", "name": "door"}])
    _, command = send(session, "session.update", **tools)
    assert isinstance(command, ClientSettingsFrame)
    assert [tool.name for tool in command.tools] == ["door"]
    assert send(session, "session.update", **tools)[1] is None
    kinds, command = send(session, "session.update", **update(tool_choice="none"))
    assert kinds == ["session.updated"]
    assert content(command) == {"instructions": "", "voice": "v", "tools": ()}


def test_a_call_ends_the_response_and_its_output_begins_the_next() -> None:
    session = state(client_settings=True)
    session.reply_started(False)
    session.responses.phrase("Let me see.")
    answers = session.responses.tool_called("c1", "door", '{"number": 1}')
    assert types(answers) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    added, done = answers[5], answers[-1]["response"]
    assert (added["item"]["status"], added["item"]["arguments"]) == ("in_progress", "")
    assert (done["status"], done["output"][0]["type"]) == ("completed", "message")
    assert (
        done["output"][1]
        == answers[-2]["item"]
        == {
            "id": added["item"]["id"],
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "call_id": "c1",
            "name": "door",
            "arguments": '{"number": 1}',
        }
    )
    indices = {answer["output_index"] for answer in answers[7:10]}
    assert indices == {1}
    assert refusal(session, "response.create") == "nothing_to_answer"
    kinds, command = send(session, "conversation.item.create", **output("c1", "open"))
    assert kinds == ["conversation.item.added", "conversation.item.done"]
    assert content(command) == {"call_id": "c1", "text": "open"}
    kinds, command = send(session, "response.create")
    assert kinds == ["response.created"]
    assert isinstance(command, ClientReplyFrame)
    begin(session, command)
    session.responses.phrase("It is open.")
    assert (
        types(session.responses.reply_ended(False, "Let me see. It is open."))[-1]
        == "response.done"
    )
    assert refusal(session, "response.create") == "nothing_to_answer"


def test_what_was_said_before_a_call_is_not_part_of_the_response_after_it() -> None:
    session = state(client_settings=True)
    session.reply_started(False)
    session.responses.phrase("Let me see.")
    session.responses.phrase("One moment.")
    session.responses.tool_called("c1", "door", "{}")
    send(session, "conversation.item.create", **output("c1", "open"))
    session.responses.response_begun(command_id(send(session, "response.create")[1]))
    session.responses.phrase("It is open.")
    *_, done = session.responses.reply_ended(True, "Let me see. One moment. It is")
    assert done["response"]["output"][0]["content"][0]["transcript"] == "It is"


def test_an_output_is_taken_once_and_only_for_a_call() -> None:
    session = called()
    no_call = "function_call_not_found"
    assert refusal(session, "conversation.item.create", **output("c2", "open")) == no_call
    send(session, "conversation.item.create", **output("c1", "open"))
    assert refusal(session, "conversation.item.create", **output("c1", "open")) == no_call


def test_after_a_timeout_the_reply_goes_on_and_the_output_is_refused() -> None:
    session = called()
    assert types(session.responses.tool_timed_out()) == ["response.created"]
    reason = refusal(session, "conversation.item.create", **output("c1", "open"))
    assert reason == "function_call_not_found"


def test_the_output_of_an_interrupted_call_is_kept() -> None:
    session = called()
    session.user_input.speech_started()
    assert session.responses.reply_ended(True, "") == []
    command = send(session, "conversation.item.create", **output("c1", "open"))[1]
    assert content(command) == {"call_id": "c1", "text": "open"}
    command = send(session, "response.create")[1]
    assert isinstance(command, ClientReplyFrame)  # the pipeline decides what follows
    begin(session, command)
    assert types(session.responses.reply_ended(False, "")) == ["response.done"]


def test_a_question_interrupts_the_reply_that_waits() -> None:
    session = called()
    send(session, "conversation.item.create", **output("c1", "open"))
    type_text(session, "And the window?")
    command = send(session, "response.create")[1]
    assert isinstance(command, ClientQuestionFrame)
    assert (command.text, command.stop) == ("And the window?", 1)
    assert session.responses.reply_ended(True, "") == []  # the report of the interrupted one
    session.responses.stopped(1)
    begin(session, command)
    session.responses.phrase("It is shut.")
    assert types(session.responses.reply_ended(False, "It is shut."))[-1] == "response.done"
    assert refusal(session, "response.create") == "nothing_to_answer"


def test_a_call_of_a_cancelled_response_is_not_shown() -> None:
    session = state(client_settings=True)
    session.reply_started(False)
    send(session, "response.cancel")
    assert session.responses.tool_called("c1", "door", "{}") == []
    reason = refusal(session, "conversation.item.create", **output("c1", "open"))
    assert reason == "function_call_not_found"


def test_only_messages_of_the_bot_are_truncated() -> None:
    session = called()
    item = send_item(session, output("c1", "open"))
    fields = {"item_id": item, "content_index": 0, "audio_end_ms": 1}
    assert refusal(session, "conversation.item.truncate", **fields) == "invalid_event"


def send_item(session: RealtimeState, fields: dict[str, Any]) -> str:
    answers, _ = session.handle(decode(json.dumps({"type": "conversation.item.create", **fields})))
    return str(answers[0]["item"]["id"])


def test_old_items_are_forgotten() -> None:
    session = state()
    session.user_input.speech_started()
    first = session.user_input.speech_stopped()[0]["item_id"]
    for _ in range(MAX_ITEMS):
        session.user_input.speech_started()
        session.user_input.speech_stopped()
    assert refusal(session, "conversation.item.retrieve", item_id=first) == "item_not_found"
