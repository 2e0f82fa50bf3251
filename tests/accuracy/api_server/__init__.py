"""vLLM's API server, measured with a model that sleeps (`measure.py`), against ours.

The CSV files are what `measure.py` printed for vLLM 0.12 and 0.19 with a trained 32,000-token tokenizer
on two cores of an AMD EPYC server; to measure anew an installed vLLM is needed, for any device.
"""

from __future__ import annotations

import csv
from pathlib import Path

from metronome.orchestrator.report.metrics import PS_PER_MS
from metronome.orchestrator.serving.api_server import ApiServers
from metronome.orchestrator.serving.host_costs import host_costs

from ..rows import Row, mean_rows

MEASURED = {"vLLM 0.12": ("vllm-0.12", "vllm-0.11"), "vLLM 0.19": ("vllm-0.19", "vllm-0.19")}  # file, engine


def rows() -> list[Row]:
    """Mean error of a request's way in, and of a step's last token's way out, over all loads."""
    found = []
    for name, (file, version) in MEASURED.items():
        server, way_in, way_out = host_costs(version).server, [], []
        with (Path(__file__).parent / f"{file}.csv").open() as lines:
            for row in csv.DictReader(lines):  # each alone, on an idle server
                if row["request"]:
                    there = ApiServers(server, 1).receive(int(row["prompt_tokens"]), 0)
                    way_in.append(there / PS_PER_MS / float(row["request"]) - 1)
                there = ApiServers(server, 1).deliver(int(row["streams"]), 0)
                way_out.append(there / PS_PER_MS / float(row["last"]) - 1)
        found += mean_rows(name, str(len(way_in)), way_in, "a request's way to the engine, ")
        found += mean_rows(name, str(len(way_out)), way_out, "a step's tokens' way to the client, ")
    return found
