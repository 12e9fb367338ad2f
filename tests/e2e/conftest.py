"""One running appliance for all tests of this folder, so that the engines load only once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import FAST
from tests.e2e.appliance import Appliance


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance"), FAST).start()
    yield running
    assert running.stop() == 0, running.tail()
