"""The log: JSON lines, and no word of a caller in any of them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loguru
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance import journal, settings
from appliance.errors import BadSetting
from appliance.journal_fields import FIELDS

CANARY = "zanzibar"
ROOT = Path(__file__).parents[1]


class Log:
    """What a configured journal has written."""

    def __init__(self, **options: Any) -> None:
        self._stream = io.BytesIO()
        strict = options.pop("strict", False)
        journal.configure(
            settings.JournalConfig(**{"format": "json", **options}),
            "gateway",
            stream=self._stream,
            strict=strict,
        )

    def text(self) -> str:
        return self._stream.getvalue().decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def line(self) -> dict[str, Any]:
        (only,) = self.lines()
        return only


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    monkeypatch.setattr("warnings.showwarning", warnings.showwarning)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False
    loguru.logger.remove()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_line_says_when_how_bad_who_and_what() -> None:
    log = Log()
    journal.get().info("session ended", reason="idle", duration_seconds=12.34567)
    line = log.line()
    stamp = line.pop("time")
    assert stamp.endswith("Z") and stamp[10] == "T"
    assert line == {
        "level": "info",
        "process": "gateway",
        "event": "session ended",
        "reason": "idle",
        "duration_seconds": 12.3457,
    }


def test_session_and_turn_are_bound_once_and_stand_on_libraries_lines_too() -> None:
    log = Log()
    with structlog.contextvars.bound_contextvars(session="s-1", turn=3):
        journal.get().info("turn ended")
        loguru.logger.info("anything")
        logging.getLogger("websockets").error("anything")
    assert [(line["session"], line["turn"]) for line in log.lines()] == [("s-1", 3)] * 3


def test_a_field_that_is_not_listed_is_dropped_and_counted() -> None:
    log = Log()
    journal.get().info("turn ended", text=CANARY, user_text=CANARY, reason="answered")
    assert CANARY not in log.text()
    assert log.line()["dropped_fields"] == 2
    assert log.line()["reason"] == "answered"


def test_an_exception_is_type_and_place_without_its_words() -> None:
    log = Log()
    words = {CANARY: CANARY}
    try:
        try:
            raise KeyError(words[CANARY])
        except KeyError as inner:
            raise RuntimeError(CANARY) from inner
    except RuntimeError:
        journal.get().exception("turn failed")
    assert CANARY not in log.text()
    line = log.line()
    assert line["level"] == "error"
    assert line["error"] == "RuntimeError"
    assert line["caused_by"] == ["KeyError"]
    assert "test_journal.py:" in line["trace"][-1]


def say_with_loguru() -> None:
    loguru.logger.info(f"user said {CANARY}")
    loguru.logger.warning("user said {}", CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        loguru.logger.exception(CANARY)


def say_with_logging() -> None:
    library = logging.getLogger("some.library")
    library.warning("user said %s", CANARY)
    library.error(CANARY, extra={"reason": CANARY})
    try:
        raise ValueError(CANARY)
    except ValueError:
        library.exception(CANARY)


@pytest.mark.parametrize("say", [say_with_loguru, say_with_logging])
def test_a_library_is_written_by_place_and_never_by_its_words(say: Callable[[], None]) -> None:
    log = Log()
    say()
    assert CANARY not in log.text()
    lines = log.lines()
    assert [line["event"] for line in lines] == ["library"] * 3
    assert all(f":{say.__name__}:" in line["place"] for line in lines)
    assert lines[2]["error"] == "ValueError"


def test_words_of_libraries_are_written_only_when_asked_for() -> None:
    log = Log(pipecat_messages=True)
    loguru.logger.info(f"user said {CANARY}")
    assert log.line()["message"] == f"user said {CANARY}"


def test_libraries_below_the_threshold_and_access_logs_are_silent() -> None:
    log = Log()
    logging.getLogger("websockets").info("connection open")
    logging.getLogger("uvicorn.access").error("GET /")
    loguru.logger.debug("noise")
    assert log.text() == ""


def test_pipecat_s_own_way_of_logging_is_caught() -> None:
    program = f"""
from appliance import journal, settings
journal.configure(settings.Journal(), "gateway")
from pipecat.frames.frames import TextFrame
from pipecat.processors.frame_processor import FrameProcessor
from loguru import logger
logger.info(f"{{TextFrame(text='{CANARY}')}}")
logger.error(f"{{FrameProcessor.__name__}} {CANARY}")
import warnings
warnings.warn("{CANARY}")
import threading
threading.Thread(target=lambda: [].remove("{CANARY}")).start()
raise ValueError("{CANARY}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert CANARY not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert sum(line["event"] == "crashed" for line in lines) == 2
    assert sum(line["event"] == "library" for line in lines) >= 3


@given(
    fields=st.dictionaries(
        st.sampled_from(sorted(FIELDS - {"event"})),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=9000),
            st.lists(st.text(max_size=900), max_size=40),
        ),
    )
)
def test_every_line_is_json_and_shorter_than_a_read_of_supervisord(fields: dict[str, Any]) -> None:
    log = Log()
    journal.get().info("turn ended", **fields)
    assert len(log.text().encode()) < 4096
    assert log.text().count("\n") == 1
    assert log.line()["event"] == "turn ended"


def test_pretty_is_for_people() -> None:
    log = Log(format="pretty")
    journal.get().info("turn ended", reason="answered", text=CANARY)
    assert "turn ended" in log.text() and "answered" in log.text() and "gateway" in log.text()
    assert CANARY not in log.text()


def test_levels_below_the_set_one_are_not_written() -> None:
    log = Log(level="warning")
    journal.get().info("turn ended")
    journal.get().warning("turn failed")
    assert log.line()["event"] == "turn failed"


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"format": "xml"}])
def test_a_level_or_format_that_does_not_exist_is_a_bad_setting(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSetting, match=r"journal\."):
        Log(**wrong)


def test_events_are_counted_by_level_for_the_meters() -> None:
    counted: list[str] = []
    Log()
    journal.on_event(counted.append)
    journal.get().info("turn ended")
    journal.get().exception("turn failed", exc_info=None)
    loguru.logger.warning("anything")
    logging.getLogger("some.library").critical("anything")
    assert counted == ["info", "error", "warning", "critical"]
    assert set(counted) <= set(journal.LEVELS)
