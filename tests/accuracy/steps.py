"""Decode steps of real vLLM on H100 at many batch sizes (ML.ENERGY leaderboard) against the roofline.

A run is as that benchmark's harness makes it (github.com/ml-energy/benchmark: `mlenergy/llm/benchmark.py`, and `sweeps.yaml` and
`monolithic.config.yaml` of each model): 1,024 requests, from some batch sizes on two or three times over, are all sent at once
to an HTTP server; tokens are drawn by top-p (0.95, at temperature 0.8: `extra_body` overrides the payload's 0); the engine
schedules asynchronously, as in every one of its configurations that is public (8B to 405B, H100, H200 and B200); and energy is that
of the time in which as many run as may: from the first token of request number `max_num_seqs` to that of the one as far from the
end. Prompts that come again are found in the KV cache.

Prompt lengths are not published; 400 tokens are the mean batch where the KV cache was full: Llama-3.1-8B with 768 sequences had
691 in about 434,000 tokens, 629 each, of which 0.6 of a mean answer of 397.
"""

from __future__ import annotations

import csv
import json
import math
import random
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
#: their model -> {batch size from which on: how often the requests are sent}
REPEATS = {
    "meta-llama/Llama-3.1-8B-Instruct": {256: 2, 768: 3},
    "meta-llama/Llama-3.1-70B-Instruct": {512: 2},
}
REQUESTS = 1024


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
    result = json.loads((simulated_run(model, run, folder) / "result.json").read_text())
    return result["median_itl_ms"], result["metronome"]["error_bars"]["relative"]


def requests_of(run: dict[str, Any]) -> int:
    """How many the harness sends in a run."""
    more = REPEATS.get(run["model_id"], {})
    return REQUESTS * max((times for size, times in more.items() if size <= run["max_num_seqs"]), default=1)


def steady(out: Path, run: dict[str, Any]) -> tuple[float, float]:
    """Seconds from which and to which the harness measures energy."""
    with (out / "requests.csv").open() as file:
        first = sorted((int(row["arrival"]) + int(row["ttft"])) / 1e9 for row in csv.DictReader(file) if row["ttft"])
    return first[run["max_num_seqs"] - 1], first[len(first) - run["max_num_seqs"] - 1]


def simulated_run(model: str, run: dict[str, Any], folder: Path) -> Path:
    """The results of a run like one of theirs; made once."""
    tp, sequences = run["tensor_parallel"], run["max_num_seqs"]
    out = folder / f"{model.replace('/', '-')}-{tp}-{sequences}"
    if (out / "result.json").exists():
        return out
    workload, draw = folder / "steps.jsonl", random.Random(1)
    prompts = [_length(draw, 400, 0.6, 4000) for _ in range(REQUESTS)]
    with workload.open("w") as file:
        for number in range(requests_of(run)):
            first, tokens = number % REQUESTS * 5000, prompts[number % REQUESTS]
            row = {"arrival_time_ns": 0, "input_toks": tokens, "input_tok_ids": list(range(first, first + tokens))}
            row["output_toks"] = _length(draw, run["avg_output_len"], 0.5, 4096)
            file.write(json.dumps(row) + "\n")
    network = {"name": "nvlink", "connects": ["n0.accelerators"], "type": "nvlink4"}
    engine = {"version": "vllm-0.11", "max_num_seqs": sequences, "max_num_batched_tokens": 8192, "max_model_len": 20480}
    engine |= {"sampling": "top-p", "async_scheduling": True, "api_server_count": 1}
    scenario = {
        "workload": {"format": "llmservingsim", "path": workload.name},
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
    command("run", path, "-o", out, "--quiet")
    return out


def _length(draw: random.Random, mean: float, sigma: float, most: int) -> int:
    """Lognormal."""
    return max(1, min(most, round(draw.lognormvariate(math.log(mean) - sigma**2 / 2, sigma))))
