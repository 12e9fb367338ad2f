"""A cluster without nodes: etcd, a real API server and controllers; a stand-in for kubelets.

.ci/kubernetes builds the programs. The stand-in binds pods to nodes, reports them as ready, lets
jobs succeed or fail, and ends a pod only when the test says that its calls have ended.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.helm.chart import CHART

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("KUBERNETES_PROGRAMS", ROOT / ".cache/kubernetes"))
TOKEN = "operator"
START_SECONDS = 120.0
CONTROLLERS = "deployment,replicaset,job,namespace,disruption,endpoint"
# What Debian's 1.20 does not have: policy/v1 is of 1.21, the two fields of 1.27.
TOO_NEW = ("matchLabelKeys:", "unhealthyPodEvictionPolicy:", "kubeVersion:")


def programs() -> dict[str, str]:
    """Paths of the programs; skips the test if one is missing."""
    found = {
        name: shutil.which(name, path=f"{PROGRAMS}:{os.environ['PATH']}")
        for name in ("etcd", "kube-apiserver", "kube-controller-manager")
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"NO CLUSTER, SO HELM INSTALLS NOTHING: {', '.join(missing)} (.ci/kubernetes)")
    return {name: str(path) for name, path in found.items()}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


Result = TypeVar("Result")


def wait_for(what: Callable[[], Result], seconds: float = START_SECONDS) -> Result:
    """Call until the result is true. Raises AssertionError after this time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if result := what():
            return result
        time.sleep(0.1)
    raise AssertionError("it did not happen")


@dataclass
class Cluster:
    """The API, and what a kubelet would do."""

    url: str
    jobs_succeed: bool = True
    gpus: int = 1000  # pods of the appliance that have room at the same time
    calls: set[str] = field(default_factory=set)  # pods with calls in progress

    @property
    def kubeconfig(self) -> str:
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {"server": self.url, "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "test", "user": {"token": TOKEN}}],
            }
        )

    def ask(self, path: str, body: Any = None, method: str = "", kind: str = "json") -> Any:
        """Send a request to the API and return the answer. Raises HTTPError if it is refused."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method or ("GET" if body is None else "POST"),
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "Content-Type": f"application/{kind}",
            },
        )
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.load(answer)

    @property
    def minor(self) -> int:
        """The server's version, 20 for 1.20."""
        return int(self.ask("/version")["minor"].rstrip("+"))

    def healthy(self) -> bool:
        try:
            return bool(self.ask("/api/v1/namespaces/default"))
        except (OSError, ValueError):
            return False

    def add_namespace(self, name: str) -> None:
        self.ask("/api/v1/namespaces", {"metadata": {"name": name}})

    def put_secret(self, namespace: str, name: str, content: dict[str, str]) -> None:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in content.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        path = f"/api/v1/namespaces/{namespace}/secrets"
        try:
            self.ask(f"{path}/{name}", body, "PUT")
        except urllib.error.HTTPError:
            self.ask(path, body)

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """The pods of the appliance."""
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=app"
        return list(self.ask(path)["items"])

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        return dict(self.ask(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"))

    def add_kind(self, group: str, kind: str, version: str = "v1") -> None:
        """Define a kind of objects that an operator of the site would bring; any content."""
        plural = kind.lower() + "s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        spec = {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        }
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        name = f"{plural}.{group}"
        body = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.ask(path, body)

        def established() -> bool:
            found = self.ask(f"{path}/{name}").get("status", {}).get("conditions", [])
            return any(one["type"] == "Established" and one["status"] == "True" for one in found)

        wait_for(established)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Do what a scaler does."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
        self.ask(path, {"spec": {"replicas": replicas}}, "PATCH", "merge-patch+json")

    def act_as_kubelet(self, namespace: str) -> None:
        """One step for each pod: run it, report it as ready, or end it if it has no calls."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        pods = self.ask(path)["items"]
        free = self.gpus - sum(
            "nodeName" in p["spec"] and "app" in p["metadata"]["labels"] for p in pods
        )
        for pod in pods:
            if "nodeName" not in pod["spec"] and "app" in pod["metadata"]["labels"]:
                free -= 1
                if free < 0:
                    continue  # it waits for a GPU
            # Between the list and the step, a controller may have removed it.
            with contextlib.suppress(urllib.error.HTTPError):
                self._step(path, pod)

    def _step(self, path: str, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if pod["metadata"].get("deletionTimestamp"):
            if name not in self.calls:
                self.ask(f"{path}/{name}", {"gracePeriodSeconds": 0}, "DELETE")
        elif "nodeName" not in pod["spec"]:
            target = {"apiVersion": "v1", "kind": "Node", "name": "node"}
            self.ask(f"{path}/{name}/binding", {"metadata": {"name": name}, "target": target})
        elif pod["status"].get("phase") == "Pending":
            state: dict[str, Any] = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            if pod["spec"]["restartPolicy"] == "Never":  # of a job
                state = {"phase": "Succeeded" if self.jobs_succeed else "Failed"}
            self.ask(f"{path}/{name}/status", {"status": state}, "PATCH", "merge-patch+json")


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster; end its processes afterwards."""
    paths = programs()
    clients, peers, api = free_ports(3)
    (folder / "tokens.csv").write_text(f"{TOKEN},operator,1,system:masters\n")
    key = folder / "accounts.key"
    make_key = ["openssl", "genrsa", "-out", str(key), "2048"]
    subprocess.run(make_key, check=True, capture_output=True)
    made = Cluster(f"https://127.0.0.1:{api}")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(made.kubeconfig)
    commands = {
        "etcd": [
            f"--data-dir={folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{clients}",
            f"--advertise-client-urls=http://127.0.0.1:{clients}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=default=http://127.0.0.1:{peers}",
        ],
        "kube-apiserver": [
            f"--etcd-servers=http://127.0.0.1:{clients}",
            "--bind-address=127.0.0.1",
            f"--secure-port={api}",
            f"--cert-dir={folder}/certificates",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=AlwaysAllow",
            "--service-account-issuer=https://test",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            "--service-cluster-ip-range=10.0.0.0/24",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={kubeconfig}",
            f"--controllers={CONTROLLERS}",
            "--leader-elect=false",
            "--secure-port=0",
        ],
    }
    with contextlib.ExitStack() as running:
        for name, options in commands.items():
            log = running.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen([paths[name], *options], stdout=log, stderr=log)
            running.callback(process.wait, 60)
            running.callback(process.terminate)
            if name == "kube-apiserver":
                wait_for(made.healthy)
                if made.minor < 24:  # it would listen on a fixed port, too
                    commands["kube-controller-manager"].append("--port=0")
        yield made


def suitable_chart(made: Cluster, folder: Path) -> Path:
    """The chart, without what an old server does not know."""
    if made.minor >= 27:
        return CHART
    copy = Path(shutil.copytree(CHART, folder / CHART.name))
    # 1.20 dies of server-side apply to kinds that were added to it.
    for name in ("monitoring.yaml", "scaledobject.yaml"):
        (copy / "templates" / name).unlink()
    for path in (copy / "Chart.yaml", *(copy / "templates").iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not any(word in line for word in TOO_NEW)]
        path.write_text("".join(kept).replace("policy/v1\n", "policy/v1beta1\n"), "utf-8")
    return copy
