"""Kubernetes manifests: a Deployment and a Service a component, a Job for the orchestrator, mutual TLS between.

Probes are Kubernetes' own gRPC probes. They speak no TLS, so the health service listens on a port of its
own that tells nothing else; a NetworkPolicy lets only the orchestrator reach a component.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ..coupling.launch.certificates import CLIENT, make_certificates
from ..errors import InputError
from ..scenario.schema import Scenario
from .parts import NONROOT, Deployed, components, scenario_for

PORT, HEALTH_PORT = 50051, 50052
CERTS = "/etc/metronome/certs"
OWN = "app.kubernetes.io/part-of"


def write_kubernetes(scenario: Scenario, folder: Path, output: Path, image: str, secrets: bool = True) -> list[Path]:
    """Writes manifests.yaml and, with ``secrets``, secrets.yaml (throw-away certificates); returns the files.

    Raises InputError for a scenario that needs files: what a cluster mounts, only its owner knows.
    """
    deployed = components(scenario, folder)
    name = _name(scenario)
    for one in deployed:
        if one.files or one.options.mounts:
            raise InputError("scenario", f"components.{one.spec.name}", None, "needs files; put them into its image")
    if getattr(scenario.workload, "path", None):
        raise InputError(
            "scenario", "workload.path", None, "is a file; put it into the orchestrator's image, or use synthetic"
        )
    text = scenario_for(scenario, deployed, lambda one: _address(name, one))
    manifests: list[dict[str, Any]] = [_config_map(name, text), _claim(name), *_policies(name, deployed)]
    for one in deployed:
        manifests += [_deployment(name, one), _service(name, one)]
    manifests.append(_job(name, deployed, image))
    output.mkdir(parents=True, exist_ok=True)
    head = (
        f"# {scenario.name}: written by `metronome deploy k8s`.\n#   kubectl apply -f secrets.yaml -f manifests.yaml\n"
    )
    (output / "manifests.yaml").write_text(head + yaml.safe_dump_all(manifests, sort_keys=False))
    if not secrets:
        return [output / "manifests.yaml"]
    made = yaml.safe_dump_all(_secrets(name, deployed), sort_keys=False)
    (output / "secrets.yaml").touch(mode=0o600)
    (output / "secrets.yaml").write_text("# Throw-away certificates: keep them out of version control.\n" + made)
    return [output / "manifests.yaml", output / "secrets.yaml"]


def _name(scenario: Scenario) -> str:
    return f"metronome-{scenario.name.lower()}"[:50].rstrip("-")


def _host(name: str, one: Deployed) -> str:
    return f"{name}-{one.slug}"


def _address(name: str, one: Deployed) -> dict[str, Any]:
    return {
        "target": f"{_host(name, one)}:{PORT}",
        "ca": f"{CERTS}/ca.pem",
        "certificate": f"{CERTS}/{CLIENT}.pem",
        "key": f"{CERTS}/{CLIENT}.key",
        "server_name": one.spec.name,
    }


def _meta(name: str, owner: str, role: str) -> dict[str, Any]:
    return {"name": name, "labels": {OWN: owner, "app.kubernetes.io/component": role}}


def _config_map(name: str, text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(name, name, "scenario"),
        "data": {"scenario.yaml": text},
    }


def _claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(f"{name}-out", name, "results"),
        "spec": spec,
    }


def _policies(name: str, deployed: Sequence[Deployed]) -> list[dict[str, Any]]:
    """Nobody may reach a component but the orchestrator, on the component's port; nobody the orchestrator."""
    roles = [one.slug for one in deployed]
    pods = {
        "matchLabels": {OWN: name},
        "matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "In", "values": roles}],
    }
    caller = {"podSelector": {"matchLabels": {OWN: name, "app.kubernetes.io/component": "orchestrator"}}}
    spec = {
        "podSelector": pods,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [caller], "ports": [{"protocol": "TCP", "port": PORT}]}],
    }
    closed = {"podSelector": caller["podSelector"], "policyTypes": ["Ingress"]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return [
        {**kind, "metadata": _meta(f"{name}-components", name, "policy"), "spec": spec},
        {**kind, "metadata": _meta(f"{name}-orchestrator", name, "policy"), "spec": closed},
    ]


def _container(name: str, image: str, args: list[str], cpus: float, memory_mib: int) -> dict[str, Any]:
    limits = {"cpu": f"{round(cpus * 1000)}m", "memory": f"{memory_mib}Mi"}
    return {
        "name": name,
        "image": image,
        "args": args,
        "resources": {"requests": dict(limits), "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "certs", "mountPath": CERTS, "readOnly": True},
        ],
    }


def _pod(container: dict[str, Any], secret: str, **more: Any) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NONROOT,
            "runAsGroup": NONROOT,
            "fsGroup": NONROOT,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "certs", "secret": {"secretName": secret, "defaultMode": 0o440}},
        ],
        **more,
    }


