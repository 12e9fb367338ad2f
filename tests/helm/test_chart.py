"""The chart makes the objects of the plain manifest, follows its values, and refuses wrong ones."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import settings
from tests.helm.chart import CHART, environment, helm, pod, render, without_hooks
from tests.units import reading
from tests.units.reading import OPS, PROFILES

PROXIES = {"trustedProxies": ["10.1.0.0/16"]}
BEHIND_PROXY: dict[str, Any] = {
    **PROXIES,
    "tls": {"terminatedByProxy": True},
    "networkPolicy": {"callers": [{"podSelector": {"matchLabels": {"app": "proxy"}}}]},
    "service": {"type": "ClusterIP"},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gpu": {"profile": "gpu", "gpu": {"createRuntimeClass": True}, "replicas": 3},
    "proxy": BEHIND_PROXY,
    "site": {
        "lexicon": "# written\tsaid\nKefzol\tkef zole\n",
        "image": {"digest": f"sha256:{'a' * 64}", "pullSecrets": ["registry"]},
        "settings": {"VOICE_LLM_LANGUAGE": "en", "VOICE_GATEWAY_MAX_FRAME_BYTES": 1048576},
        "nodeSelector": {"voice": "yes"},
        "tolerations": [{"key": "voice", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "calls",
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "voice"},
        "restartOnChange": {"tls": True, "token": True},
        "places": 6,
        "resources": {"limits": {"memory": "6Gi"}},
    },
}


def validate(objects: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Compare objects with the schemas of Kubernetes, which are in the package."""
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects.values()), encoding="utf-8")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", OPTIONS)
def test_helm_finds_nothing_to_complain_about(name: str) -> None:
    report = helm.lint(CHART, OPTIONS[name], strict=True, kube_version="v1.34.0")
    assert report["errors"] == []
    assert {entry["error"] for entry in report["messages"]} <= {"icon is recommended"}


def plain(profile: str) -> dict[str, Any]:
    """The plain manifest without what the chart leaves to the site."""
    objects = reading.documents(OPS / "units" / profile / "kubernetes.yaml")
    del objects["Namespace/voice-appliance"]
    return objects


def comparable(objects: dict[str, Any]) -> dict[str, Any]:
    """Objects without the labels and annotations that only the chart adds, and without order."""
    objects = copy.deepcopy(objects)
    for entry in objects.values():
        labels = entry["metadata"].pop("labels", {})
        assert labels.get("app", "voice-appliance") == "voice-appliance"
        template = entry["spec"].get("template", {})
        template.get("metadata", {}).pop("annotations", None)
        for container in template.get("spec", {}).get("containers", []):
            container["env"] = {pair["name"]: pair["value"] for pair in container["env"]}
            container["volumeMounts"] = {m["mountPath"]: m for m in container["volumeMounts"]}
            template["spec"]["volumes"] = {v["name"]: v for v in template["spec"]["volumes"]}
    return objects


@pytest.mark.parametrize("profile", PROFILES)
def test_default_rendering_is_the_plain_manifest(profile: str) -> None:
    rendered = without_hooks(render({"profile": profile}))
    assert comparable(rendered) == comparable(plain(profile))


