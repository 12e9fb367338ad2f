"""What the options of the chart add: monitoring, scaling, an ingress, a gateway."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import NAMESPACE, render
from tests.helm.test_chart import BEHIND_PROXY, PROXIES
from tests.monitoring.programs import promtool
from tests.units.reading import OPS

SCALED: dict[str, Any] = {
    "podMonitor": {"enabled": True},
    "autoscaling": {
        "enabled": True,
        "prometheus": "http://prometheus.monitoring:9090",
        "maxReplicas": 5,
        "freePlaces": 2,
    },
}
INGRESS: dict[str, Any] = PROXIES | {
    "ingress": {"enabled": True, "host": "voice.example", "tlsSecret": "voice-example"}
}


def test_nothing_of_it_is_there_by_default() -> None:
    kinds = {key.partition("/")[0] for key in render()}
    assert kinds == {"Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"}


def test_pod_monitor_scrapes_every_pod_as_the_job_of_the_alerts() -> None:
    objects = render({"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    monitor = objects["PodMonitor/voice-appliance"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    labels = objects["Deployment/voice-appliance"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    container = objects["Deployment/voice-appliance"]["spec"]["template"]["spec"]["containers"][0]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    (job,) = yaml.safe_load((OPS / "monitoring/scrape.yml").read_text())["scrape_configs"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (
        job["scrape_interval"],
        job["scrape_timeout"],
    )
    replaced = {rule["targetLabel"]: rule for rule in endpoint["relabelings"]}
    assert replaced["job"]["replacement"] == job["job_name"]
    # An error budget belongs to an instance, and must not end with its pod.
    assert replaced["instance"]["sourceLabels"] == ["__meta_kubernetes_pod_node_name"]


def test_rules_are_those_of_the_monitoring_folder() -> None:
    rule = render({"prometheusRule": {"enabled": True}})["PrometheusRule/voice-appliance"]
    shipped = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((OPS / "monitoring" / name).read_text())["groups"]
    ]
    assert rule["spec"]["groups"] == shipped


def test_replicas_are_left_to_the_scaler() -> None:
    objects = render(SCALED)
    assert "replicas" not in objects["Deployment/voice-appliance"]["spec"]
    scaled = objects["ScaledObject/voice-appliance"]["spec"]
    assert scaled["scaleTargetRef"] == {"name": "voice-appliance"}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 5)
    assert scaled["fallback"]["replicas"] == 5


# Calls of each pod, whether it drains, and the replicas that keep two of four places free.
LOADS: list[tuple[list[tuple[int, int]], int]] = [
    ([], 1),
    ([(0, 0)], 1),
    ([(2, 0)], 1),
    ([(3, 0)], 2),
    ([(4, 0), (3, 0)], 3),
    ([(4, 0), (3, 1)], 2),  # the second leaves, with its calls
]


def test_scaler_keeps_places_free(tmp_path: Path) -> None:
    (trigger,) = render(SCALED)["ScaledObject/voice-appliance"]["spec"]["triggers"]
    assert trigger["metricType"] == "AverageValue"
    query, places = trigger["metadata"]["query"], int(trigger["metadata"]["threshold"])
    assert places == 4
    tests = []
    for pods, replicas in LOADS:
        wanted = sum(calls for calls, drains in pods if not drains) + 2
        assert math.ceil(wanted / places) == replicas
        series = [
            {"series": f"voice_{what}{{{where}}}", "values": str(value)}
            for number, (calls, drains) in enumerate(pods)
            for what, value in (("sessions_active", calls), ("draining", drains))
            for where in (
                f'job="voice-appliance",namespace="{NAMESPACE}",pod="voice-appliance-5c9d7-abcd{number}"',
            )
        ]
        # Other releases in the namespace do not count.
        for pod in (
            "night-5c9d-abcde",
            "voice-appliance-b-5c9d-abcde",
            "my-voice-appliance-5c-abcde",
        ):
            other = f'job="voice-appliance",namespace="{NAMESPACE}",pod="{pod}"'
            series.append({"series": f"voice_sessions_active{{{other}}}", "values": "7"})
        sample = {
            "expr": query,
            "eval_time": "0s",
            "exp_samples": [{"labels": "{}", "value": wanted}],
        }
        tests.append({"input_series": series, "promql_expr_test": [sample]})
    path = tmp_path / "scaler.yml"
    path.write_text(yaml.safe_dump({"tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", path)


@pytest.mark.parametrize("length", [1, 45, 46, 47, 50, 53])
def test_scaler_counts_the_pods_of_a_release_with_a_long_name(length: int) -> None:
    """Kubernetes makes names of 63 characters at most: it cuts NAME-HASH- to 58, and adds 5."""
    objects = render(SCALED, name="n" * length)
    (key,) = (key for key in objects if key.startswith("Deployment/"))
    name = key.partition("/")[2]
    (trigger,) = objects[f"ScaledObject/{name}"]["spec"]["triggers"]
    patterns = set(re.findall(r'pod=~"([^"]*)"', trigger["metadata"]["query"]))
    (pattern,) = patterns
    for replicas in ("5c9d", "7d4b9c6f58"):
        assert re.fullmatch(pattern, f"{name}-{replicas}-"[:58] + "x7k2p")
    assert not re.fullmatch(pattern, f"{name}-b-5c9d-x7k2p")


def test_ingress_prefers_and_retries_replicas_with_room() -> None:
    ingress = render(INGRESS)["Ingress/voice-appliance"]
    notes = ingress["metadata"]["annotations"]
    assert notes["haproxy.org/load-balance"] == "leastconn"
    assert notes["haproxy.org/server-ssl"] == "true"
    assert notes["haproxy.org/timeout-tunnel"] == "3660s"  # a call of 3600 s is not cut
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "voice-appliance", "port": {"number": 8765}}


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="NO haproxy: THE SNIPPET IS NOT TESTED")
def test_haproxy_accepts_the_snippet_of_the_ingress(tmp_path: Path) -> None:
    notes = render(INGRESS)["Ingress/voice-appliance"]["metadata"]["annotations"]
    lines = notes["haproxy.org/backend-config-snippet"].splitlines()
    written = tmp_path / "haproxy.cfg"
    written.write_text(
        "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
        "frontend calls\n  bind 127.0.0.1:1\n  default_backend voice\n"
        "backend voice\n  balance leastconn\n"
        + "".join(f"  {line}\n" for line in lines)
        + "  server one 127.0.0.1:8765 check inter 1s\n"
    )
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(written)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_gateway_retries_refusals_and_verifies_the_appliance() -> None:
    values: dict[str, Any] = PROXIES | {
        "gateway": {
            "enabled": True,
            "parent": {"name": "site", "namespace": "gateways"},
            "hostnames": ["voice.example"],
            "backendName": "voice-appliance.voice-appliance",
            "backendCA": "voice-ca",
        }
    }
    objects = render(values)
    route = objects["HTTPRoute/voice-appliance"]["spec"]
    assert route["parentRefs"] == [values["gateway"]["parent"]]
    (rule,) = route["rules"]
    assert rule["retry"]["codes"] == [503]
    assert rule["timeouts"]["request"] == "0s"
    policy = objects["BackendTLSPolicy/voice-appliance"]["spec"]["validation"]
    assert policy["hostname"] == "voice-appliance.voice-appliance"
    assert policy["caCertificateRefs"][0]["name"] == "voice-ca"
    plain = render(BEHIND_PROXY | {"gateway": {"enabled": True, "parent": {"name": "site"}}})
    assert "HTTPRoute/voice-appliance" in plain
    assert "BackendTLSPolicy/voice-appliance" not in plain
