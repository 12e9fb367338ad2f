"""Messages on stderr."""

import pytest

from client.errors import CannotConnect
from client.stderr import print_error, print_retry


def test_errors_and_retries_are_printed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("the bot did not answer")
    print_retry(CannotConnect("nothing listens at box; is the appliance running?"), 1.25)
    print_retry(CannotConnect("box did not answer within 10 s"), 2.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "voice: the bot did not answer",
        "voice: nothing listens at box; is the appliance running? Trying again in 1.2 s.",
        "voice: box did not answer within 10 s. Trying again in 2.0 s.",
    ]
