"""Decode steps of real vLLM on H100 at many batch sizes (ML.ENERGY leaderboard) against the roofline.

A run there keeps as many requests in flight as may run (`max_num_seqs`), and so does this. Prompt lengths are not
published. Where the KV cache was full they follow from the mean batch: Llama-3.1-8B with 768 sequences had 691 in about
434,000 tokens, 629 each, of which 0.6 of a mean answer of 397; Qwen3-8B 814, of an answer of 645: prompts of 390 to 430.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .rows import Row, mean_rows
from .serving import command

#: their model -> (bundled model, tensor-parallel size)
MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": ("meta-llama/Llama-3.1-8B", 1),
    "meta-llama/Llama-3.1-70B-Instruct": ("meta-llama/Llama-3.1-70B", 4),
    "Qwen/Qwen3-32B": ("Qwen/Qwen3-32B", 2),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": ("Qwen/Qwen3-30B-A3B-Instruct-2507", 1),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Median time between tokens, ms, of one batch size; ``relative`` is the result's error bar."""

    model: str
    sequences: int
    real: float
    simulated: float
    relative: float


@cache
def simulated(data: Path, folder: Path) -> list[Step]:
    """All batch sizes of all models."""
    measured = json.loads((data / "mlenergy/lm-arena-chat_H100.json").read_text())
    found = []
    for name, (model, tp) in MODELS.items():
        for run in measured:
            if run["model_id"] == name and run["num_gpus"] == run["tensor_parallel"] == tp:
                itl, relative = simulated_itl_ms(model, run, folder)
                found.append(Step(f"{model}, TP {tp}", run["max_num_seqs"], run["median_itl_ms"], itl, relative))
    return found


def rows(data: Path, folder: Path) -> list[Row]:
    """Mean error, and mean absolute error, of the median time between tokens over all batch sizes of a model."""
    by_model: dict[str, list[Step]] = {}
    for step in simulated(data, folder):
        by_model.setdefault(step.model, []).append(step)
    found = []
    for label, some in by_model.items():
        sizes = [step.sequences for step in some]
        which = f"{len(some)} batch sizes, {min(sizes)} to {max(sizes)}"
        found += mean_rows(label, which, [step.simulated / step.real - 1 for step in some])
    return found


def simulated_itl_ms(model: str, run: dict[str, Any], folder: Path) -> tuple[float, float]:
    """And its error bar."""
    result = simulated_run(model, run, folder)
    return result["median_itl_ms"], result["metronome"]["error_bars"]["relative"]


def simulated_run(model: str, run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The result of a run like one of theirs."""
    tp, sequences = run["tensor_parallel"], run["max_num_seqs"]
    network = {"name": "nvlink", "connects": ["n0.accelerators"], "type": "nvlink4"}
    engine = {"version": "vllm-0.11", "max_num_seqs": sequences, "max_num_batched_tokens": 8192, "max_model_len": 8192}
    engine["sampling"] = "top-p"  # as the models' generation configs say, which the server follows
    scenario = {
        "workload": {
            "format": "synthetic",
            "num_requests": 4 * sequences + 8,
            "request_rate": "inf",
            "max_concurrency": sequences,
            "input_tokens": {"distribution": "lognormal", "mean": 400, "sigma": 0.6, "max": 2000},
            "output_tokens": {"distribution": "lognormal", "mean": run["avg_output_len"], "sigma": 0.5, "max": 4000},
        },
        "cluster": {
            "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": tp}}],
            "networks": [network],
        },
        "instances": [
            {"name": "i0", "model": model, "accelerators": f"n0[0:{tp}]", "tensor_parallel_size": tp, "engine": engine}
        ],
    }
    path = folder / "steps.yaml"
    path.write_text(yaml.safe_dump(scenario))
    command("run", path, "-o", folder / "steps", "--quiet")
    found: dict[str, Any] = json.loads((folder / "steps/result.json").read_text())
    return found
