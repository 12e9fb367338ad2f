"""The log: JSON lines without anything that a caller said."""

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
from appliance.journal_fields import FIELDS, LEVELS

CANARY = "zanzibar"
ROOT = Path(__file__).parents[1]


class Log:
    """Configures the journal and reads what it writes."""

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
def restore_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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


def test_line_has_time_level_process_event_and_fields() -> None:
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


def test_bound_fields_are_on_every_line_including_libraries() -> None:
    log = Log()
    with structlog.contextvars.bound_contextvars(session="s-1", turn=3):
        journal.get().info("turn ended")
        loguru.logger.info("anything")
        logging.getLogger("websockets").error("anything")
    assert [(line["session"], line["turn"]) for line in log.lines()] == [("s-1", 3)] * 3


def test_unlisted_field_is_dropped_and_counted() -> None:
    log = Log()
    journal.get().info("turn ended", text=CANARY, user_text=CANARY, reason="answered")
    assert CANARY not in log.text()
    assert log.line()["dropped_fields"] == 2
    assert log.line()["reason"] == "answered"


def test_exception_is_logged_without_its_message() -> None:
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


def log_with_loguru() -> None:
    loguru.logger.info(f"user said {CANARY}")
    loguru.logger.warning("user said {}", CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        loguru.logger.exception(CANARY)


def log_with_logging() -> None:
    library = logging.getLogger("some.library")
    library.warning("user said %s", CANARY)
    library.error(CANARY, extra={"reason": CANARY})
    try:
        raise ValueError(CANARY)
    except ValueError:
        library.exception(CANARY)


@pytest.mark.parametrize("log_with", [log_with_loguru, log_with_logging])
def test_library_messages_are_replaced_by_their_place(log_with: Callable[[], None]) -> None:
    log = Log()
    log_with()
    assert CANARY not in log.text()
    lines = log.lines()
    assert [line["event"] for line in lines] == ["library"] * 3
    assert all(f":{log_with.__name__}:" in line["place"] for line in lines)
    assert lines[2]["error"] == "ValueError"


def test_library_messages_are_written_if_the_setting_is_on() -> None:
    log = Log(pipecat_messages=True)
    loguru.logger.info(f"user said {CANARY}")
    assert log.line()["message"] == f"user said {CANARY}"


def test_low_level_library_messages_and_access_logs_are_not_written() -> None:
    log = Log()
    logging.getLogger("websockets").info("connection open")
    logging.getLogger("uvicorn.access").error("GET /")
    loguru.logger.debug("noise")
    assert log.text() == ""


def test_logging_of_pipecat_and_of_crashes_is_filtered() -> None:
    program = f"""
from appliance import journal, settings
journal.configure(settings.JournalConfig(), "gateway")
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
def test_every_line_is_json_and_fits_one_read_of_supervisord(fields: dict[str, Any]) -> None:
    log = Log()
    journal.get().info("turn ended", **fields)
    assert len(log.text().encode()) < 4096
    assert log.text().count("\n") == 1
    assert log.line()["event"] == "turn ended"


def test_pretty_format_is_readable_and_filtered() -> None:
    log = Log(format="pretty")
    journal.get().info("turn ended", reason="answered", text=CANARY)
    assert "turn ended" in log.text() and "answered" in log.text() and "gateway" in log.text()
    assert CANARY not in log.text()


def test_lines_below_the_configured_level_are_not_written() -> None:
    log = Log(level="warning")
    journal.get().info("turn ended")
    journal.get().warning("turn failed")
    assert log.line()["event"] == "turn failed"


@pytest.mark.parametrize(("name", "value"), [("level", "loud"), ("format", "xml")])
def test_unknown_level_or_format_is_a_bad_setting(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"VOICE_JOURNAL_{name.upper()}"):
        settings.load({f"VOICE_JOURNAL_{name.upper()}": value})


def test_event_hooks_get_the_level_of_every_event() -> None:
    counted: list[str] = []
    Log()
    journal.on_event(counted.append)
    journal.get().info("turn ended")
    journal.get().exception("turn failed", exc_info=None)
    loguru.logger.warning("anything")
    logging.getLogger("some.library").critical("anything")
    assert counted == ["info", "error", "warning", "critical"]
    assert set(counted) <= set(LEVELS)
