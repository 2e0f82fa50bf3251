"""Hits, stores, blocks and batches with K and V beside the device: ours against vLLM's own offloading connector."""

import pytest
from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler

from .offloading import draw, play
from .test_truth import VERSION


@pytest.fixture(scope="module")
def real() -> RealScheduler:
    if not environment.installed(f"vllm@{VERSION}"):
        pytest.skip(f"needs vLLM's scheduler: metronome tools install vllm@{VERSION}")
    return RealScheduler(VERSION)


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_every_step_is_that_of_vllms_offloading_connector(real, first):
    for seed in range(first, first + 25):
        if why := play(real, draw(seed)):
            pytest.fail(f"seed {seed}: {why}\n{draw(seed)}")
