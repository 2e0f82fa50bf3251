"""Capture sizes of CUDA graphs, as vLLM 0.19's ``_set_cudagraph_sizes`` finds them, and what they do to a step."""

from __future__ import annotations

import metronome
import pytest
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