def _deployment(name: str, one: Deployed) -> dict[str, Any]:
    options, host = one.options, _host(name, one)
    tls = [
        "--tls-cert",
        f"{CERTS}/tls.pem",
        "--tls-key",
        f"{CERTS}/tls.key",
        "--tls-ca",
        f"{CERTS}/ca.pem",
        "--health",
        f"0.0.0.0:{HEALTH_PORT}",
    ]
    args = [part.replace("$(", "$$(") for part in one.command(f"0.0.0.0:{PORT}", *tls)]  # no variables
    container = _container("component", options.image, args, options.cpus or 1, options.memory_mib or 1024)
    container["ports"] = [{"name": "grpc", "containerPort": PORT}, {"name": "health", "containerPort": HEALTH_PORT}]
    container["env"] = [{"name": key, "value": value} for key, value in options.environment.items()]
    if options.gpus:
        for kind in ("requests", "limits"):
            container["resources"][kind]["nvidia.com/gpu"] = str(options.gpus)
    probe = {"grpc": {"port": HEALTH_PORT}}
    container["startupProbe"] = {**probe, "periodSeconds": 1, "failureThreshold": 60}
    container["readinessProbe"] = {**probe, "periodSeconds": 5}
    container["livenessProbe"] = {**probe, "periodSeconds": 10, "failureThreshold": 6}
    meta = _meta(host, name, one.slug)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": meta["labels"]},
        "strategy": {"type": "Recreate"},
        "template": {"metadata": {"labels": meta["labels"]}, "spec": _pod(container, host)},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _service(name: str, one: Deployed) -> dict[str, Any]:
    meta = _meta(_host(name, one), name, one.slug)
    ports = [{"name": "grpc", "port": PORT, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": meta["labels"], "ports": ports},
    }


def _job(name: str, deployed: Sequence[Deployed], image: str) -> dict[str, Any]:
    container = _container("orchestrator", image, ["run", "/scenario/scenario.yaml", "-o", "/out"], 2, 4096)
    container["volumeMounts"] += [
        {"name": "scenario", "mountPath": "/scenario", "readOnly": True},
        {"name": "out", "mountPath": "/out"},
    ]
    meta = _meta(name, name, "orchestrator")
    pod = _pod(container, f"{name}-{CLIENT}", restartPolicy="Never")
    pod["volumes"] += [
        {"name": "scenario", "configMap": {"name": name}},
        {"name": "out", "persistentVolumeClaim": {"claimName": f"{name}-out"}},
    ]
    spec = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 86_400,
        "template": {"metadata": {"labels": meta["labels"]}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def _secrets(name: str, deployed: Sequence[Deployed]) -> list[dict[str, Any]]:
    """Each component gets its own key and nobody else's."""
    found = []
    with TemporaryDirectory() as folder:
        made = Path(folder)
        make_certificates(made, [one.spec.name for one in deployed], hosts=[_host(name, one) for one in deployed])
        for one in deployed:
            files = {"ca.pem": "ca.pem", "tls.pem": f"{one.spec.name}.pem", "tls.key": f"{one.spec.name}.key"}
            found.append(_secret(_host(name, one), name, {inside: made / here for inside, here in files.items()}))
        own = ("ca.pem", f"{CLIENT}.pem", f"{CLIENT}.key")
        found.append(_secret(f"{name}-{CLIENT}", name, {file: made / file for file in own}))
    return found


def _secret(secret: str, owner: str, files: dict[str, Path]) -> dict[str, Any]:
    data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(secret, owner, "certificates"),
        "type": "Opaque",
        "data": data,
    }
