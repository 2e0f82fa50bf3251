"""The short form of ``make truth``: a few workloads of every mode, ours against vLLM's own scheduler."""

import pytest
from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler

from .play import differs, told
from .workloads import MODES, OTHERS, RANKS

VERSION = "0.19.0"
VERSIONS = [name.partition("@")[2] for name in sorted(environment.BY_NAME)]


@pytest.fixture(scope="module", params=VERSIONS)
def real(request) -> RealScheduler:
    if not environment.installed(f"vllm@{request.param}"):
        pytest.skip(f"needs vLLM's scheduler: metronome tools install vllm@{request.param}")
    return RealScheduler(request.param)


@pytest.mark.parametrize("mode", [*MODES, RANKS])
def test_every_step_is_that_of_vllm_itself(real, mode):
    if mode in OTHERS.get(real.version, ()):
        pytest.skip("its rules are others: docs/truth.md")
    for seed in range(40):
        if differs(real, mode, seed):
            pytest.fail(told(real, mode, seed))
