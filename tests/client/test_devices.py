"""`client devices`."""

from client.devices import list_devices
from tests.client.conftest import RunClient
from tests.fakes import FakeSound


def test_every_device_is_listed_with_number_and_direction() -> None:
    lines = list_devices(FakeSound()).splitlines()
    assert lines[0].split() == ["0", "in", "48000", "Hz", "Desk", "Microphone"]
    assert lines[2].split() == ["2", "out", "48000", "Hz", "Headphones"]


def test_machine_without_devices_is_referred_to_other_commands() -> None:
    sound = FakeSound()
    sound.devices.clear()
    assert "`say` and `ask` work" in list_devices(sound)


async def test_devices_runs_without_a_sound_card(run_client: RunClient) -> None:
    result = await run_client("devices")
    assert result.code in (0, 2)
    assert "Traceback" not in result.err
