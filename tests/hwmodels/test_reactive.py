"""A memory by the base that reacts to events, as one would write it: asked, stepped, and stopped at a completion."""

from __future__ import annotations

import metronome
import pytest
from metronome.hwmodels.base import Config
from metronome.hwmodels.interface import MAX_PS, Description, Operation, Template, TimePolicy
from metronome.hwmodels.reactive import ReactiveModel


class Figures(Config):
    bandwidth_gb_s: float = 1000


class Queue(ReactiveModel[Figures]):
    """First come, first served."""

    description = Description("queue", "memory", "1", TimePolicy.CONSERVATIVE, frozenset({"read", "write"}))
    _free_ps = 0

    def started(self, operation):
        took = max(1, round(operation.values[0] / self.config.bandwidth_gb_s * 1000))
        self._free_ps = max(self._free_ps, self.now_ps) + took
        self.complete(operation.op_id, self.now_ps, self._free_ps)


def test_it_stops_at_a_completion_wherever_its_grant_ends():
    """Whatever is granted: no more has been until then, so another operation may come right after."""
    queue = Queue()
    queue.declare([Template(0, "read", "x", {})])
    done = queue.advance(MAX_PS, [Operation(0, (1000,), 0)], True)
    assert (done.reached_ps, [one.finish_ps for one in done.completions], done.next_event_ps) == (1000, [1000], None)
    done = queue.advance(MAX_PS, [Operation(0, (1000,), 1, 1500), Operation(0, (500,), 2, 1500)], True)
    assert (done.reached_ps, [one.finish_ps for one in done.completions], done.next_event_ps) == (2500, [2500], 3000)


@pytest.mark.filterwarnings("ignore::metronome.orchestrator.errors.NoEffectWarning")  # it has no latency
@pytest.mark.parametrize("place", ["dram", "hbm"])
@pytest.mark.parametrize("run", ["inprocess", "process"])
def test_a_run_with_it_is_one_with_the_reference(small, place, run):
    small["workload"] |= {"num_requests": 2}
    small["cluster"]["nodes"][0]["memory"] = {"dram": {"bandwidth_gb_s": 50, "latency_ns": 0}}
    found = []
    for options in ({"model": f"{__name__}:Queue", "run": run}, {"model": "bandwidth-latency"}):
        small["components"] = {f"n0.{place}": options | ({"bandwidth_gb_s": 1000} if place == "hbm" else {})}
        found.append(list(metronome.run(small).requests))
    assert found[0] == found[1]
