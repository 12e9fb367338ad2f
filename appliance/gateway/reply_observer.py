"""What a session tells the protocol of its client, beside the frames of the pipeline."""

from __future__ import annotations


class ReplyObserver:
    """Follows the replies of one session. By default, nothing is done.

    The calls come on the event loop, in the order of playback, and must not block.
    """

    def reply_started(self, spoken: bool) -> None:
        """A question was submitted, and its reply begins. `spoken`: a turn of the user ended."""

    def reply_failed(self, reason: str) -> None:
        """The reply has failed for this reason. `reply_ended` follows."""

    def phrase(self, text: str) -> None:
        """A phrase of the bot begins; its audio follows."""

    def reply_ended(self, interrupted: bool, heard: str) -> None:
        """The bot has finished, or was interrupted. The user has heard the text `heard`."""

    def notice_ended(self) -> None:
        """Something outside the conversation was said, such as an apology."""

    def transcribed(self, text: str) -> None:
        """The words of the latest question are known."""
