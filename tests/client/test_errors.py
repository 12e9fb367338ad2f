"""The error catalogue."""

from client import errors


def test_every_error_has_its_documented_exit_code() -> None:
    codes = {error.__name__: error.exit_code for error in errors.ClientError.__subclasses__()}
    assert codes == {
        "UsageError": 2,
        "CallRefused": 3,
        "CannotConnect": 4,
        "CallDropped": 5,
        "NoAnswer": 6,
    }
    assert errors.BotHungUp.exit_code == 0


def test_errors_are_not_retryable_by_default() -> None:
    assert not errors.CallRefused("no").retryable
    assert (
        errors.CallRefused("later", retryable=True, retry_after_seconds=5).retry_after_seconds == 5
    )
