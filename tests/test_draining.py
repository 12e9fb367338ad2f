"""The mark that keeps new callers out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance import draining


def test_it_says_since_when_callers_are_kept_out(tmp_path: Path) -> None:
    assert draining.since(tmp_path) is None
    draining.begin(tmp_path)
    assert draining.since(tmp_path) == pytest.approx(time.time(), abs=60)
    draining.end(tmp_path)
    assert draining.since(tmp_path) is None


def test_asking_twice_keeps_the_time_of_the_first_and_undoing_twice_does_no_harm(
    tmp_path: Path,
) -> None:
    draining.begin(tmp_path)
    first = draining.since(tmp_path)
    draining.begin(tmp_path)
    assert draining.since(tmp_path) == first
    draining.end(tmp_path)
    draining.end(tmp_path)


def test_without_a_run_folder_there_is_nothing_to_drain(tmp_path: Path) -> None:
    assert draining.since(tmp_path / "none") is None
    with pytest.raises(FileNotFoundError):
        draining.begin(tmp_path / "none")
