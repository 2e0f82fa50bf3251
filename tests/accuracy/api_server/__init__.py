"""vLLM's API server, measured with a model that sleeps (`measure.py`), against ours.

The CSV files are what `measure.py` printed for vLLM 0.12 and 0.19 with a trained 32,000-token tokenizer
on two cores of an AMD EPYC server; to measure anew an installed vLLM is needed, for any device.
"""

from __future__ import annotations

import csv
from pathlib import Path

from orchestrator.serving.engines import engine_model
from orchestrator.serving.server import ApiServers

from ..rows import Row

PS_PER_MS = 10**9
MEASURED = {"vLLM 0.12": ("vllm-0.12", "vllm-0.11"), "vLLM 0.19": ("vllm-0.19", "vllm-0.19")}  # file, engine


def rows() -> list[Row]:
    """Mean error of a request's way in, and of a step's last token's way out, over all loads."""
    found = []
    for name, (file, version) in MEASURED.items():
        way_in, way_out = [], []
        with (Path(__file__).parent / f"{file}.csv").open() as lines:
            for row in csv.DictReader(lines):
                servers = ApiServers(engine_model(version).server, 1)
                if row["request"]:
                    way_in.append(servers.receive(int(row["prompt_tokens"]), 0) / PS_PER_MS / float(row["request"]) - 1)
                servers = ApiServers(engine_model(version).server, 1)
                way_out.append(servers.deliver(int(row["streams"]), 0) / PS_PER_MS / float(row["last"]) - 1)
        for label, errors in (
            ("a request's way to the engine", way_in),
            ("a step's tokens' way to the client", way_out),
        ):
            found.append(Row(name, f"{label}, mean of {len(errors)}", None, None, sum(errors) / len(errors), None))
            mean = sum(map(abs, errors)) / len(errors)
            found.append(Row(name, f"{label}, mean of absolute values", None, None, mean, None))
    return found
