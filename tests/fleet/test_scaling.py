"""How many replicas serve: bounds, patience, policies; what is not let in; what a router is told late."""

from __future__ import annotations

from copy import deepcopy

import metronome
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.serving.fleet.scaling import PoolView, make_policy, proportional
from metronome.orchestrator.source import LiveSource

from .test_failures import REPLICAS, served


def scaled(scenario, **options):
    return scenario | {
        "autoscaling": [
            {"instance": "chat", "period_s": 0.5, "policy": "queue", "target": 1, "scale_down_after_s": 1, **options}
        ]
    }


def busy(seconds=6):
    """A burst, then hardly anything."""
    scenario = deepcopy(REPLICAS)
    scenario["workload"] |= {"num_requests": 200, "request_rate": 60}
    scenario["instances"][0]["engine"]["max_num_seqs"] = 2
    return scenario


def instances(result):
    return result.series["instances"]


def test_a_queue_starts_replicas_and_they_take_time_to_start(tmp_path):
    result = metronome.run(scaled(busy()) | {"start_up": {"base_s": 1}})
    first = instances(result)[0]
    assert first == 1 and max(instances(result)) == 4
    found = result["metronome"]["availability"]["instances"]
    assert found["chat-1"]["starting_s"] == pytest.approx(1) and found["chat-0"]["serving_s"] > 0
    fixed = metronome.run(busy())
    assert result["mean_ttft_ms"] > fixed["mean_ttft_ms"]  # what four from the start would have spared
    assert result["metronome"]["availability"]["instance_hours"] < 4 * result["metronome"]["simulated_s"] / 3600
    served(scaled(busy()), tmp_path)


def test_fewer_only_when_fewer_were_enough_for_a_while():
    scenario = busy()
    del scenario["workload"]["request_rate"]
    scenario["workload"] |= {
        "num_requests": 260,
        "rates": [{"rate": 60, "duration_s": 3}, {"rate": 2, "duration_s": 1000}],
    }
    patient, hasty = (metronome.run(scaled(scenario, scale_down_after_s=s)) for s in (20, 0))

    def drop(result):
        counts = instances(result)
        top = counts.index(max(counts))
        return next((i for i, count in enumerate(counts) if i > top and count < max(counts)), len(counts)) - top

    assert drop(patient) >= 19 > drop(hasty)
    assert min(instances(hasty)[-5:]) == 1


def test_bounds_hold_and_no_request_is_lost_by_scaling(tmp_path):
    for policy, target in (("queue", 1), ("kv", 0.001), ("slo", 0.9)):
        scenario = scaled(busy(), policy=policy, target=target, min_replicas=2) | {"slo": {"ttft_ms": 100}}
        simulation = served(scenario, tmp_path)
        assert not simulation.recorder.failed
        result = metronome.run(scenario)
        assert min(instances(result)) >= 2 and max(instances(result)) > 2, policy


class OneMore:
    """Of the user's own."""

    def desired(self, pool):
        return pool.serving + pool.starting + 1


def test_a_policy_of_ones_own():
    result = metronome.run(scaled(busy(), policy="tests.fleet.test_scaling:OneMore", target=None))
    assert max(instances(result)) == 4
    with pytest.raises(InputError, match="cannot be loaded"):
        metronome.run(scaled(busy(), policy="tests.fleet.test_scaling:Nobody", target=None))


@given(st.integers(1, 50), st.floats(0, 100), st.floats(0.1, 100))
def test_proportional_is_the_least_that_brings_the_metric_to_its_target(current, metric, target):
    wish = proportional(current, metric, target)
    total = metric * current
    if wish != current:
        assert total / max(wish, 1) <= target * (1 + 1e-9) or not total
        assert wish == 0 or total / target > wish - 1 - 1e-6
    else:
        assert abs(metric / target - 1) <= 0.1 + 1e-9 or total / target > current - 1


def test_the_slo_policy_goes_by_what_ended():
    policy = make_policy("autoscaling.0", "slo", 0.9, 100.0)
    pool = PoolView(0, 3, 0, 5, 5, 0.5, (10.0, 20.0), 100.0)
    assert policy.desired(pool) == 2
    assert policy.desired(PoolView(0, 3, 0, 5, 5, 0.5, (10.0, 80.0), 100.0)) == 3
    assert policy.desired(PoolView(0, 3, 0, 5, 5, 0.5, (10.0, 180.0), 100.0)) == 4
    assert policy.desired(PoolView(0, 3, 1, 5, 5, 0.5, (), 100.0)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instance": "chatt"}, "did you mean 'chat'"),
        ({"min_replicas": 5}, "there are 4 replicas"),
        ({"policy": "kv", "target": 2}, "a share, at most 1"),
        ({"policy": "kv", "target": None}, "needs a target"),
        ({"policy": "slo", "target": 0.5}, "needs slo.ttft_ms"),
        ({"policy": "quue"}, "one of queue, kv, slo"),
    ],
)
def test_what_cannot_be_is_one_message(options, message):
    with pytest.raises(InputError, match=message):
        metronome.run(scaled(busy(), **options))


def test_what_finds_too_many_waiting_is_not_let_in():
    scenario = busy() | {"router": {"policy": "least-loaded", "max_waiting": 2}}
    result = metronome.run(scenario)
    shed = result["metronome"]["availability"]["shed"]
    assert 0 < shed == result["metronome"]["failed"]["shed"] == 200 - result["completed"]
    assert result["p99_ttft_ms"] < metronome.run(busy())["p99_ttft_ms"] / 2
    assert "wait at each of 4 replicas that serve" in result.failures["error"][0]


def test_a_router_that_is_told_late_sends_worse():
    fresh = metronome.run(busy())
    exact = metronome.run(busy() | {"router": {"report_period_s": 0.001}})
    stale = metronome.run(busy() | {"router": {"report_period_s": 2}})
    assert stale["mean_ttft_ms"] > 1.2 * fresh["mean_ttft_ms"]
    assert exact["mean_ttft_ms"] == pytest.approx(fresh["mean_ttft_ms"], rel=0.2)


def test_the_debugger_sees_what_the_router_was_told_and_keeps_it_told_late(tmp_path):
    failing = {"failures": [{"at_s": 0.5, "node": "n1", "repair_s": 1}], "router": {"report_period_s": 2}}
    scenario = metronome.load(busy() | failing)
    with DebugSession.live(scenario, Inputs(tmp_path), LiveSource()) as session:
        session.seek(400)
        told = session.value("router/reported")
        assert session.value("instances/chat-0/state") == "serving"
        assert session.value("instances/chat-3") == {"state": "failed", "broken": 1, "start_ps": 4 * 10**11}
        assert set(told) == {f"chat-{i}" for i in range(4)} and told["chat-0"]["load"] == [0, 0]
        session.set("router/policy", "round-robin")
        assert session.value("router/class") == "RoundRobin" and "reported" in session.value("router")
        session.run()
        assert session.reason.startswith("the run is complete") or session.ended
