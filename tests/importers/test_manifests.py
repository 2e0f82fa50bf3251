"""Servers' command lines found in Compose files and Kubernetes manifests."""

from __future__ import annotations

import pytest
import yaml
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.importers.manifests import find, lines
from metronome.orchestrator.report.result import Result

COMPOSE = """
services:
  chat:
    image: vllm/vllm-openai:v0.19.0
    command: --model meta-llama/Llama-3.1-8B --max-num-seqs ${SEATS:-32} --port 8000
    deploy: {replicas: 2}
  big:
    image: registry/other
    entrypoint: ["bash", "-c"]
    command: ["pip install x && VLLM_X=1 vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 > log 2>&1 & wait"]
  proxy: {image: nginx}
"""
KUBERNETES = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: prefill}
spec:
  replicas: 1
  template:
    spec:
      initContainers: [{name: fetch, command: [vllm, serve, nobody/nothing]}]
      containers:
        - name: prefill
          image: vllm/vllm-openai
          env: [{name: CONNECTOR, value: NixlConnector}, {name: TOKEN, valueFrom: {secretKeyRef: {name: t, key: t}}}]
          args: [meta-llama/Llama-3.1-8B, --kv-transfer-config,
                 '{"kv_connector":"$(CONNECTOR)","kv_role":"kv_producer"}']
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: decode}
spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: decode
          image: vllm/vllm-openai
          command: [/bin/sh, -c]
          args:
            - |
              vllm serve meta-llama/Llama-3.1-8B \\
                --kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
---
apiVersion: v1
kind: Service
metadata: {name: front}
"""


def test_a_compose_file_runs(cli, tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    sent = ["--workload", "{format: random, random_input_len: 100, random_output_len: 4, num_prompts: 4}"]
    done = cli("import", "vllm", "--from", tmp_path / "compose.yaml", "-o", tmp_path / "s.yaml", *sent)
    assert done.exit_code == 0, done.output
    assert "services.chat: without effect: --port" in done.output
    scenario = yaml.safe_load((tmp_path / "s.yaml").read_text())
    made = [(one["name"], one["accelerators"], one["tensor_parallel_size"]) for one in scenario["instances"]]
    assert made == [("chat-0", "n0[0:1]", 1), ("chat-1", "n0[1:2]", 1), ("big", "n0[2:4]", 2)]
    assert scenario["instances"][1]["engine"]["max_num_seqs"] == 32
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
    assert Result.read(tmp_path / "out")["completed"] == 4


def test_prefill_and_decode_of_a_manifest_run(cli, tmp_path):
    (tmp_path / "k8s.yaml").write_text(KUBERNETES)
    fields = ["--set", "workload.num_prompts=3", "--set", "workload.random_output_len=4", "--device", "h200"]
    done = cli("import", "vllm", "--from", tmp_path / "k8s.yaml", *fields, "-o", tmp_path / "s.yaml")
    assert done.exit_code == 0, done.output
    scenario = yaml.safe_load((tmp_path / "s.yaml").read_text())
    assert [one.get("role") for one in scenario["instances"]] == ["prefill", "decode", "decode"]
    assert scenario["router"] == {"policy": "pd-aware"} and scenario["kv_transfer"] == {"mode": "pull"}
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
    assert Result.read(tmp_path / "out")["completed"] == 3


def test_servers_of_other_tools_are_said_to_be_left_out(cli, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "services: {a: {command: vllm serve meta-llama/Llama-3.1-8B}, b: {command: sglang serve --model-path m}}"
    )
    done = cli("import", "vllm", "--from", tmp_path / "c.yaml", "-o", tmp_path / "s.yaml")
    assert "services.b: starts sglang, not vllm" in done.output and done.exit_code == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["vllm", "serve", "m"], ("vllm", ["m"])),
        (["/usr/bin/vllm", "serve", "m"], ("vllm", ["m"])),
        (["A=1", "python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], ("vllm", ["--model", "m"])),
        (["python", "-m", "sglang.launch_server", "--model-path", "m"], ("sglang", ["--model-path", "m"])),
        (["trtllm-serve", "serve", "m"], ("trtllm", ["m"])),
        (["sh", "-c", "sleep 1; exec sglang serve --model-path m"], ("sglang", ["--model-path", "m"])),
        (["sh", "-c", "vllm serve 'a b' # vllm serve c"], ("vllm", ["a b"])),
        (["nginx"], None),
        (["vllm", "bench", "serve"], None),
    ],
)
def test_where_a_server_is_started(words, found):
    assert find(words) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {image: vllm/vllm-openai, command: '$MODEL'}}", r"\$MODEL: is a variable without a default"),
        ("services: {a: {image: vllm/vllm-openai, command: m, scale: -1}}", "must be a number from 0 to 1024"),
        ('services: {a: {command: "vllm serve \'m"}}', "cannot be split into words"),
        ("services: {a: {image: nginx}}", "holds no command"),
        ("[1, 2", "is no YAML"),
        ("containers: [{name: c, command: [vllm, serve, $(M)]}]", r"\$\(M\): is a variable that the container's env"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        lines(tmp_path / "f.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "s.yaml"], "give one after --, or a file of them"),
        (["-o", "s.yaml", "--from", "f", "--", "serve", "m"], "give one after --, or a file of them"),
        (["--", "serve", "m"], "scenario file: is missing"),
        (["-o", "s.yaml", "--", "bench", "serve", "m"], "does not start vllm: give serve MODEL"),
        (["-o", "s.yaml", "--from", "nowhere"], "cannot be read"),
    ],
)
def test_bad_usage(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = cli("import", "vllm", *arguments)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output
    assert not (tmp_path / "s.yaml").exists()
