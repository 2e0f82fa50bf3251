"""The encoder of images as operations: matrices, pairs of patches, and when there is nothing to do."""

import json
from pathlib import Path

import pytest
from metronome.orchestrator.lowering.builder import Hardware
from metronome.orchestrator.lowering.layout import Layout
from metronome.orchestrator.lowering.models.load import read
from metronome.orchestrator.lowering.plan import lower
from metronome.orchestrator.lowering.work import Templates
from metronome.orchestrator.serving.batch import Batch

CONFIGS = json.loads((Path(__file__).parent / "configs.json").read_text())
QWEN3_VL = dict(CONFIGS["Qwen/Qwen3-VL-8B-Instruct"])
QWEN3_VL["vision_config"] = {**QWEN3_VL["vision_config"], "num_heads": 16, "deepstack_visual_indexes": [8, 16, 24]}
#: Qwen2.5-VL-7B: 32 layers, all but four with windows of 112 pixels
QWEN25_VL = {
    "model_type": "qwen2_5_vl", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 128000,
    "torch_dtype": "bfloat16",
    "vision_config": {
        "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
        "in_chans": 3, "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
    },
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3", "mm_tokens_per_image": 256,
    "text_config": {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "max_position_embeddings": 131072, "sliding_window": 1024,
    },
    "vision_config": {
        "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "num_attention_heads": 16,
        "num_hidden_layers": 27, "patch_size": 14,
    },
}  # fmt: skip


def planned(config, tp=1, images=True):
    arch = read("m", "m", config, None)
    layout = Layout(tuple(("n0", i) for i in range(tp)), tp=tp)
    return arch, lower("i", arch, layout, "bf16", Templates(), Hardware(lambda _: "net", []), images=images)


def encoding(plan):
    """(operation, how often) of the encoder."""
    return [
        (operation.works[0], section.repeat)
        for section in plan.sections
        if section.name.startswith("image")
        for operation in section.operations
    ]


@pytest.mark.parametrize("config", [QWEN3_VL, QWEN25_VL, GEMMA3], ids=["qwen3-vl", "qwen2.5-vl", "gemma3"])
@pytest.mark.parametrize("tp", [1, 4])
def test_its_matrices_are_the_weights_that_are_counted(config, tp):
    """Positions, norms and biases apart, of which there are few; the patches' matrix is whole on every rank."""
    arch, plan = planned(config, tp)
    shapes = [(work.template, times) for work, times in encoding(plan) if work.template.kind == "gemm"]
    found = sum(t.attributes["n"] * t.attributes["k"] * (1 if t.layer == "vit_patches" else tp) * n for t, n in shapes)
    assert found == pytest.approx(arch.encoder, rel=0.015)


def test_every_patch_attends_to_every_other_of_its_image():
    _, plan = planned(QWEN3_VL)
    (attention, times), *_ = [one for one in encoding(plan) if one[0].template.kind == "attention"]
    decodes, total, high, low, *pairs = attention.operands.of(Batch((900, 0), 0, 0, 0, 0, images=(100, 400)))
    assert (decodes, total, high, low, times) == (0, 0, 0, 0, 27)
    assert pairs == [400, 200, 1600, 800]  # a token is 2 x 2 patches
    causal = [new * cached + new * (new + 1) / 2 for new, cached in zip(pairs[::2], pairs[1::2], strict=True)]
    assert causal == pytest.approx([400**2, 1600**2], rel=0.002)


def test_windows_of_patches():
    """8 x 8 patches of 14 pixels see one another in 28 layers, all in four."""
    _, plan = planned(QWEN25_VL)
    layers = [(w.template.attributes, times) for w, times in encoding(plan) if w.template.kind == "attention"]
    assert [(at.get("sees"), times) for at, times in layers] == [(None, 4), (128, 28)]


def test_images_of_fixed_size():
    arch, _ = planned(GEMMA3)
    assert arch.tower.patches == (896 // 14) ** 2 // 256 and arch.tower.most_tokens == 256


def test_a_step_without_images_has_nothing_to_encode():
    _, plan = planned(QWEN3_VL, tp=2)
    assert not any(any(work.operands.of(Batch((64, 0), 3, 30, 10, 10))) for work, _ in encoding(plan))
    _, without = planned(QWEN3_VL, tp=2, images=False)
    rest = [section for section in plan.sections if not section.name.startswith("image")]
    assert [section.operations for section in rest] == [section.operations for section in without.sections]


def test_heads_that_are_missing_are_said():
    config = {**QWEN3_VL, "vision_config": {k: v for k, v in QWEN3_VL["vision_config"].items() if k != "num_heads"}}
    arch, plan = planned(config)
    assert arch.tower is None and arch.encoder and "its heads are missing" in arch.warnings[0] and not encoding(plan)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"audio_config": {"d_model": 1280, "encoder_layers": 32}}, "audio_config"),
        ({"img_processor": {"name": "clip_vision_model"}}, "img_processor"),
        ({"vision_config": {"cls": "HybridVisionTower"}}, "vision_config"),
        ({"audio_config": None}, None),
        ({}, None),
    ],
)
def test_encoders_that_are_not_modelled_are_said(more, said):
    found = [text for text in read("m", "m", {**QWEN25_VL, **more}).warnings if "not modelled" in text]
    assert [f"m: {said}:" in text for text in found] == ([True] if said else [])
