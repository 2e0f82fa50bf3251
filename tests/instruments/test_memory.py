"""What a run holds grows by the numbers of each request, not by its tokens, nor by the steps it was in."""

from __future__ import annotations

import tracemalloc

import metronome
import yaml
from metronome.orchestrator.coupling import costs, port
from metronome.orchestrator.instruments import gaps, recorder
from metronome.orchestrator.power import past

from ..conftest import ROOT

#: Bytes of a request: 92 are its columns, the rest what has not settled yet.
MOST = 200
FEW, MANY = 1_500, 4_500


def peak(requests):
    """Bytes, from the first request to the result."""
    scenario = yaml.safe_load((ROOT / "scenarios/quickstart.yaml").read_text())
    scenario["workload"] |= {
        "num_requests": requests,
        "request_rate": 60,
        "burstiness": "inf",
        "input_tokens": {"distribution": "fixed", "mean": 400},
        "output_tokens": {"distribution": "fixed", "mean": 12},
    }
    tracemalloc.start(1)
    metronome.run(scenario)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_a_request_that_is_over_takes_few_bytes(monkeypatch):
    # What is kept of the newest requests and steps alone is as small as their number here.
    monkeypatch.setattr(recorder, "TAKEN_STEPS", 256)
    monkeypatch.setattr(recorder, "TAKEN_REQUESTS", 64)
    monkeypatch.setattr(gaps, "MOST_SINGLE", 1_000)
    monkeypatch.setattr(past, "MOST_ROWS", 1_000)
    monkeypatch.setattr(port, "CACHE_ENTRIES", 500)
    monkeypatch.setattr(costs, "RECENT", 64)
    peak(100)  # modules and tables that are made once
    few, many = (peak(requests) for requests in (FEW, MANY))
    assert (many - few) / (MANY - FEW) <= MOST
