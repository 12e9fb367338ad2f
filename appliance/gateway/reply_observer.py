"""The interface by which a session reports its replies to the protocol of its client."""

from __future__ import annotations


class ReplyObserver:
    """Follows the replies of one session. By default, it does nothing.

    The calls come on the event loop, in the order of playback, and must not block.
    """

    def reply_started(self, spoken: bool) -> None:
        """A question was submitted, and its reply begins. `spoken`: a turn of the user ended."""

    def response_begun(self, response_id: str) -> None:
        """The pipeline begins the response that the client has asked for, by its id."""

    def reply_failed(self, reason: str) -> None:
        """The reply has failed for this reason. `reply_ended` follows."""

    def phrase(self, text: str) -> None:
        """A phrase of the bot begins; its audio follows."""

    def tool_called(self, call_id: str, name: str, arguments: str) -> None:
        """The model calls a tool of the client. All speech before the call was sent.

        The reply goes on when the client asks for it, or with `tool_timed_out`. `arguments` is a
        JSON object.
        """

    def tool_timed_out(self) -> None:
        """The reply goes on without the result of the client's tool."""

    def reply_ended(self, interrupted: bool, heard: str) -> None:
        """The bot has finished, or was interrupted. The user has heard the text `heard`."""

    def notice_ended(self) -> None:
        """Something outside the conversation was said, such as an apology."""

    def stopped(self, number: int) -> None:
        """The bot was stopped because the client asked for it, with this number.

        `reply_ended` came before. What comes now is new.
        """

    def transcribed(self, text: str) -> None:
        """The words of the latest question are known."""
