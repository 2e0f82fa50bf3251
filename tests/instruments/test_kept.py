"""What is kept of requests and steps that are over says the same as they would, however often they are let go of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from metronome.orchestrator.instruments import gaps, recorder
from metronome.orchestrator.instruments.gaps import Gaps
from metronome.orchestrator.instruments.seconds import EngineRows, Seconds
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import collect
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation


def result(name, whole, *changes):
    scenario, folder = load(name, changes)
    with Simulation(scenario, folder, whole=whole) as simulation:
        simulation.run()
        found = collect(simulation, 0.0, Ending())
    found.metrics["metronome"].pop("wall_s")
    for component in found.metrics["metronome"]["components"].values():
        component.pop("wall_s")
    return found


RUNS = {
    "quickstart": ("workload.num_requests=120", "workload.request_rate=30", "instances.0.engine.api_server_count=2"),
    "prefill-decode": ("workload.num_requests=40",),
    "prefill-decode-layerwise": ("workload.num_requests=30",),
    "pipeline-parallel": ("workload.num_requests=40",),
    "data-parallel": ("workload.num_requests=60",),
    "failover": ("workload.num_requests=120",),
    "shared-prefixes": ("workload.num_requests=100", "instances.0.engine.num_gpu_blocks_override=600"),
}


@pytest.mark.parametrize("name", RUNS)
def test_results_are_those_of_a_run_that_keeps_all(name, monkeypatch):
    monkeypatch.setattr(recorder, "TAKEN_STEPS", 40)
    monkeypatch.setattr(recorder, "TAKEN_REQUESTS", 7)
    whole, lean = (result(name, whole, *RUNS[name]) for whole in (True, False))
    assert json.dumps(lean.metrics) == json.dumps(whole.metrics)
    assert lean.requests == whole.requests and lean.series == whole.series and lean.failures == whole.failures


def test_equal_gaps_are_one_where_there_are_very_many(monkeypatch):
    """Percentiles stay what they were; sums are of the same numbers in another order."""
    changes = RUNS["quickstart"]
    single = result("quickstart", False, *changes)
    monkeypatch.setattr(recorder, "TAKEN_STEPS", 40)
    monkeypatch.setattr(gaps, "MOST_SINGLE", 100)
    merged = result("quickstart", False, *changes)
    for what in ("median", "p90", "p95", "p99"):
        assert merged[f"{what}_itl_ms"] == single[f"{what}_itl_ms"]
    for what in ("mean", "std"):
        assert merged[f"{what}_itl_ms"] == pytest.approx(single[f"{what}_itl_ms"], rel=1e-12)


def test_who_had_a_token_before_it_was_scheduled_is_an_engine_s_mistake():
    times = np.arange(10, dtype=np.int64)
    found = Gaps().extended([(times, times)], [], before_ps=8)
    with pytest.raises(AssertionError, match="before it was scheduled"):
        found.extended([(times[:0], times[:0])], [_State([(0, 2, 9)])], None)


class _State:
    def __init__(self, token_steps):
        self.token_steps = token_steps


def rows(*of):
    """(end in s, lane, running) of each."""
    ends, lanes, running = (np.array(column, dtype=np.int64) for column in zip(*of, strict=True))
    columns = np.zeros((6, len(of)), dtype=np.int64)
    columns[1], columns[2] = 1, running
    return EngineRows(ends * 10**12, lanes, columns)


def test_an_engine_stands_as_its_last_lane_did_also_if_that_was_known_first():
    of = (1, 0, 5), (3, 1, 7), (3, 0, 9), (6, 0, 2)
    at_once = Seconds().extended([rows(*of)]).binned(1, 6)
    assert at_once["running"].tolist() == [5, 5, 7, 7, 7, 2]
    found = Seconds()
    for one in of:
        found = found.extended([rows(one)])
    for name, column in found.binned(1, 6).items():
        assert column.tolist() == at_once[name].tolist()
    assert found.binned(2, 3)["output_tokens"].tolist() == [1, 2, 1]


def test_states_are_kept_only_where_they_are_wanted():
    scenario, folder = load("quickstart", ("workload.num_requests=3",))
    with Simulation(scenario, folder, whole=False) as simulation:
        simulation.run()
        assert simulation.recorder.over == len(simulation.recorder.so_far().requests) == 3
        with pytest.raises(AssertionError, match="so_far"):
            _ = simulation.recorder.done
