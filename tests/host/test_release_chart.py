"""The chart in a release runs the image of that release."""

from __future__ import annotations

import yaml

from tests.helm.chart import helm
from tests.host.conftest import Connected
from tests.units.reading import OPS


def test_chart_of_a_release_is_complete_and_of_its_profile(connected: Connected) -> None:
    folder = connected.full / "helm/voice-appliance"
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    with helm.Chart.load(folder) as chart, helm.Chart.load(OPS / "helm/voice-appliance") as source:
        values = {"prometheusRule": {"enabled": True}}
        assert chart.render(values, name="a") == source.render(values, name="a")
    profile = yaml.safe_load((folder / "values.yaml").read_text())["profile"]
    assert f"PROFILE={profile}\n" in (connected.full / "release.env").read_text()
