"""Manifests are valid, locked down, and the examples are what the commands write."""

from __future__ import annotations

import base64
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from metronome.orchestrator.scenario.loading import bundled, digest, load

from ..conftest import ROOT, missing

EXAMPLE = "prefill-decode"
LIMITS = ("--set", "components.nvlink.container={cpus: 1, memory_mib: 512}")
EXAMPLES = {  # what is checked in -> how it is written
    "compose": ("deploy", "compose", EXAMPLE, *LIMITS),
    "kubernetes": ("deploy", "k8s", EXAMPLE, "--no-secrets", *LIMITS),
}


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_what_the_command_writes(name, cli, tmp_path):
    assert cli(*EXAMPLES[name], "-o", tmp_path / name).exit_code == 0
    kept = ROOT / "deploy" / "examples" / name
    assert {p.name for p in kept.iterdir()} == {p.name for p in (tmp_path / name).iterdir() if p.is_file()}
    for path in kept.iterdir():
        assert (tmp_path / name / path.name).read_text() == path.read_text()


@pytest.mark.parametrize("scenario", bundled())
@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_kubernetes_manifests_are_valid(scenario, version, cli, tmp_path):
    assert cli("deploy", "k8s", scenario, "-o", tmp_path).exit_code == 0
    found = [*documents(tmp_path / "manifests.yaml"), *documents(tmp_path / "secrets.yaml")]
    for document in found:
        kubernetes_validate.validate(document, version, strict=True)
    names = [(d["kind"], d["metadata"]["name"]) for d in found]
    assert len(names) == len(set(names))


def test_kubernetes_pods_are_locked_down_and_probed(cli, tmp_path):
    assert cli(*EXAMPLES["kubernetes"][:3], *LIMITS, "-o", tmp_path).exit_code == 0
    found = documents(tmp_path / "manifests.yaml")
    pods = [d["spec"]["template"]["spec"] for d in found if d["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for pod in pods:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    for deployment in (d for d in found if d["kind"] == "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["grpc"]["port"] == 50052
        assert "--tls-ca" in container["args"]
    (job,) = (d for d in found if d["kind"] == "Job")
    assert job["spec"]["backoffLimit"] == 0 and job["spec"]["ttlSecondsAfterFinished"] > 0
    policies = [d["spec"] for d in found if d["kind"] == "NetworkPolicy"]
    assert policies[0]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 50051}] and "ingress" not in policies[1]
    assert (tmp_path / "secrets.yaml").stat().st_mode & 0o077 == 0
    for secret in documents(tmp_path / "secrets.yaml"):
        keys = [name for name in secret["data"] if name.endswith(".key")]
        assert len(keys) == 1 and b"PRIVATE KEY" in base64.b64decode(secret["data"][keys[0]])


@pytest.mark.parametrize("scenario", ["quickstart", "prefill-decode", "heterogeneous", "mixed-fleet"])
def test_the_deployed_scenario_is_the_same_scenario(scenario, cli, tmp_path):
    assert cli("deploy", "compose", scenario, "-o", tmp_path).exit_code == 0
    assert digest(load(str(tmp_path / "scenario.yaml"))[0]) == digest(load(scenario)[0])


@pytest.mark.parametrize("scenario", bundled())
def test_compose_accepts_the_file(scenario, cli, tmp_path):
    compose = shutil.which("docker-compose")
    if compose is None:
        missing("docker-compose")
    assert cli("deploy", "compose", scenario, "-o", tmp_path).exit_code == 0
    done = subprocess.run(
        [compose, "-f", tmp_path / "docker-compose.yaml", "config", "-q"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_files_go_along(cli, tmp_path, small):
    (tmp_path / "w.jsonl").write_text('{"input_toks": 50, "output_toks": 5, "arrival_time_ns": 10}\n')
    small["workload"] = {"format": "llmservingsim", "path": "w.jsonl"}
    small["components"] = {
        "nvlink0": {
            "container": {"mounts": [{"source": "w.jsonl", "target": "/w"}], "gpus": 1, "environment": {"A": "b"}}
        }
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("deploy", "compose", tmp_path / "s.yaml", "-o", tmp_path / "out").exit_code == 0
    assert len(list((tmp_path / "out" / "inputs").rglob("w.jsonl"))) == 1
    compose = yaml.safe_load((tmp_path / "out" / "docker-compose.yaml").read_text())
    service = compose["services"]["nvlink0"]
    assert "../w.jsonl:/w:ro" in service["volumes"] and service["environment"] == {"A": "b"}
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 1
    assert "./inputs:/scenario/inputs:ro" in compose["services"]["orchestrator"]["volumes"]
    refused = cli("deploy", "k8s", tmp_path / "s.yaml", "-o", tmp_path / "k")
    assert refused.exit_code == 2 and "put" in refused.output


def test_files_of_classes_go_along(cli, tmp_path, small):
    (tmp_path / "w.jsonl").write_text('{"input_toks": 50, "output_toks": 5, "arrival_time_ns": 10}\n')
    trace = {"format": "llmservingsim", "path": "w.jsonl"}
    small["workload"] = {"format": "mixture", "classes": [{"name": "a", "workload": trace}]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("deploy", "compose", tmp_path / "s.yaml", "-o", tmp_path / "out").exit_code == 0
    deployed = load(str(tmp_path / "out/scenario.yaml"))[0]
    (one,) = deployed.workload.classes
    assert (tmp_path / "out" / one.workload.path).is_file()
