"""Helm installs, upgrades and rolls back the chart on a real API server with its controllers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import NAME, NAMESPACE, helm
from tests.helm.cluster import Cluster, cluster, suitable_chart, wait_for
from tests.helm.test_options import SCALED

WAIT_SECONDS = 120
IMAGE_ONE, IMAGE_TWO = "0.1.0-cpu", "0.2.0-cpu"


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


class Site:
    """One namespace with the chart, and its kubelets in a thread."""

    def __init__(self, kubernetes: Cluster, namespace: str, chart: Path) -> None:
        self.kubernetes = kubernetes
        self.namespace = namespace
        self.chart = chart
        self.config = helm.Config(kubeconfig_content=kubernetes.kubeconfig, namespace=namespace)
        self._over = threading.Event()
        self._kubelets = threading.Thread(target=self._act)

    def __enter__(self) -> Site:
        self.kubernetes.jobs_succeed, self.kubernetes.gpus = True, 1000
        self.kubernetes.calls.clear()
        self.kubernetes.add_namespace(self.namespace)
        self._kubelets.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._kubelets.join()
        self.config.close()

    def _act(self) -> None:
        while not self._over.wait(0.1):
            self.kubernetes.act_as_kubelet(self.namespace)

    def put(self, values: dict[str, Any], action: str = "upgrade") -> None:
        """Install or upgrade, and wait until the hooks are done."""
        options: dict[str, Any] = {"namespace": self.namespace, "timeout": WAIT_SECONDS}
        getattr(self.config, action)(str(self.chart), NAME, values, wait="hookOnly", **options)

    @property
    def pods(self) -> list[dict[str, Any]]:
        return self.kubernetes.pods(self.namespace)

    @property
    def leaving(self) -> list[str]:
        """Pods that drain."""
        pods = self.pods
        return [p["metadata"]["name"] for p in pods if p["metadata"].get("deletionTimestamp")]

    @property
    def serving(self) -> list[str]:
        """Tags of the pods that are ready."""
        return [
            pod["spec"]["containers"][0]["image"].partition(":")[2]
            for pod in self.pods
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def gone(self, name: str) -> None:
        """Wait until there is no such pod."""
        wait_for(lambda: name not in [pod["metadata"]["name"] for pod in self.pods])

    def settled(self, *images: str) -> None:
        """Wait until exactly these run, and nothing else."""
        wait_for(lambda: sorted(self.serving) == sorted(images) and len(self.pods) == len(images))


@pytest.fixture
def site(kubernetes: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    namespace = f"{NAMESPACE}-{abs(hash(request.node.name)) % 10**8}"
    with Site(kubernetes, namespace, suitable_chart(kubernetes, tmp_path)) as made:
        yield made


def values(image: str, **more: Any) -> dict[str, Any]:
    return {"image": {"tag": image}, "replicas": 2} | more


def test_rollback_returns_to_image_and_settings_of_before(site: Site) -> None:
    site.put(values(IMAGE_ONE, settings={"VOICE_JOURNAL_FORMAT": "text"}), "install")
    site.settled(IMAGE_ONE, IMAGE_ONE)
    site.put(values(IMAGE_TWO))
    site.settled(IMAGE_TWO, IMAGE_TWO)
    site.config.rollback(NAME, version=1)
    site.settled(IMAGE_ONE, IMAGE_ONE)
    (container,) = site.pods[0]["spec"]["containers"]
    assert {"name": "VOICE_JOURNAL_FORMAT", "value": "text"} in container["env"]
    history = [entry["status"] for entry in site.config.history(NAME)]
    assert history.count("deployed") == 1


def test_upgrade_waits_for_the_calls_of_one_replica_after_the_other(site: Site) -> None:
    site.kubernetes.gpus = 3
    site.put(values(IMAGE_ONE, replicas=3), "install")
    site.settled(IMAGE_ONE, IMAGE_ONE, IMAGE_ONE)
    site.kubernetes.calls.update(pod["metadata"]["name"] for pod in site.pods)
    site.put(values(IMAGE_TWO, replicas=3))
    for replaced in range(3):
        (leaving,) = wait_for(lambda: site.leaving)
        # The new pod has no GPU before the calls have ended; the others serve.
        assert sorted(site.serving) == [IMAGE_ONE] * (2 - replaced) + [IMAGE_TWO] * replaced
        site.kubernetes.calls.remove(leaving)
        site.gone(leaving)
    site.settled(IMAGE_TWO, IMAGE_TWO, IMAGE_TWO)


def test_settings_that_the_release_refuses_change_nothing(site: Site) -> None:
    site.put(values(IMAGE_ONE), "install")
    site.settled(IMAGE_ONE, IMAGE_ONE)
    before = [pod["metadata"]["uid"] for pod in site.pods]
    site.kubernetes.jobs_succeed = False
    with pytest.raises(helm.HelmError):
        site.put(values(IMAGE_TWO, settings={"VOICE_NONSENSE": 1}))
    assert [pod["metadata"]["uid"] for pod in site.pods] == before
    assert site.serving == [IMAGE_ONE, IMAGE_ONE]
    # Its log says why.
    path = f"/apis/batch/v1/namespaces/{site.namespace}/jobs/{NAME}-check"
    conditions = [entry["type"] for entry in site.kubernetes.ask(path)["status"]["conditions"]]
    assert "Failed" in conditions


def test_changed_secret_replaces_the_pods_only_if_told_to(site: Site) -> None:
    def upgrade(**more: Any) -> str:
        site.put(values(IMAGE_ONE, **more), "upgrade")
        template = site.kubernetes.deployment(site.namespace, NAME)["spec"]["template"]
        return json.dumps(template, sort_keys=True)

    site.kubernetes.put_secret(site.namespace, f"{NAME}-tls", {"chain.pem": "one"})
    site.put(values(IMAGE_ONE), "install")
    quiet = upgrade()
    told = upgrade(restartOnChange={"tls": True})
    site.kubernetes.put_secret(site.namespace, f"{NAME}-tls", {"chain.pem": "two"})
    assert upgrade() == quiet
    assert upgrade(restartOnChange={"tls": True}) != told


def test_scaler_keeps_its_replicas_when_the_release_is_upgraded(site: Site) -> None:
    if site.kubernetes.minor >= 27:  # otherwise the chart comes without these objects
        site.kubernetes.add_kind("keda.sh", "ScaledObject", "v1alpha1")
        site.kubernetes.add_kind("monitoring.coreos.com", "PodMonitor")
    scaled = SCALED | {"image": {"tag": IMAGE_ONE}}
    site.put({"image": {"tag": IMAGE_ONE}, "replicas": 2}, "install")
    site.settled(IMAGE_ONE, IMAGE_ONE)
    site.put(scaled)
    site.settled(IMAGE_ONE, IMAGE_ONE)
    site.kubernetes.scale(site.namespace, NAME, 4)
    site.settled(*[IMAGE_ONE] * 4)
    site.put(scaled | {"image": {"tag": IMAGE_TWO}})
    site.settled(*[IMAGE_TWO] * 4)


def test_moving_tag_is_refused_before_anything_is_installed(site: Site) -> None:
    with pytest.raises(helm.HelmError, match="use the tag of a release"):
        site.put(values("current"), "install")
    assert site.pods == []
