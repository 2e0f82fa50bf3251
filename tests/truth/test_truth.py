"""The short form of ``make truth``: a few workloads of every mode, ours against vLLM's own scheduler."""

import pytest
from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler

from .play import differs, told
from .workloads import MODES, RANKS

VERSION = "0.19.0"


@pytest.fixture(scope="module")
def real() -> RealScheduler:
    if not environment.installed(f"vllm@{VERSION}"):
        pytest.skip(f"needs vLLM's scheduler: metronome tools install vllm@{VERSION}")
    return RealScheduler(VERSION)


@pytest.mark.parametrize("mode", [*MODES, RANKS])
def test_every_step_is_that_of_vllm_itself(real, mode):
    for seed in range(40):
        if differs(real, mode, seed):
            pytest.fail(told(real, mode, seed))
