"""Two instances of one small cluster whose requests begin alike, and whose device caches hold little."""

from __future__ import annotations

import copy
from typing import Any

from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

TIERED: dict[str, Any] = {
    "name": "tiered",
    "seed": 5,
    "workload": {
        "format": "synthetic",
        "num_requests": 60,
        "request_rate": 40,
        "input_tokens": {"mean": 700, "sigma": 0.2, "min": 500, "max": 1200},
        "output_tokens": {"mean": 20, "max": 60},
        "shared_prefix": {"groups": 8, "tokens": 400},
    },
    "cluster": {
        "nodes": [
            {
                "name": "n0",
                "accelerators": {"type": "h100-sxm", "count": 2},
                "memory": {
                    "dram": {"bandwidth_gb_s": 200, "size_gib": 64},
                    "cxl": {"type": "cxl2-x8", "size_gib": 64},
                    "nvme": {"type": "nvme-gen5", "size_gib": 500},
                },
            }
        ],
        "memories": [{"name": "pool", "bandwidth_gb_s": 100, "size_gib": 64, "latency_ns": 400}],
        "networks": [
            {
                "name": "pcie",
                "connects": ["n0.accelerators", "n0.dram", "n0.cxl", "n0.nvme", "pool"],
                "topology": "pcie",
                "type": "pcie5-x16",
            }
        ],
    },
    "instances": [
        {
            "name": "a",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": ["n0[0]", "n0[1]"],
            "replicas": 2,
            "engine": {"max_num_seqs": 16, "max_num_batched_tokens": 1024, "num_gpu_blocks_override": 200},
        }
    ],
    "kv_offloading": {"tiers": [{"name": "host", "memory": "dram", "size_gib": 2}]},
    "router": {"policy": "round-robin"},
}


def tiered(**changes: Any) -> Any:
    """The scenario with values by path (``__`` for a dot)."""
    content = copy.deepcopy(TIERED)
    return loading.of_mapping(content, {path.replace("__", "."): value for path, value in changes.items()})


def ran(tmp_path: Any, **changes: Any) -> Simulation:
    """A whole run of it."""
    with Simulation(tiered(**changes), tmp_path) as simulation:
        simulation.run()
    return simulation


def times(simulation: Simulation) -> list[tuple[int, ...]]:
    """When every request's tokens came, and what it found."""
    return [
        (s.request.id, s.first_token_ps, s.end_ps, s.num_cached_tokens, s.num_preemptions)
        for s in sorted(simulation.recorder.done, key=lambda s: s.request.id)
    ]
