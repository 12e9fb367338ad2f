from client.errors import CannotConnect
from client.messages import announce_retry, complain


def test_problems_go_to_stderr_and_results_alone_to_stdout(capsys):
    complain("the cable is out")
    announce_retry(CannotConnect("nothing listens at box;"), 1.25)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "voice-client: the cable is out",
        "voice-client: nothing listens at box; Trying again in 1.2 s.",
    ]
