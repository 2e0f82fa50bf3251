"""Logs of servers whose truth is known: a scenario run with factors, written as AIPerf writes it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import metronome
import yaml
from metronome.orchestrator.report.exports import aiperf

#: Saturated, with prompts and contexts of all lengths, on an engine whose device waits for its host.
VARIED: dict[str, Any] = {
    "name": "varied",
    "seed": 5,
    "workload": {
        "format": "synthetic",
        "num_requests": 160,
        "request_rate": 20,
        "input_tokens": {"distribution": "lognormal", "mean": 2000, "sigma": 1.1, "min": 16, "max": 16000},
        "output_tokens": {"distribution": "lognormal", "mean": 200, "sigma": 0.8, "min": 2, "max": 1000},
    },
    "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 1}}]},
    "instances": [
        {
            "name": "chat",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": "n0[0]",
            "engine": {"version": "vllm-0.11", "max_num_seqs": 128, "max_num_batched_tokens": 2048},
        }
    ],
}


def spaced(sigma: float) -> dict[str, Any]:
    """One request after another, whose prompts and answers are of lengths so far apart (0: of one)."""
    scenario = deepcopy(VARIED)
    scenario["workload"] |= {
        "num_requests": 40,
        "request_rate": 0.2,
        "input_tokens": {"mean": 512, "sigma": sigma},
        "output_tokens": {"mean": 24, "sigma": sigma},
    }
    scenario["instances"][0]["engine"]["version"] = "vllm-0.19"
    return scenario


def busy(sigma: float) -> dict[str, Any]:
    """The same, many at a time: who meets whom differs, and so do the requests."""
    scenario = spaced(sigma)
    scenario["workload"] |= {"num_requests": 120, "request_rate": 20}
    scenario["workload"]["output_tokens"]["mean"] = 64
    return scenario


def served(scenario: dict[str, Any], factors: dict[str, float], folder: Path) -> tuple[Path, Path]:
    """(log, scenario file): what a server would have logged if these factors were true."""
    result = metronome.run({**scenario, "calibration": {"factors": factors}} if factors else scenario)
    aiperf.write(result, folder / "server")
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario))
    return folder / "server/profile_export.jsonl", path
