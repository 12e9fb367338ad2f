"""Any order of a client's events and the pipeline's reports, with a model of the pipeline.

The pipeline has two places. The service takes the client's commands and begins replies. The output
sends what they say, later. An interruption begins at the service, and drops at the output what
began before it. Client, service and output advance in any order.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pipecat.frames.frames import Frame

from appliance.gateway.frames import (
    ClientGreetingFrame,
    ClientQuestionFrame,
    ClientReplyFrame,
    ClientStopFrame,
    ClientToolResultFrame,
)
from appliance.gateway.realtime import client_events as events
from appliance.gateway.realtime.client_events import RefusedEvent
from tests.gateway.realtime.test_realtime_state import state

SAMPLE = 2  # bytes; the audio of reply n is n samples, so a client knows what it hears
GREETING = 1


class Conversations(RuleBasedStateMachine):
    """A client, the service and the output.

    commands  of the client, on their way to the service
    replies   that the service generates: the number of the reply, and what it will still say
    output    on its way to the client: steps of replies, and interruptions with the number of the
              client's stop, or 0
    """

    @initialize(greeting=st.booleans())
    def connect(self, greeting: bool) -> None:
        self.state = state(greeting=greeting, client_settings=True)
        self.commands = deque[Frame]()
        self.reply: deque[str] = deque()
        self.number = GREETING  # of the latest reply
        self.output = deque[tuple[str, int]]()
        self.waiting, self.returned = "", False  # the call that the reply waits for
        self.calls = 0
        self.speaking = False  # the user
        self.asked: dict[str, int] = {}  # what the client asked for: the reply, by response
        self.heard: dict[str, set[int]] = {}  # replies, by response
        self.ended: dict[str, str] = {}  # status, by response
        self.running, self.item = "", ""  # the response and its message
        self.shown: list[str] = []  # calls that the client was told about
        self.silenced = 0  # the client has stopped what it asked for up to this reply

    # --- the client

    def send(self, event: Any) -> bool:
        """Send an event. Return whether it was accepted."""
        try:
            answers, command = self.state.handle(event)
        except RefusedEvent:
            return False
        self.receive(answers)
        if isinstance(command, ClientStopFrame) or (
            isinstance(command, ClientQuestionFrame) and command.stop
        ):
            self.silenced = self.number
        if isinstance(command, ClientQuestionFrame | ClientGreetingFrame | ClientReplyFrame):
            self.asked[command.response_id] = 0
        if command is not None:
            self.commands.append(command)
        return True

    @rule()
    def types(self) -> None:
        assert self.send(events.ItemCreate("", "Hello.", b"", None))

    @rule()
    def asks(self) -> None:
        self.send(events.ResponseCreate(None))

    @rule()
    def types_and_asks(self) -> None:
        self.types()
        self.asks()

    @rule()
    def cancels(self) -> None:
        self.send(events.ResponseCancel(""))
        assert not self.running

    @precondition(lambda self: self.item)
    @rule()
    def truncates(self) -> None:
        assert self.send(events.ItemTruncate(self.item, 0, 0))

    @precondition(lambda self: self.shown)
    @rule()
    def returns_a_result(self) -> None:
        self.send(events.OutputCreate("", self.shown.pop(), "open", None))

    @rule()
    def opens_the_microphone(self) -> None:
        if self.state.greets():
            self.commands.append(ClientGreetingFrame(""))

    def receive(self, answers: list[dict[str, Any]]) -> None:
        for answer in answers:
            kind = answer["type"]
            if kind == "response.created":
                assert not self.running, "two responses at a time"
                self.running = answer["response"]["id"]
                self.heard[self.running] = set()
            elif kind == "response.done":
                assert answer["response"]["id"] == self.running
                self.ended[self.running] = answer["response"]["status"]
                self.running = self.item = ""
            elif kind.startswith("response."):
                assert answer["response_id"] == self.running, "outside of a response"
                if kind == "response.output_item.added":
                    item = answer["item"]
                    self.item = item["id"] if item["type"] == "message" else self.item
                if kind == "response.function_call_arguments.done":
                    self.shown.append(answer["call_id"])
                if kind == "response.output_item.done" and answer["item"]["type"] == "message":
                    self.item = ""

    # --- the service

    @property
    def reported(self) -> bool:
        """Whether all interruptions were reported. No reply begins before."""
        return not any(step == "interruption" for step, _ in self.output)

    def interrupt(self, stop: int = 0) -> None:
        self.reply.clear()
        self.waiting, self.returned = "", False
        self.output.append(("interruption", stop))

    def begin(self, steps: list[str], *, spoken: bool = False) -> None:
        self.number += 1
        self.waiting, self.returned = "", False
        self.reply = deque([*steps, "end"])
        self.receive(self.state.reply_started(spoken))

    @precondition(lambda self: self.commands)
    @rule(
        steps=st.lists(st.sampled_from(["phrase", "audio", "call", "failure", "hold"]), max_size=5)
    )
    def takes_a_command(self, steps: list[str]) -> None:
        command = self.commands[0]
        if isinstance(command, ClientQuestionFrame) and command.stop:
            self.interrupt(command.stop)
            self.commands[0] = ClientQuestionFrame(
                command.text, command.audio, 0, command.response_id
            )
            return
        if (
            isinstance(command, ClientQuestionFrame | ClientGreetingFrame | ClientReplyFrame)
            and not self.reported
        ):
            return
        self.commands.popleft()
        match command:
            case ClientStopFrame():
                self.interrupt(command.number)
            case ClientToolResultFrame():
                self.returned = self.returned or command.call_id == self.waiting
            case ClientQuestionFrame():
                self.state.responses.response_begun(command.response_id)
                self.begin(steps)
                self.asked[command.response_id] = self.number
            case ClientGreetingFrame():
                self.state.responses.response_begun(command.response_id)
                self.output.extend([("phrase", GREETING), ("audio", GREETING), ("end", GREETING)])
            case ClientReplyFrame():
                self.state.responses.response_begun(command.response_id)
                if self.waiting and self.returned:
                    self.waiting = ""
                elif not self.reply:
                    self.output.append(("end", self.number))

    @rule()
    def generates(self) -> None:
        if self.waiting or not self.reply:
            return
        step = self.reply.popleft()
        if step == "failure":
            self.state.responses.reply_failed("engine_failed")
            self.reply = deque(["end"])
        elif step == "call":
            self.calls += 1
            self.waiting = f"call{self.calls}"
            self.output.append((self.waiting, self.number))
        else:
            self.output.append((step, self.number))

    @precondition(lambda self: self.waiting and not self.output)
    @rule()
    def waits_no_longer(self) -> None:
        if not self.returned:
            self.receive(self.state.responses.tool_timed_out())
            self.waiting = ""
        else:  # the client asks for nothing
            self.waiting = ""
            self.reply = deque(["end"])

    @rule()
    def hears_the_user(self) -> None:
        if not self.speaking:
            self.speaking = True
            self.interrupt()
            self.receive(self.state.user_input.speech_started())

    @precondition(lambda self: self.speaking and self.reported)
    @rule(steps=st.lists(st.sampled_from(["phrase", "audio", "call"]), max_size=5))
    def answers_the_user(self, steps: list[str]) -> None:
        self.speaking = False
        self.begin(steps, spoken=True)

    # --- the output

    @precondition(lambda self: self.output)
    @rule(stray=st.booleans())
    def plays(self, stray: bool) -> None:
        step, number = self.output.popleft()
        if step == "interruption":
            self.receive(self.state.responses.reply_ended(True, ""))
            if number:
                self.state.responses.stopped(number)
            if stray:
                self.play(self.number)
        elif step == "phrase":
            self.receive(self.state.responses.phrase("Some words."))
        elif step == "audio":
            self.play(number)
        elif step == "hold":  # "One moment, please."
            self.receive(self.state.responses.phrase("One moment."))
            self.play(number)
            self.receive(self.state.responses.notice_ended())
        elif step == "end":
            self.receive(self.state.responses.reply_ended(False, "Some words."))
        else:
            answers = self.state.responses.tool_called(step, "door", "{}")
            self.receive(answers)
            assert not answers or number > self.silenced, "called although it was stopped"

    @precondition(lambda self: not self.reported)
    @rule()
    def drops_what_was_interrupted(self) -> None:
        while self.output[0][0] != "interruption":
            self.output.popleft()

    def play(self, number: int) -> None:
        answers = self.state.responses.audio(bytes(SAMPLE * number))
        if not answers:
            return
        self.receive(answers)
        assert number == GREETING or number > self.silenced, "spoken although it was stopped"
        self.heard[self.running].add(number)

    # --- in the end

    def teardown(self) -> None:
        """Everything comes to an end, and the next question is answered."""
        if not hasattr(self, "state"):
            return
        self.settle()
        assert not self.running, "a response stays open"
        assert set(self.asked) <= set(self.ended)
        self.types()
        assert self.send(events.ResponseCreate(None)), "nothing more can be asked"
        response = self.running
        self.settle()
        assert self.ended[response] == "completed"
        assert self.heard[response] == {self.asked[response]}

    def settle(self) -> None:
        self.speaking = False
        while self.commands or self.output or self.reply:
            while self.output:
                self.plays(False)
            if self.commands:
                self.takes_a_command(["phrase", "audio"])
            elif self.waiting and not self.output:
                self.waits_no_longer()
            else:
                self.generates()


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
