"""What is kept of seconds that are over gives the energy, and the series, that all rows of steps would."""

from __future__ import annotations

import numpy as np
import pytest
from metronome.orchestrator.instruments import recorder
from metronome.orchestrator.power import past
from metronome.orchestrator.power.ledger import Ledger
from metronome.orchestrator.report.results import booked
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

PARTS = [f"cluster.nodes.0.power.{part}" for part in ("parts.cpu.idle_w=50", "parts.cpu.busy_w=350", "standby_s=0.02")]
PARTS += ["cluster.nodes.0.power.psu_efficiency=0.9"]
RUNS = {
    "quickstart": (*PARTS, "workload.num_requests=80"),
    "prefill-decode-two-nodes": ("workload.num_requests=60",),
    "pipeline-parallel": (*PARTS, "workload.num_requests=60"),
    "data-parallel": (*PARTS, "workload.num_requests=80"),
    "failover": (*PARTS, "workload.num_requests=150"),
}


def ledger(name, whole, monkeypatch) -> Ledger:
    """``whole``: of all rows."""
    monkeypatch.setattr(past, "MOST_ROWS", 10**9 if whole else 100)
    scenario, folder = load(name, RUNS[name])
    with Simulation(scenario, folder, whole=whole) as simulation:
        simulation.run()
        assert (simulation.books.past.closed_ps > 0) is not whole
        return booked(simulation)


@pytest.mark.parametrize("name", RUNS)
def test_closed_books_say_the_same(name, monkeypatch):
    monkeypatch.setattr(recorder, "TAKEN_STEPS", 60)
    whole, closed = (ledger(name, way, monkeypatch) for way in (True, False))
    assert sum(len(one.since_ps) for one in closed.accounts) < sum(len(one.since_ps) for one in whole.accounts)
    assert closed.total_j == pytest.approx(whole.total_j, rel=1e-12)
    parts = closed.by_part()
    for node, mine in whole.by_part().items():
        assert parts[node] == pytest.approx(mine, rel=1e-9), node
    np.testing.assert_allclose(closed.joules(), whole.joules(), rtol=1e-9)
