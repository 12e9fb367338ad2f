from client import errors


def test_every_kind_of_failure_has_the_exit_code_that_the_manual_promises():
    kinds = {kind.__name__: kind.exit_code for kind in errors.ClientError.__subclasses__()}
    assert kinds == {
        "UsageError": 2,
        "Refused": 3,
        "CannotConnect": 4,
        "BrokeOff": 5,
        "NoAnswer": 6,
    }


def test_nothing_is_tried_again_unless_it_says_so():
    assert not errors.Refused("no").retryable
    assert errors.Refused("later", retryable=True, retry_after_seconds=5).retry_after_seconds == 5