@pytest.mark.parametrize("name", OPTIONS)
def test_objects_match_the_schemas_of_kubernetes(name: str, tmp_path: Path) -> None:
    objects = render(OPTIONS[name])
    checked = validate(objects, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count(" passed ") == len(objects)


def test_validator_rejects_an_unknown_key(tmp_path: Path) -> None:
    objects = render()
    pod(objects)["containers"][0]["lifecycles"] = {}
    assert "'lifecycles' was unexpected" in validate(objects, tmp_path).stdout


@pytest.mark.parametrize("profile", PROFILES)
def test_facts_are_those_of_the_settings(profile: str) -> None:
    gateway = settings.load({"VOICE_PROFILE": profile}).gateway
    values = reading.renderer().values(profile)
    assert values["drain_seconds"] == gateway.session_seconds
    assert values["places"] == gateway.max_sessions


def test_one_value_sets_how_long_a_call_and_a_drain_may_take() -> None:
    objects = render({"callSeconds": 7200})
    deployment = objects["Deployment/voice-appliance"]["spec"]
    assert environment(objects)["VOICE_GATEWAY_SESSION_SECONDS"] == "7200"
    (container,) = pod(objects)["containers"]
    assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == "7200"
    stop = reading.from_flag_files("cpu").stop
    start = container["startupProbe"]
    grace = pod(objects)["terminationGracePeriodSeconds"]
    assert grace == 7200 + stop
    start_seconds = start["periodSeconds"] * start["failureThreshold"]
    assert deployment["progressDeadlineSeconds"] == grace + start_seconds


def test_settings_become_the_text_that_the_appliance_reads() -> None:
    written = {
        "VOICE_GATEWAY_MAX_FRAME_BYTES": 1_048_576,
        "VOICE_GATEWAY_LEAD_SECONDS": 0.25,
        "VOICE_GATEWAY_PAGE": False,
        "VOICE_LLM_SYSTEM_PROMPT": 'Say "yes": #1 {{ .Values }}',
    }
    found = environment(render({"settings": written, "places": 6} | PROXIES))
    loaded = settings.load({n: v for n, v in found.items() if n.startswith("VOICE_")})
    assert loaded.gateway.max_frame_bytes == 1_048_576
    assert loaded.gateway.lead_seconds == 0.25
    assert loaded.gateway.page is False
    assert loaded.llm.system_prompt == written["VOICE_LLM_SYSTEM_PROMPT"]
    assert loaded.gateway.max_sessions == 6
    assert [str(network) for network in loaded.gateway.trusted_proxies] == ["10.1.0.0/16"]
    assert loaded.gateway.token_store == "/run/secrets/voice-appliance/tokens"


def test_pods_are_replaced_if_and_only_if_something_changed_for_them() -> None:
    def template(values: dict[str, Any]) -> Any:
        return render(values)["Deployment/voice-appliance"]["spec"]["template"]

    assert template({}) == template({}) == template({"replicas": 4})
    for change in (
        {"settings": {"VOICE_JOURNAL_FORMAT": "text"}},
        {"lexicon": "Kefzol\tkef zole\n"},
        {"image": {"tag": "0.2.0-cpu"}},
        {"callSeconds": 600},
    ):
        assert template(change) != template({}), change
    assert template({"lexicon": "a\tb\n"}) != template({"lexicon": "a\tc\n"})


CHANGED = {
    "image": {"tag": "0.2.0-cpu"},
    "replicas": 4,
    "callSeconds": 600,
    "settings": {"VOICE_JOURNAL_FORMAT": "text"},
    "lexicon": "Kefzol\tkef zole\n",
}


def test_upgrade_changes_nothing_that_kubernetes_refuses_to_change() -> None:
    """Selectors, kinds and names; a job cannot be changed at all, so it is made anew."""
    before, after = render(), render(CHANGED)
    assert before.keys() <= after.keys()
    fixed = [(kind, "selector") for kind in ("Deployment", "PodDisruptionBudget")]
    fixed += [("Service", name) for name in ("selector", "clusterIP", "type")]
    for key in before:
        for kind, name in fixed:
            if key.startswith(f"{kind}/"):
                assert before[key]["spec"].get(name) == after[key]["spec"].get(name), key
        if key.startswith("Job/"):
            policy = after[key]["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
            assert "before-hook-creation" in policy.split(",")


def test_rollback_finds_the_objects_of_before() -> None:
    """Helm applies what it has stored of the release before, so it has to be complete."""
    before = render()
    render(CHANGED)
    assert render() == before
    stored = without_hooks(before)
    assert pod(stored) == pod(before)
    assert not any(key.startswith("ConfigMap/") for key in stored)  # none could be missing then


def test_proxy_that_terminates_tls_leaves_no_certificate_and_is_the_only_caller() -> None:
    objects = render(BEHIND_PROXY)
    (container,) = pod(objects)["containers"]
    assert all("scheme" not in container[f"{p}Probe"]["httpGet"] for p in ("startup", "liveness"))
    assert "tls" not in [volume["name"] for volume in pod(objects)["volumes"]]
    assert environment(objects)["VOICE_GATEWAY_PLAIN_NETWORK"] == "true"
    calls, _ = objects["NetworkPolicy/voice-appliance"]["spec"]["ingress"]
    assert calls["from"] == BEHIND_PROXY["networkPolicy"]["callers"]


def test_lexicon_is_mounted_where_the_appliance_reads_it() -> None:
    objects = render(OPTIONS["site"])
    text = objects["ConfigMap/voice-appliance-lexicon"]["data"]["lexicon.tsv"]
    assert text == OPTIONS["site"]["lexicon"]
    (container,) = pod(objects)["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts["/etc/voice-appliance"] == "lexicon"


def test_check_of_the_settings_runs_before_a_change_with_the_same_image_and_settings() -> None:
    objects = render(OPTIONS["gpu"])
    job = objects["Job/voice-appliance-check"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    (check,), (container,) = spec["containers"], pod(objects)["containers"]
    assert check["command"] == ["python", "-m", "appliance", "settings", "--check"]
    assert (check["image"], check["env"]) == (container["image"], container["env"])
    assert "nvidia.com/gpu" not in check["resources"]["limits"]  # it would wait for a free GPU
    assert spec["tolerations"] == pod(objects)["tolerations"]
    selector = objects["Service/voice-appliance"]["spec"]["selector"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()
    assert "Job/voice-appliance-check" not in render({"checkSettings": False})


def test_two_releases_share_a_namespace() -> None:
    one, two = render(name="day"), render({"profile": "gpu"}, name="night")
    assert one.keys().isdisjoint(two.keys())
    selectors = [objects[f"Deployment/{name}"]["spec"]["selector"] for objects, name in
                 ((one, "day"), (two, "night"))]  # fmt: skip
    assert selectors[0] != selectors[1]
    volumes = {v["name"]: v for v in pod(two)["volumes"]}
    assert volumes["token"]["secret"]["secretName"] == "night-token"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "profile": ({"profile": "tpu"}, "/profile': value must be one of 'cpu', 'gpu'"),
    "unknown": ({"replicaCount": 2}, "'replicaCount' not allowed"),
    "short call": ({"callSeconds": 5}, "/callSeconds': minimum: got 5, want 60"),
    "setting's name": ({"settings": {"voice_x": 1}}, "settings.voice_x: the name of a setting is"),
    "moving tag": ({"image": {"tag": "current"}}, "use the tag of a release, such as 0.1.0-cpu"),
    "other profile": ({"profile": "gpu", "image": {"tag": "0.1.0-cpu"}}, "is not of profile gpu"),
    "tag and digest": (
        {"image": {"tag": "0.1.0-cpu", "digest": f"sha256:{'0' * 64}"}},
        "set tag or digest, not both",
    ),
    "length of calls": (
        {"settings": {"VOICE_GATEWAY_SESSION_SECONDS": 60}},
        "set the value callSeconds, which also sets how long a drain may take",
    ),
    "setting's type": (
        {"settings": {"VOICE_LLM_TOOLS": ["a"]}},
        "/settings/VOICE_LLM_TOOLS': got array, want",
    ),
    "port": ({"settings": {"VOICE_GATEWAY_PORT": 1}}, "remove it"),
    "proxy without addresses": (
        BEHIND_PROXY | {"trustedProxies": []},
        "all callers count as one address",
    ),
    "proxy among strangers": (
        BEHIND_PROXY | {"networkPolicy": {"callers": []}},
        "let only its pods call",
    ),
    "label of the selector": (
        {"podLabels": {"team": "voice", "app": "other"}},
        "podLabels.app: remove it; the chart finds its pods by this label",
    ),
    "annotation of the chart": (
        {"podAnnotations": {"checksum/lexicon": "0"}},
        "podAnnotations.checksum/lexicon: choose a name without checksum/",
    ),
    "scaling blind": (
        {"autoscaling": {"enabled": True, "prometheus": "http://p:9090"}},
        "podMonitor.enabled",
    ),
    "ingress without name": ({"ingress": {"enabled": True}} | PROXIES, "ingress.host"),
    "gateway without CA": (
        {"gateway": {"enabled": True, "parent": {"name": "g"}}} | PROXIES,
        "backendCA",
    ),
    "gateway as one caller": (
        {"gateway": {"enabled": True, "parent": {"name": "g"}}}
        | {"tls": {"terminatedByProxy": True}},
        "trustedProxies",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_with_what_to_do(name: str) -> None:
    values, message = WRONG[name]
    with pytest.raises(helm.HelmError) as refused:
        render(values)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "right"),
    [
        ("10.0.0.7", True),
        ("10.0.0.0/8", True),
        ("0.0.0.0/0", True),
        ("192.0.2.255/32", True),
        ("fd00::7", True),
        ("fd00::/8", True),
        ("::", True),
        ("::1/128", True),
        ("1:2:3:4:5:6:7:8", True),
        ("1::8", True),
        ("1:2:3:4:5:6::/96", True),
        ("1:2:3:4:5:6:7::", True),
        ("2001:DB8::a:b", True),
        ("999.1.1.1/200", False),
        ("10.0.0.256", False),
        ("10.0.0", False),
        ("10.0.0.0/33", False),
        ("10.00.0.1", False),
        ("fd00::/129", False),
        ("1:2:3:4:5:6:7:8:9", False),
        ("1:2:3:4:5:6:7", False),
        ("1::2::3", False),
        ("12345::", False),
        (":::", False),
        ("fe80::1%eth0", False),
        ("proxy", False),
        ("", False),
        ("10.0.0.0/8,10.1.0.0/16", False),
    ],
)
def test_proxies_are_addresses_or_networks(entry: str, right: bool) -> None:
    """As the appliance reads them, so that a wrong one is refused before anything is installed."""
    if right:
        name = "VOICE_GATEWAY_TRUSTED_PROXIES"
        rendered = environment(render({"trustedProxies": [entry]}))[name]
        assert settings.load({name: rendered}).gateway.trusted_proxies == (entry,)
    else:
        with pytest.raises(helm.HelmError, match="/trustedProxies/0"):
            render({"trustedProxies": [entry]})


def test_schema_knows_every_value_and_no_other() -> None:
    with helm.Chart.load(CHART) as chart:
        schema, values = chart.schema, chart.values
    assert schema is not None

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        assert schema["properties"].keys() - {"global"} == values.keys(), path
        for name, value in values.items():
            if "properties" in schema["properties"][name] and value:
                compare(schema["properties"][name], value, f"{path}.{name}")

    compare(schema, values, "")
