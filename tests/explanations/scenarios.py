"""Random scenarios in which requests wait for one another: for prompts, blocks, places, the budget, or a link."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.source import LiveSource

KINDS = ("prompts", "blocks", "places", "budget", "link")
SMALL, LARGE = "meta-llama/Llama-3.1-8B", "Qwen/Qwen3-32B"


def opened(kind: str, seed: int, requests: int) -> DebugSession:
    """A session of a random scenario of that kind."""
    return DebugSession.live(validate(content(kind, seed, requests), kind), Inputs(Path()), LiveSource(None))


def content(kind: str, seed: int, requests: int) -> dict[str, Any]:
    random = Random(f"{kind} {seed}")
    large = kind != "link" and random.random() < 0.5
    rate = random.uniform(3, 8) * (0.4 if large else 1)
    inputs = {"mean": random.randint(300, 1500), "sigma": random.uniform(0.4, 0.9), "min": 32, "max": 6000}
    outputs = {"mean": random.randint(30, 120), "sigma": 0.6, "min": 4, "max": 300}
    engine: dict[str, Any] = {}
    if kind == "blocks":
        engine["num_gpu_blocks_override"] = random.randint(420, 900)
    elif kind == "places":
        engine["max_num_seqs"] = random.randint(3, 8)
    elif kind == "budget":
        engine["max_num_batched_tokens"] = random.choice([128, 256, 512])
    workload = {"format": "synthetic", "num_requests": requests, "request_rate": rate * (1.5 if engine else 1)}
    shape = _two_links(random) if kind == "link" else _one_instance(LARGE if large else SMALL, engine)
    return {
        "name": kind,
        "seed": seed,
        "workload": {**workload, "input_tokens": inputs, "output_tokens": outputs},
        **shape,
    }


def _one_instance(model: str, engine: dict[str, Any]) -> dict[str, Any]:
    devices = 2 if model == LARGE else 1
    chat = {"name": "chat", "model": model, "accelerators": f"n0[0:{devices}]", "tensor_parallel_size": devices}
    return {
        "cluster": {
            "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}}],
            "networks": [
                {"name": "nvlink", "connects": ["n0.accelerators"], "bandwidth_gb_s": 450, "latency_ns": 1500}
            ],
        },
        "instances": [{**chat, "engine": engine}],
    }


def _two_links(random: Random) -> dict[str, Any]:
    """Two prefill nodes and a decode node; the second link is slow."""
    rates = (50, random.uniform(0.4, 2))
    where = [("prefill-0", "prefill", 0), ("prefill-1", "prefill", 1), ("decode", "decode", 2)]
    return {
        "cluster": {
            "nodes": [{"name": f"n{i}", "accelerators": {"type": "h100-sxm", "count": 1}} for i in range(3)],
            "networks": [
                {
                    "name": f"uplink-{i}",
                    "connects": [f"n{i}.accelerators", "n2.accelerators"],
                    "bandwidth_gb_s": rate,
                    "latency_ns": 2000,
                }
                for i, rate in enumerate(rates)
            ],
        },
        "instances": [
            {"name": name, "role": role, "model": SMALL, "accelerators": f"n{node}[0:1]", "engine": {}}
            for name, role, node in where
        ],
        "router": {"policy": random.choice(["round-robin", "least-loaded"])},
        "kv_transfer": {"connector": "distserve"},
    }
