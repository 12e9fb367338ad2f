"""The mark that keeps new callers out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance import run_folder


def test_it_says_since_when_callers_are_kept_out(tmp_path: Path) -> None:
    assert run_folder.since(tmp_path) is None
    run_folder.begin(tmp_path)
    assert run_folder.since(tmp_path) == pytest.approx(time.time(), abs=60)
    run_folder.end(tmp_path)
    assert run_folder.since(tmp_path) is None


def test_asking_twice_keeps_the_time_of_the_first_and_undoing_twice_does_no_harm(
    tmp_path: Path,
) -> None:
    run_folder.begin(tmp_path)
    first = run_folder.since(tmp_path)
    run_folder.begin(tmp_path)
    assert run_folder.since(tmp_path) == first
    run_folder.end(tmp_path)
    run_folder.end(tmp_path)


def test_without_a_run_folder_there_is_nothing_to_drain(tmp_path: Path) -> None:
    assert run_folder.since(tmp_path / "none") is None
    with pytest.raises(FileNotFoundError):
        run_folder.begin(tmp_path / "none")
