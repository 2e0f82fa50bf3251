"""Releases of vLLM by name, ``vllm@0.19.0``: our scheduler with their host costs, or their own scheduler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metronome.adapters.tools import environment

from ..interface import Engine, Role
from ..spec import EngineSpec, Start
from ..vllm import KIND as VLLM
from .engine import RealVllmEngine
from .options import POLICIES, ReleaseOptions


def make(spec: EngineSpec) -> Engine:
    return RealVllmEngine(spec) if spec.options.scheduler == "real" else VLLM.make(spec)


def refuse_start(options: Any, start: Start) -> tuple[str, object, str] | None:
    """As vLLM's, and what its own scheduler has no flag for, or cannot be run for."""
    if options.scheduler == "real":
        if options.scheduling_policy not in POLICIES:
            return "scheduling_policy", options.scheduling_policy, f"one of vLLM's own, {' or '.join(POLICIES)}"
        if start.role != Role.BOTH:
            return "scheduler", "real", "model: vLLM's own is not yet run on one side of a prefill and decode pair"
        if not environment.installed(options.version):
            return "scheduler", "real", f"model, or make it there: metronome tools install {options.version}"
    return VLLM.refuse_start(options, start)


KIND = replace(VLLM, options=ReleaseOptions, make=make, refuse_start=refuse_start)
