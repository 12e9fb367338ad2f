"""For all tests: their order, no deadlines, a fresh journal for each, a summary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from appliance import core_dumps

# Shared machines stall, and no test's success is a matter of time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


# The model of the tests that run an appliance or the small engine: it decodes 1.5 times as fast as
# the default. tests/image runs what is shipped, the default. Settings without the prefix VOICE_.
FAST_MODEL = "qwen2.5-coder-0.5b-instruct"
FAST = {"LLM_MODEL": FAST_MODEL}

# pytest-xdist gives files to its workers in the order of the collection. These wait for speech, for
# browsers, for processes or for models, so they take minutes for few tests. They begin first, the
# longest one before the others; what is left takes milliseconds for each test and fills every
# worker to the end. Begun last, one of them would keep one worker busy for minutes, and the others
# would wait.
SLOW_FIRST = (
    "tests/pool/test_calls.py",
    "tests/gateway/turns/test_interruptions.py",
    "tests/gateway/realtime/test_realtime.py",
    "tests/gateway/test_session.py",
    "tests/pool/test_upgrade.py",
    "tests/gateway/attack/",
    "tests/page/",
    "tests/gateway/turns/",
    "tests/stock/",
    "tests/realtime/",
    "tests/pool/",
    "tests/gateway/",
    "tests/client/",
    "tests/acceptance/",
    "tests/engines/tts/test_voice_quality.py",  # the first of the part `models`
    "tests/engines/llm/small/",
    "tests/voices/",
    "tests/engines/",
)

# A test reports a time to recovery as a user property, which pytest-xdist sends to the controller.
# The controller loads this file only, not the conftest.py of tests/drills.
RECOVERY = "time to recovery"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of SLOW_FIRST before all others. Within a file the order stays."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> int:
    """Return the number of the first path in SLOW_FIRST that a test belongs to."""
    found = (number for number, path in enumerate(SLOW_FIRST) if nodeid.startswith(path))
    return next(found, len(SLOW_FIRST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the times to recovery that tests have reported."""
    rows = [
        f"  {event:44} {report.nodeid.rpartition('::')[2].removeprefix('test_').replace('_', ' ')}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, event in report.user_properties
        if name == RECOVERY
    ]
    if rows:
        terminalreporter.section("drills: time to recovery")
        terminalreporter.write_line("\n".join(rows))


@pytest.fixture(autouse=True, scope="session")
def unchanged_process() -> Iterator[None]:
    """A command that a test calls in this process would limit this process for all later tests.

    Core dumps are not switched off here, and memory is not hidden; neither can be undone.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_dumps, "disable", lambda: None)
        patch.setattr(core_dumps, "hide_memory", lambda: None)
        yield


@pytest.fixture(autouse=True)
def fresh_journal() -> Iterator[None]:
    """A test that configures the journal binds it to its captured output, which is closed then."""
    yield
    structlog.reset_defaults()
