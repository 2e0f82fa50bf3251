"""A scenario small enough to run in a blink: two instances, shared host memory."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "workload": {
        "format": "synthetic",
        "num_requests": 40,
        "request_rate": 30,
        "input_tokens": {"mean": 300, "max": 2000},
        "output_tokens": {"mean": 40, "max": 200},
        "shared_prefix": {"groups": 3, "tokens": 64},
    },
    "cluster": {
        "nodes": [
            {
                "name": "n0",
                "accelerators": {"type": "h100-sxm", "count": 4},
                "memory": {"dram": {"bandwidth_gb_s": 100, "latency_ns": 90}},
            }
        ],
        "networks": [{"name": "nvlink0", "connects": ["n0.accelerators"], "bandwidth_gb_s": 450, "latency_ns": 1500}],
    },
    "instances": [
        {
            "name": "a",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": "n0[0:2]",
            "engine": {"max_num_seqs": 16, "max_num_batched_tokens": 512, "num_gpu_blocks_override": 400},
        },
        {
            "name": "b",
            "model": "Qwen/Qwen3-32B",
            "accelerators": "n0[2:4]",
            "engine": {"max_num_seqs": 16, "max_num_batched_tokens": 512, "num_gpu_blocks_override": 400},
        },
    ],
}
