"""Images in requests: drawn, and from the columns of a table."""

import json

import pytest
from metronome.orchestrator.report.result import Result

CONFIG = {
    "model_type": "qwen3_vl",
    "text_config": {
        "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 8,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "max_position_embeddings": 40960,
    },
    "vision_config": {
        "depth": 12, "hidden_size": 768, "intermediate_size": 3072, "num_heads": 12, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 1024,
    },
}  # fmt: skip


@pytest.fixture
def scenario(tmp_path):
    """A small model with an image encoder on two devices, and a workload."""

    def write(workload, model=CONFIG, **instance):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "config.json").write_text(json.dumps(model))
        nvlink = {"name": "nv", "connects": ["n0.accelerators"], "bandwidth_gb_s": 300, "latency_ns": 1000}
        made = {
            "name": "images",
            "workload": workload,
            "cluster": {
                "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}}],
                "networks": [nvlink],
            },
            "instances": [
                {"name": "i", "model": "m", "accelerators": "n0[0:2]", "tensor_parallel_size": 2, **instance}
            ],
        }
        (tmp_path / "s.yaml").write_text(json.dumps(made))
        return tmp_path / "s.yaml"

    return write


def synthetic(**more):
    lengths = {"distribution": "fixed", "mean": 100}
    answers = {"distribution": "fixed", "mean": 8}
    rate = {"request_rate": 2, "input_tokens": lengths, "output_tokens": answers}
    return {"format": "synthetic", "num_requests": 30, **rate, **more}


def run(cli, path, out, *flags):
    done = cli("run", path, "-o", out, "--quiet", *flags)
    assert done.exit_code == 0, done.output
    return Result.read(out)


def images(**more):
    return {"tokens": {"distribution": "fixed", "mean": 1000}, **more}


def test_images_take_tokens_and_the_encoders_time(cli, scenario, tmp_path):
    plain = run(cli, scenario(synthetic()), tmp_path / "plain")
    longer = synthetic(input_tokens={"distribution": "fixed", "mean": 1100})
    text = run(cli, scenario(longer), tmp_path / "text")
    seen = run(cli, scenario(synthetic(images=images())), tmp_path / "seen")
    assert {row["input"] for row in seen.requests} == {1100}
    assert plain["mean_ttft_ms"] < text["mean_ttft_ms"] < seen["mean_ttft_ms"] - 1
    assert seen["mean_tpot_ms"] == pytest.approx(text["mean_tpot_ms"], rel=0.02)
    assert "fetches, decodes and scales" in "".join(seen["metronome"]["warnings"])
    assert "warnings" not in text["metronome"] or not text["metronome"]["warnings"]
    known = run(cli, scenario(synthetic(images=images(pictures=1))), tmp_path / "known")
    assert text["mean_ttft_ms"] < known["mean_ttft_ms"] < text["mean_ttft_ms"] + 1  # encoded once


def test_text_is_served_as_by_the_decoder_alone(cli, scenario, tmp_path):
    alone = {"num_gpu_blocks_override": 5000}
    with_encoder = run(cli, scenario(synthetic(), engine=alone), tmp_path / "with")
    text = {**CONFIG["text_config"]}
    without = run(cli, scenario(synthetic(), text, engine=alone), tmp_path / "without")
    assert (tmp_path / "with/requests.csv").read_bytes() == (tmp_path / "without/requests.csv").read_bytes()
    assert with_encoder["mean_ttft_ms"] == without["mean_ttft_ms"]


def test_a_share_of_the_requests_and_several_in_one(cli, scenario, tmp_path):
    drawn = images(share=0.4, per_request=2, pictures=5)
    path = scenario(synthetic(images=drawn, shared_prefix={"groups": 2, "tokens": 64}))
    found = run(cli, path, tmp_path / "out")
    counts = [row["input"] for row in found.requests]
    assert set(counts) == {100, 2100} and 5 < counts.count(2100) < 20
    assert found["metronome"]["prefix_hit_tokens"] > 30 * 48  # also behind the prefix, where the pictures are equal


def test_a_model_without_an_encoder_fails_them_alone(cli, scenario, tmp_path):
    path = scenario(synthetic(images=images(share=0.5)), CONFIG["text_config"])
    found = run(cli, path, tmp_path / "out")
    assert found["metronome"]["failed"] == {"images": found["failed"]} and 0 < found["failed"] < 30


def test_columns_of_a_table(cli, scenario, tmp_path):
    (tmp_path / "t.csv").write_text("at,in,out,image,n\n0,500,4,300,3\n1,90,4,0,0\n2,400,4,400,1\n")
    columns = {"arrival": "at", "input_tokens": "in", "output_tokens": "out", "image_tokens": "image", "images": "n"}
    path = scenario({"format": "csv", "path": "t.csv", "columns": columns})
    found = run(cli, path, tmp_path / "out")
    assert [row["input"] for row in found.requests] == [500, 90, 400] and found["failed"] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [("0,100,4,300,1", "image = 300: must be among the tokens"), ("0,100,4,30,0", "n = 0: must be at least 1")],
)
def test_rows_that_cannot_be(cli, scenario, tmp_path, row, message):
    (tmp_path / "t.csv").write_text(f"at,in,out,image,n\n{row}\n")
    columns = {"arrival": "at", "input_tokens": "in", "output_tokens": "out", "image_tokens": "image", "images": "n"}
    done = cli("run", scenario({"format": "csv", "path": "t.csv", "columns": columns}), "-o", tmp_path / "out")
    assert done.exit_code == 2 and message in done.output


def test_the_plan_says_what_is_encoded(cli, scenario):
    done = cli("validate", scenario(synthetic(images=images())), "--plan")
    assert done.exit_code == 0 and "vit_qkv" in done.output and "of each image" in " ".join(done.output.split())


def test_heads_of_the_encoder_are_cut_too(cli, scenario):
    odd = {**CONFIG, "vision_config": {**CONFIG["vision_config"], "num_heads": 9}}
    assert cli("validate", scenario(synthetic(), odd)).exit_code == 0
    done = cli("validate", scenario(synthetic(images=images()), odd))
    assert done.exit_code == 2 and "must divide the heads of the encoder of images (9)" in done.output
