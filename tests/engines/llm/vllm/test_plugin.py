"""Setup of vLLM's processes. Model and processor are tested in tests/torch/vllm."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import entry_points
from pathlib import Path

import psutil
import pytest

from appliance import offline
from appliance.engines.llm.vllm.plugin import CAST_WARNING, LOADERS, refuse_casts
from appliance.errors import WeightsCast

PARENT = textwrap.dedent(
    """
    import multiprocessing, os, sys, time
    from appliance.engines.llm.vllm.plugin import set_up_child

    def child():
        set_up_child(has_child=False)
        import logging
        logging.getLogger("vllm.some").warning("said %s", "canary")
        os.write(1, b"canary on stdout\\n")
        os.write(2, b"canary on stderr\\n")
        time.sleep(60)

    if __name__ == "__main__":
        process = multiprocessing.get_context("spawn").Process(target=child)
        process.start()
        print(process.pid, flush=True)
        process.join()
    """
)


@pytest.mark.parametrize("name", LOADERS)
def test_cast_of_a_weight_is_refused(name: str) -> None:
    logger = logging.getLogger(name)
    logger.addFilter(refuse_casts)
    try:
        with pytest.raises(WeightsCast, match=r"audio_tower.*bfloat16 to torch.int8"):
            logger.warning(
                f"{CAST_WARNING} %s with dtype %s into parameter with dtype %s",
                "audio_tower.weight",
                "torch.bfloat16",
                "torch.int8",
            )
        logger.warning("Something else %d", 1)
    finally:
        logger.removeFilter(refuse_casts)


@pytest.fixture
def parent(tmp_path_factory: pytest.TempPathFactory) -> subprocess.Popen[str]:
    script = tmp_path_factory.mktemp("parent") / "parent.py"
    script.write_text(PARENT)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "VOICE_JOURNAL_FORMAT": "json"},
        start_new_session=True,
    )


def test_child_process_logs_like_the_engine_and_exits_with_its_parent(
    parent: subprocess.Popen[str],
) -> None:
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    line = json.loads(parent.stdout.readline())
    assert line["process"] == "llm"
    assert line["place"].startswith("vllm.some:")
    group = os.getpgid(child.pid)
    while group != child.pid:  # the child leaves the process group right after its first line
        time.sleep(0.01)
        group = os.getpgid(child.pid)
    time.sleep(0.2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
    assert "canary" not in parent.stdout.read()


def test_plugin_is_registered_as_an_entry_point() -> None:
    """The entry point exists only in environments with the package, such as that of vLLM."""
    plugins = entry_points(group="vllm.general_plugins", name=offline.SWITCHES["VLLM_PLUGINS"])
    values = [plugin.value for plugin in plugins]
    assert values in ([], ["appliance.engines.llm.vllm.plugin:register"])
