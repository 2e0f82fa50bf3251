"""Inputs from the field that are about models, their formats and devices: ../shared/cases, each with its right value."""

from __future__ import annotations

import json

import pytest
import yaml

KV_BLOCKS = [
    ("04-kv-tp-above-kv-heads", 98_796, 0),
    ("06-fp8-kv-cache", 56_448, 0),
    ("07-fp8-checkpoint-as-bf16", 9_000, 0.1),
    ("08-awq-4bit-on-24gb", 16_000, 0.1),  # above 24 GiB x 0.9 - 5.7 GB of weights and what a step works in
    ("09-tied-embeddings-llama32-1b", 139_700, 0.001),
    ("10-qwen2-family-refused", 65_000, 0.05),
    ("11-mistral-family-refused", 19_000, 0.05),
    ("12-qwen3-coder-480b-zero-shared-expert", 93_700, 0.01),
    ("13-mla-deepseek-refused", 40_900, 0.01),
    ("14-gpt-oss-refused", 16_900, 0.05),  # a block is a page of 18 layers, in vLLM's two groups
    ("36_bfloat16-vllm-dtype-name", 28_224, 0),
    ("36_float16-vllm-dtype-name", 28_224, 0),
    ("36_half-vllm-dtype-name", 28_224, 0),
]


@pytest.fixture
def cases(shared):
    folder = shared.parent / "cases"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases, which is absent")
    return folder


def run(cli, scenario, folder, *options):
    done = cli("run", scenario, "-o", folder, "--quiet", *options)
    assert done.exit_code == 0, done.output
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(("case", "blocks", "within"), KV_BLOCKS)
def test_kv_blocks_of_a_case(cases, cli, tmp_path, case, blocks, within):
    # The limits that the cases' arithmetic is for; where a scenario leaves them open they follow from the device.
    limits = ("--set", "instances.0.engine.max_num_seqs=256", "--set", "instances.0.engine.max_num_batched_tokens=8192")
    result = run(cli, cases / case / "scenario.yaml", tmp_path, *limits)
    assert result["completed"] == 4
    assert result["metronome"]["kv_blocks"]["i"] == pytest.approx(blocks, rel=within, abs=0)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("05-heads-not-divisible-by-tp", "tensor_parallel_size = 8: must divide the model's attention heads (28)"),
        ("37-ttft-with-zero-max-model-len-flag", "engine.max_model_len = 200000: "),
    ],
)
def test_a_case_that_is_refused(cases, cli, case, message):
    done = cli("validate", cases / case / "scenario.yaml")
    assert done.exit_code == 2 and message in done.output


