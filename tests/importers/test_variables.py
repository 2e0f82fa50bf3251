"""What stands beside a command line: environment variables of the engine, and the GPU that a node must have."""

from __future__ import annotations

import pytest
import yaml
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.importers.manifests import lines
from metronome.orchestrator.importers.servers import Beside, convert, line
from metronome.orchestrator.importers.variables import of_words

MODEL = "meta-llama/Llama-3.1-8B"
BACKEND = "VLLM_ALL2ALL_BACKEND"


@pytest.fixture
def imported(tmp_path):
    def make(content, **beside):
        (tmp_path / "f.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return convert(lines(tmp_path / "f.yaml"), Beside(tmp_path / "s.yaml", **beside), tmp_path)

    return make


def service(environment, image="vllm/vllm-openai:v0.11.0", flags="", **more):
    return {"services": {"a": {"image": image, "command": f"{MODEL} {flags}", "environment": environment, **more}}}


def pod(product="", name="c", **more):
    container = {"name": name, "image": "vllm/vllm-openai:v0.11.0", "args": [MODEL], **more}
    return {"spec": {"nodeSelector": {"nvidia.com/gpu.product": product} if product else {}, "containers": [container]}}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["docker", "run", "-e", "VLLM_X=1", "-e", "VLLM_Y", "vllm/vllm-openai"], {"VLLM_X": "1", "VLLM_Y": None}),
        (["sh", "-c", "export VLLM_X='1 2'; SGLANG_Y=2 vllm serve m"], {"VLLM_X": "1 2", "SGLANG_Y": "2"}),
        (["serve", "m", "--host", "MY_VLLM_X=1", "--port", "1"], {}),
    ],
)
def test_variables_in_a_command_line(words, found):
    assert of_words(words) == found


@pytest.mark.parametrize(
    "environment", [{BACKEND: "deepep_high_throughput", "HF_HOME": 1}, [f"{BACKEND}=${{B:-deepep_high_throughput}}"]]
)
def test_one_that_stands_for_a_flag_is_taken_as_it(imported, environment):
    found = imported(service(environment))
    assert found.scenario["instances"][0]["engine"]["all2all_backend"] == "deepep_high_throughput"
    assert not found.unread
    wins = imported(service(environment, flags="--all2all-backend allgather_reducescatter"))
    assert wins.scenario["instances"][0]["engine"]["all2all_backend"] == "allgather_reducescatter"
    assert BACKEND in str(wins.notes)


def test_it_is_refused_as_the_flag_is(imported):
    with pytest.raises(InputError, match=rf"{BACKEND} \(--all2all-backend\) = 'naive': is refused: what its kernels"):
        imported(service({BACKEND: "naive"}))
    assert BACKEND in str(imported(service({BACKEND: "naive"}, "vllm/vllm-openai:v0.19.0")).unread)  # reads it no more


def test_what_is_not_read_is_said_without_its_value(cli, imported, tmp_path):
    given = {"VLLM_API_KEY": "hush", "VLLM_X": None, BACKEND: "$B", "PATH": "/bin"}
    (said,) = imported(service(given, env_file=".env")).unread
    assert said.endswith(f"services.a: environment: VLLM_API_KEY, VLLM_X, {BACKEND}, env_file")
    env = [{"name": "SGLANG_X", "value": 1}, {"name": "LMCACHE_Y", "valueFrom": {}}]
    (said,) = imported(pod(env=env, envFrom=[{"configMapRef": {"name": "m"}}])).unread
    assert said.endswith("containers.c: environment: SGLANG_X, LMCACHE_Y, envFrom")
    done = cli("import", "vllm", "-o", tmp_path / "s.yaml", "--", "env", "VLLM_X=hush", "vllm", "serve", MODEL)
    assert "not read: command line: environment: VLLM_X\n" in done.stdout
    assert "# not read: command line: environment: VLLM_X\n" in (tmp_path / "s.yaml").read_text()


def test_a_label_of_nodes_says_the_device(imported):
    def device(found):
        return found.scenario["cluster"]["nodes"][0]["accelerators"]["type"]

    found = imported(pod("NVIDIA-A100-SXM4-80GB"))
    assert device(found) == "a100-80g-sxm" and not found.unread
    assert not any("--device" in text for text in found.assumed)
    found = imported(pod("NVIDIA-A100-SXM4-80GB"), device="h200")
    assert device(found) == "h200" and found.unread == ["nvidia.com/gpu.product NVIDIA-A100-SXM4-80GB"]
    found = imported(pod("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"))
    assert device(found) == "h100-sxm" and found.unread == ["nvidia.com/gpu.product NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"]
    with pytest.raises(InputError, match="devices of an import are alike: give --device"):
        imported([pod("NVIDIA-H200"), pod("NVIDIA-L40S")])
    imported([pod("NVIDIA-H200"), pod("NVIDIA-L40S")], device="h200")


def test_of_a_command_line_too(tmp_path):
    words = f"docker run -e {BACKEND}=naive vllm/vllm-openai:v0.11.0 --model {MODEL}".split()
    with pytest.raises(InputError, match=BACKEND):
        convert([line("vllm", words)], Beside(tmp_path / "s.yaml"), tmp_path)
    words = ["docker", "run", "--env-file=f", *words[4:]]
    assert convert([line("vllm", words)], Beside(tmp_path / "s.yaml"), tmp_path).unread == [
        "command line: environment: --env-file"
    ]
