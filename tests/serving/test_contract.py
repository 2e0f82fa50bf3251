"""Our engines under the contract of engines."""

from __future__ import annotations

from metronome.orchestrator.serving.sglang.engine import SglangEngine
from metronome.orchestrator.serving.sglang.options import SglangOptions
from metronome.orchestrator.serving.spec import EngineSpec
from metronome.orchestrator.serving.vllm.engine import VllmEngine
from metronome.orchestrator.serving.vllm.options import VllmOptions

from ..engine_contract import EngineContract


class TestVllm(EngineContract):
    def make(self, blocks, block_size=4, **flags):
        flags = {"max_num_seqs": 6, "max_num_batched_tokens": 24, **flags}
        return VllmEngine(EngineSpec("e", VllmOptions(block_size=block_size, **flags), blocks, 1000))


class TestVllmShortestFirst(TestVllm):
    def make(self, blocks, block_size=4, **flags):
        from metronome.orchestrator.serving.policies import Priority

        flags = {"max_num_seqs": 6, "max_num_batched_tokens": 24, **flags}
        options = VllmOptions(block_size=block_size, **flags)
        return VllmEngine(EngineSpec("e", options, blocks, 1000, admission=Priority(), victims=Priority()))


class TestSglang(EngineContract):
    slack = 3
    schedule_policy = "fcfs"

    def make(self, blocks, block_size=4, **flags):
        flags = {
            "max_running_requests": 6,
            "chunked_prefill_size": 24,
            "schedule_policy": self.schedule_policy,
            **flags,
        }
        return SglangEngine(EngineSpec("e", SglangOptions(page_size=block_size, **flags), blocks, 1000))


class TestSglangLongestPrefixFirst(TestSglang):
    schedule_policy = "lpm"


class TestSglangPagesOfOne(TestSglang):
    slack = 10

    def make(self, blocks, block_size=1, **flags):
        return super().make(blocks * 4, 1, **flags)
