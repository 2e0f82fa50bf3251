"""Capture sizes of CUDA graphs, as vLLM 0.19's ``_set_cudagraph_sizes`` and SGLang 0.5.5's ``server_args.py`` find them,
and what they do to a step."""

from __future__ import annotations

import metronome
import pytest
from metronome.orchestrator.serving.host_costs import host_costs
from metronome.orchestrator.serving.sglang.options import SglangOptions, resolve
from metronome.orchestrator.serving.spec import DeviceFacts
from metronome.orchestrator.serving.vllm.options import VllmOptions

VERSION = (1, 2, 4, 8, 16, 512)


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [
        ({}, VERSION),
        ({"max_num_seqs": 256}, VERSION),
        ({"max_num_seqs": 5}, (1, 2, 4, 8)),
        ({"max_num_seqs": 5, "max_num_batched_tokens": 5}, (1, 2, 4)),
        ({"max_num_seqs": 5, "cudagraph_capture_sizes": [8, 64]}, (8, 64)),
        ({"cudagraph_capture_sizes": [8, 1, 8]}, (1, 8)),
        ({"max_cudagraph_capture_size": 20}, (1, 2, 4, 8, 16)),
        ({"max_cudagraph_capture_size": 3}, (1, 2)),
        ({"max_cudagraph_capture_size": 288}, (1, 2, 4, *range(8, 256, 8), 256, 272, 288)),
        ({"max_cudagraph_capture_size": 288, "max_num_batched_tokens": 16}, (1, 2, 4, 8, 16)),
        ({"cudagraph_capture_sizes": [8, 64], "max_num_batched_tokens": 16}, (8,)),
    ],
)
def test_sizes(flags, sizes):
    assert VllmOptions(**flags).graph_sizes(VERSION) == sizes


def test_the_largest_must_be_the_largest():
    with pytest.raises(ValueError, match="must be the largest of cudagraph_capture_sizes, 8"):
        VllmOptions(cudagraph_capture_sizes=[4, 8], max_cudagraph_capture_size=16)


def test_a_step_is_computed_for_the_next_size_there_is(small):
    few, exact = (
        metronome.run(small, overrides={f"instances.{i}.engine.cudagraph_capture_sizes": sizes for i in (0, 1)})
        for sizes in ([256], list(range(1, 257)))
    )
    assert few["mean_tpot_ms"] > exact["mean_tpot_ms"]


LADDER = (1, 2, 4, 8, 12, *range(16, 257, 8))


@pytest.mark.parametrize(
    ("flags", "gib", "ranks", "sizes"),
    [
        ({}, 80, 1, LADDER),
        ({}, 80, 4, (*LADDER, *range(272, 513, 16))),
        ({}, 192, 1, (*LADDER, *range(272, 513, 16))),
        ({}, 24, 1, (1, 2, 4, 8, 12, 16, 24)),
        ({}, 16, 8, (1, 2, 4, 8)),
        ({"cuda_graph_max_bs": 20}, 80, 1, (1, 2, 4, 8, 12, 16)),
        ({"cuda_graph_max_bs": 600}, 80, 1, (*LADDER, *range(272, 512, 16), 512, 544, 576)),
        ({"cuda_graph_bs": [64, 8, 64]}, 80, 1, (8, 64)),
        ({"cuda_graph_bs": [64, 8], "max_running_requests": 20}, 80, 1, (8, 20)),
        ({"max_running_requests": 20}, 80, 1, (1, 2, 4, 8, 12, 16, 20)),
        ({"max_running_requests": 300}, 80, 1, LADDER),
        ({"disable_cuda_graph_padding": True, "cuda_graph_max_bs": 5}, 80, 1, (1, 2, 3, 4, 5)),
    ],
)
def test_sizes_of_sglang(flags, gib, ranks, sizes):
    options = resolve(SglangOptions(**flags), DeviceFacts("a", gib * 2**30, 4096, ranks))
    assert options.graph_sizes(host_costs("sglang-0.5.5", False).graph_sizes) == sizes


def test_sglang_reserves_memory_for_its_largest_graph():
    small, large = (
        resolve(SglangOptions(**flags), DeviceFacts("a", 40 * 2**30, 4096)).gpu_memory_utilization
        for flags in ({}, {"cuda_graph_bs": [1024]})
    )
    assert small - large == pytest.approx(2 * (1024 - 32) / (40 * 1024), abs=0.001)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cuda_graph_bs": [4, 8], "cuda_graph_max_bs": 16}, "cuda_graph_max_bs = 16: must be the largest of"),
        ({"cuda_graph_bs": [4, 8], "disable_cuda_graph_padding": True}, "others would run without a graph"),
        ({"cuda_graph_bs": []}, "cuda_graph_bs"),
        ({"cuda_graph_max_bs": 0}, "cuda_graph_max_bs"),
    ],
)
def test_sizes_that_sglang_has_not(flags, message):
    with pytest.raises(ValueError, match=message):
        SglangOptions(**flags)


def test_a_decode_of_sglang_is_computed_for_the_next_size_there_is():
    few, exact = (
        metronome.run(
            "quickstart",
            overrides={
                "workload.num_requests": 20,
                "instances.0.engine": {"version": "sglang-0.5.5", "max_model_len": 8192, **flags},
            },
        )
        for flags in ({"cuda_graph_bs": [256]}, {"disable_cuda_graph_padding": True})
    )
    assert few["mean_tpot_ms"] > exact["mean_tpot_ms"]