def scenario(tmp_path, model, **changes):
    """One request after another on one H100."""
    data = {
        "workload": {
            "format": "synthetic",
            "num_requests": 4,
            "request_rate": 1,
            "input_tokens": {"distribution": "fixed", "mean": 100},
            "output_tokens": {"distribution": "fixed", "mean": 8},
        },
        "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "H100", "count": 1}}]},
        "instances": [
            {
                "name": "i",
                "model": model,
                "accelerators": "n0[0]",
                "engine": {"max_model_len": 8192, "max_num_seqs": 256},
            }
        ],
    }
    for key, value in changes.items():
        spot = data
        *path, last = key.split("__")
        for part in path:
            spot = spot[int(part)] if part.isdigit() else spot.setdefault(part, {})
        spot[last] = value
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def fp8_of_qwen3_32b(tmp_path):
    from importlib.resources import files

    config = json.loads(files("metronome.hwmodels.catalog").joinpath("models/Qwen/Qwen3-32B.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    folder = tmp_path / "Qwen" / "Qwen3-32B-FP8"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return "Qwen/Qwen3-32B-FP8"


def test_an_fp8_checkpoint_is_half_as_large_and_about_twice_as_fast(cli, tmp_path):
    plain = run(cli, scenario(tmp_path, "Qwen/Qwen3-32B"), tmp_path / "plain")
    small = run(cli, scenario(tmp_path, fp8_of_qwen3_32b(tmp_path)), tmp_path / "small")
    assert 4.3 < small["metronome"]["kv_blocks"]["i"] / plain["metronome"]["kv_blocks"]["i"] < 4.7
    assert 0.5 < small["mean_tpot_ms"] / plain["mean_tpot_ms"] < 0.6
    errors = [one["metronome"]["components"]["n0.accelerators"]["statistics"] for one in (plain, small)]
    assert errors[0]["relative_error"]["modelled"] < errors[1]["relative_error"]["modelled"]


def test_vllms_flag_quantises_a_plain_checkpoint_while_it_loads(cli, tmp_path):
    plain = run(cli, scenario(tmp_path, "Qwen/Qwen3-32B"), tmp_path / "plain")
    small = run(cli, scenario(tmp_path, "Qwen/Qwen3-32B", instances__0__quantization="fp8"), tmp_path / "small")
    assert small["metronome"]["kv_blocks"]["i"] > 4 * plain["metronome"]["kv_blocks"]["i"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [("awq", "is not quantised; while loading, one of fp8"), ("nonsense", "is not quantised")],
)
def test_a_format_the_checkpoint_has_not_is_refused(cli, tmp_path, asked, message):
    done = cli("validate", scenario(tmp_path, "Qwen/Qwen3-32B", instances__0__quantization=asked))
    assert done.exit_code == 2 and message in done.output


def test_a_flag_against_the_checkpoints_own_format_is_refused(cli, tmp_path):
    model = fp8_of_qwen3_32b(tmp_path)
    done = cli("validate", scenario(tmp_path, model, instances__0__quantization="awq"))
    assert done.exit_code == 2 and "checkpoint of method fp8" in done.output


def test_an_unknown_family_warns_on_the_command_line_and_in_the_results(cli, tmp_path):
    config = {
        "model_type": "brand_new",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "max_position_embeddings": 8192,
    }
    (tmp_path / "m.json").write_text(json.dumps(config))
    path = scenario(tmp_path, "m.json")
    assert "warning: " in cli("validate", path).output
    assert "'brand_new' is not known" in run(cli, path, tmp_path / "o")["metronome"]["warnings"][0]


OWN = {"tflops": {"bf16": 100, "fp8": 200}, "memory_bandwidth_gb_s": 1000, "memory_gib": 100}


def test_a_device_of_ones_own_in_the_scenario_or_a_file(cli, tmp_path):
    changes = {"cluster__nodes__0__accelerators__type": "mine"}
    inline = run(cli, scenario(tmp_path, "Qwen/Qwen3-32B", devices={"mine": OWN}, **changes), tmp_path / "a")
    (tmp_path / "devices.yaml").write_text(yaml.safe_dump({"mine": OWN}))
    file = run(cli, scenario(tmp_path, "Qwen/Qwen3-32B", devices="devices.yaml", **changes), tmp_path / "b")
    assert inline["metronome"]["kv_blocks"] == file["metronome"]["kv_blocks"]
    # 65.5 GB of weights at 0.8 x 1000 GB/s
    assert inline["mean_tpot_ms"] == file["mean_tpot_ms"] == pytest.approx(65.5 / 0.8, rel=0.1)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ({"mine": {**OWN, "memory_gb": 3}}, "devices.mine: unknown key 'memory_gb'; did you mean 'memory_gib'?"),
        ({"mine": {**OWN, "memory_gib": 64, "usable_gib": 90}}, "devices.mine: usable_gib 90 is above memory_gib 64"),
        ({"mine": {**OWN, "tflops": {}}}, "devices.mine.tflops"),
        ({"mine": {**OWN, "usd_per_hour": -1}}, "devices.mine.usd_per_hour"),
        (
            {"mine": {**OWN, "interconnect": "nvlink9"}},
            "devices.mine.interconnect = 'nvlink9': 'nvlink9' is not in the",
        ),
        ({"mine": {**OWN, "tflops": {"bfloat16": 3}}}, "bf16"),
        ("absent.yaml", "cannot be read"),
    ],
)
def test_a_device_that_cannot_be_names_its_field(cli, tmp_path, devices, message):
    done = cli("validate", scenario(tmp_path, "Qwen/Qwen3-32B", devices=devices))
    assert done.exit_code == 2 and message in done.output


def test_a_rate_that_a_device_lacks_names_where_the_scenario_would_say_it(cli, tmp_path):
    lacking = {"mine": {**OWN, "tflops": {"fp8": 200}}}
    path = scenario(tmp_path, "Qwen/Qwen3-32B", devices=lacking, cluster__nodes__0__accelerators__type="mine")
    done = cli("validate", path)
    assert done.exit_code == 2 and "devices.mine has no bf16 rate (tflops: fp8)" in done.output


@pytest.mark.parametrize(("name", "told"), [("mine", ""), ("h100-sxm", "h100-sxm"), ("T4", "t4")])
def test_a_device_that_stands_for_one_of_the_catalog_is_said(cli, tmp_path, name, told):
    done = cli("validate", scenario(tmp_path, "Qwen/Qwen3-32B", devices={name: {**OWN}}))
    text = f"warning: devices.{name} stands for the catalog's {told}\n"
    assert done.exit_code == 0 and (text in done.output) == bool(told)


def test_a_device_nobody_knows_is_told_near_names(cli, tmp_path):
    done = cli("validate", scenario(tmp_path, "Qwen/Qwen3-32B", cluster__nodes__0__accelerators__type="mi-300x"))
    assert done.exit_code == 2 and "did you mean mi300x" in done.output
