from client.devices import listing
from tests.fakes import FakeSound


def test_every_device_has_its_number_and_what_it_can_do():
    lines = listing(FakeSound()).splitlines()
    assert lines[0].split() == ["0", "in", "48000", "Hz", "Desk", "Microphone"]
    assert lines[2].split() == ["2", "out", "48000", "Hz", "Headphones"]


def test_a_machine_without_devices_says_what_still_works():
    sound = FakeSound()
    sound.devices.clear()
    assert "`say` and `ask` work" in listing(sound)


async def test_the_verb_runs_where_there_is_no_sound_card(program):
    got = await program("devices")
    assert got.code in (0, 2)
    assert "Traceback" not in got.err
