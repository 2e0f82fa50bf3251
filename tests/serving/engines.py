"""Engines for tests, without a scenario around them."""

from __future__ import annotations

from dataclasses import asdict

from metronome.orchestrator.serving.interface import Role
from metronome.orchestrator.serving.spec import EngineSpec
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.engine import VllmEngine
from metronome.orchestrator.serving.vllm.options import VllmOptions


def vllm(config=None, blocks=1000, slots=1, role=Role.BOTH, max_model_len=1000, **policies):
    """An engine with these flags of the scheduler."""
    options = VllmOptions.model_construct(**asdict(config or SchedulerConfig(block_size=4)))
    return VllmEngine(EngineSpec("e", options, blocks, max_model_len, slots, role=role, **policies))


def complete(engine, step, now_ps=0):
    """A step's tokens are out; returns who ended."""
    engine.settle(step)
    engine.finish(step, now_ps)
    return step.ended
