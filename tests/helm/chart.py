"""Renders the chart with Helm's own library, and parses what it made."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.units.reading import OPS

CHART = OPS / "helm/voice-appliance"
NAME = NAMESPACE = "voice-appliance"
Objects = dict[str, dict[str, Any]]

helm = pytest.importorskip("helm_python", reason="THE CHART IS NOT TESTED: NO helm-python-sdk")


def render(values: dict[str, Any] | None = None, name: str = NAME) -> Objects:
    """Objects by kind and name, hooks included. Raises HelmError if the values are refused."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values or {})
        rendered = chart.render(values or {}, name=name, namespace=NAMESPACE)
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    parsed = [entry for text in texts for entry in yaml.safe_load_all(text) if entry]
    objects = {f"{entry['kind']}/{entry['metadata']['name']}": entry for entry in parsed}
    assert len(objects) == len(parsed)
    return objects


def without_hooks(objects: Objects) -> Objects:
    """What stays in the cluster."""
    return {
        key: entry
        for key, entry in objects.items()
        if "helm.sh/hook" not in entry["metadata"].get("annotations", {})
    }


def pod(objects: Objects) -> dict[str, Any]:
    """The specification of the appliance's pods."""
    (deployment,) = (entry for key, entry in objects.items() if key.startswith("Deployment/"))
    return dict(deployment["spec"]["template"]["spec"])


def environment(objects: Objects) -> dict[str, str]:
    """The environment of the appliance's container."""
    (container,) = pod(objects)["containers"]
    return {pair["name"]: pair["value"] for pair in container["env"]}
