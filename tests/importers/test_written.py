"""A scenario that a run would refuse is written, and said to be one."""

from __future__ import annotations

import json

import pytest
import yaml

MODEL = "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--max-model-len 200k", "max_model_len = 200000: the model's own limit is 131072"),
        ("--block-size 24", "block_size = 24: a multiple of 16"),
        ("--quantization awq", "quantization = 'awq'"),
        ("--enable-expert-parallel -dp 2", "has no experts"),
        ("--kv-offloading-size 10 --no-enable-prefix-caching", "has enable_prefix_caching off"),
        ("--cpu-offload-gb 4 --pipeline-parallel-size 2", "goes without pipeline stages"),
        ("--max-model-len 100", "100"),  # none of the requests that are sent can be served
    ],
)
def test_what_a_run_would_refuse_is_said(cli, tmp_path, flags, message):
    done = cli("import", "vllm", "-o", tmp_path / "s.yaml", "--", "serve", MODEL, *flags.split())
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "the scenario was written, and would be refused: " in done.stderr and message in done.stderr
    assert "next: metronome run" not in done.output
    assert yaml.safe_load((tmp_path / "s.yaml").read_text())["instances"][0]["model"] == MODEL
    later = cli("validate", tmp_path / "s.yaml")
    assert later.exit_code == 2 and later.stderr.removeprefix("metronome: ").strip() in done.stderr


def test_links_that_nobody_knows_are_given_with_set(cli, tmp_path):
    beside = ["-o", tmp_path / "s.yaml", "--device", "mi355x"]
    done = cli("import", "vllm", *beside, "--", "serve", MODEL, "-tp", "2")
    assert done.exit_code == 2 and "cluster.networks.0.type: how mi355x are joined is not known" in done.stderr
    figures = {"bandwidth_gb_s": 448, "latency_ns": 1500, "topology": "fully-connected"}
    sets = [f"--set=cluster.networks.0.{name}={value}" for name, value in figures.items()]
    done = cli("import", "vllm", *beside, *sets, "--", "serve", MODEL, "-tp", "2")
    assert done.exit_code == 0, done.output


def test_for_programs_it_is_a_field(cli, tmp_path):
    for flags, refused in ((["--block-size", "24"], True), ([], False)):
        done = cli("import", "vllm", "-o", tmp_path / "s.yaml", "--json", "--", "serve", MODEL, *flags)
        answer = json.loads(done.stdout)
        assert answer["written"] == [str(tmp_path / "s.yaml")] and bool(answer["refused"]) is refused
        assert done.exit_code == (2 if refused else 0)
