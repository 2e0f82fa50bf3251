"""Steps done at once: what comes out is what comes out step by step."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.orchestrator.instruments.recorder import StepLog
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.serving.loop import StepLoop
from metronome.orchestrator.simulation import Simulation

from ..small import SMALL


class EveryEvent:
    """Wants to be told of every event, so that every step is one."""

    def event(self, event: object) -> None:
        pass


@pytest.fixture
def leapt(monkeypatch):
    """Steps that were done several at once."""
    counts = [0]
    take = StepLoop._take

    def counting(self, leap, done):
        counts[0] += max(0, done - leap.done)
        take(self, leap, done)

    monkeypatch.setattr(StepLoop, "_take", counting)
    return counts


def outcome(scenario: Scenario, folder: Any, *instruments: object) -> dict[str, Any]:
    """All that a run leaves behind."""
    with Simulation(scenario, folder, instruments=instruments) as simulation:
        simulation.run()
        found: dict[str, Any] = {"events": simulation.kernel.events, "end": simulation.kernel.now_ps}
        for number, log in enumerate(simulation.recorder.logs):
            found |= {f"{number}.{column.name}": list(getattr(log, column.name)) for column in fields(StepLog)}
        for state in simulation.recorder.done:
            steps = state.token_steps, state.num_preemptions, state.num_cached_tokens, state.place
            found[f"request {state.request.id}"] = state.scheduled_ps, state.first_token_ps, state.end_ps, *steps
        found["failed"] = [(one.state.request.id, one.reason, one.time_ps) for one in simulation.recorder.failed]
        found["changes"] = simulation.recorder.changes
        for spec in simulation.specs:
            found[spec.name] = vars(simulation.ports.usage(spec.name))
        for replica in simulation.replicas:
            found[replica.name] = replica.engine.view(), replica.engine.internals()
        return found


def assert_same(scenario: Scenario, folder: Any = None) -> None:
    at_once, one_by_one = outcome(scenario, folder), outcome(scenario, folder, EveryEvent())
    for name, value in one_by_one.items():
        assert at_once[name] == value, name
    assert at_once.keys() == one_by_one.keys()


def small(**changes: Any) -> dict[str, Any]:
    data = copy.deepcopy(SMALL)
    data["workload"]["request_rate"] = 8
    for path, value in changes.items():
        *parts, last = path.split("__")
        at: Any = data
        for part in parts:
            at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
        at[last] = value
    return data


def of(data: dict[str, Any]) -> Scenario:
    return Scenario.model_validate(data)


@pytest.mark.parametrize(
    "name", ["quickstart", "slow-link", "failover", "heterogeneous", "tensor-parallel", "expert-parallel"]
)
def test_bundled_scenarios(name, leapt):
    scenario, folder = load(name, {"workload.num_requests": 60})
    assert_same(scenario, folder)
    assert leapt[0] > 200


ENGINE = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["vllm-0.19", "vllm-0.33", "vllm-0.11", "ideal"]),
        "max_num_seqs": st.sampled_from([2, 8, 32]),
        "num_gpu_blocks_override": st.sampled_from([150, 200, 1000]),
        "block_size": st.sampled_from([16, 32]),
        "max_model_len": st.just(2048),
        "enable_prefix_caching": st.booleans(),
    }
)
WORLD = st.fixed_dictionaries(
    {
        "router": st.sampled_from(["round-robin", "least-loaded", "prefix-aware", "pd-aware", "random"]),
        "request_rate": st.sampled_from([3, 12, 60]),
        "servers": st.sampled_from([0, 1, 2]),
        "report_period_s": st.sampled_from([None, 0.05]),
        "max_concurrency": st.sampled_from([None, None, 6]),
        "failures": st.sampled_from(
            [
                [],
                [{"at_s": 0.7, "instance": "a", "repair_s": 0.3}],
                [{"at_s": 0.4, "component": "n0.accelerators", "slowdown": 2.5, "repair_s": 0.6}],
            ]
        ),
        "abort_after_s": st.sampled_from([None, 0.2, 1.5]),
        "split": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENGINE, WORLD)
def test_whatever_happens_on_the_way(engine, world):
    data = small(workload__request_rate=world["request_rate"], router={"policy": world["router"]})
    data["seed"], data["failures"] = world["seed"], world["failures"]
    data["start_up"] = {"base_s": 0.2, "weights_gb_s": 100}
    data["workload"]["num_requests"] = 24
    if world["report_period_s"]:
        data["router"]["report_period_s"] = world["report_period_s"]
    if world["abort_after_s"]:
        data["workload"]["abort_after_s"] = world["abort_after_s"]
    if world["max_concurrency"]:
        data["workload"]["max_concurrency"] = world["max_concurrency"]
    for instance in data["instances"]:
        instance |= {"model": "meta-llama/Llama-3.1-8B"}
        instance["engine"] = {**instance["engine"], **engine, "api_server_count": world["servers"]}
    if world["split"]:
        for instance, role in zip(data["instances"], ("prefill", "decode"), strict=True):
            instance["role"] = role
    assert_same(of(data))


GROUP = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["vllm-0.19", "vllm-0.11", "ideal"]),
        "max_num_seqs": st.sampled_from([2, 8, 64]),
        "num_gpu_blocks_override": st.sampled_from([150, 1000]),
        "max_model_len": st.just(2048),
        "api_server_count": st.sampled_from([0, 1, 2]),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    engine=GROUP,
    rate=st.sampled_from([1, 6, 40]),
    policy=st.sampled_from(["internal-lb", "least-loaded", "round-robin", "random"]),
    abort_after_s=st.sampled_from([None, 0.5]),
    failures=st.sampled_from(
        [
            [],
            [{"at_s": 0.7, "instance": "chat", "repair_s": 0.3}],
            [{"at_s": 0.4, "component": "n0.accelerators", "slowdown": 2.5, "repair_s": 0.6}],
        ]
    ),
    seed=st.integers(0, 1000),
)
def test_ranks_that_step_together(engine, rate, policy, abort_after_s, failures, seed):
    """Some of which have nothing to do at times; their loads are told after every step."""
    changes: dict[str, Any] = {
        "seed": seed,
        "failures": failures,
        "start_up": {"base_s": 0.2, "weights_gb_s": 1000},
        "router": {"policy": policy},
        "instances.0.engine": engine,
        "workload.num_requests": 24,
        "workload.request_rate": rate,
        "workload.input_tokens": {"mean": 100, "max": 400},
        "workload.output_tokens": {"mean": 100, "max": 400},
    }
    if abort_after_s:
        changes["workload.abort_after_s"] = abort_after_s
    assert_same(*load("expert-parallel", changes))


@pytest.mark.parametrize("at_s", [0.35, 0.5, 0.8, 1.3])
def test_what_gets_slow_is_slow_from_the_next_stretch_on(at_s):
    """Also in the midst of a step, which has several where ranks step together."""
    slow = [{"at_s": at_s, "component": "n0.accelerators", "slowdown": 4, "repair_s": 0.2}]
    assert_same(*load("expert-parallel", {"workload.num_requests": 6, "workload.request_rate": 4, "failures": slow}))


def test_nobody_is_computed_for_once_all_are_given_up(leapt):
    """The step that is scheduled already is the last one, however many would be certain."""
    data = small(workload__abort_after_s=0.2, workload__num_requests=20, workload__request_rate=4)
    data["instances"][0]["model"] = "meta-llama/Llama-3.1-8B"
    scenario = of({**data, "instances": data["instances"][:1]})
    assert_same(scenario)
    assert leapt[0] > 100


@pytest.mark.parametrize("blocks", [1200, 6000])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_blocks_of_many_are_handed_out_together(named, late, blocks, leapt):
    """At a block's edge; used before or not, found by their names or not, which are given at once or a step later."""
    changes: dict[str, Any] = {
        "workload.num_requests": 400,
        "workload.request_rate": 4000,
        "workload.input_tokens": {"mean": 40, "max": 80},
        "workload.output_tokens": {"mean": 120, "min": 90, "max": 150},
        "workload.shared_prefix": {"groups": 3, "tokens": 32} if named else None,
    }
    for place in (0, 1):
        engine = {"max_num_seqs": 128, "num_gpu_blocks_override": blocks, "max_model_len": 2048}
        changes[f"instances.{place}.engine"] = {**engine, "async_scheduling": late}
    assert_same(*load("quickstart", changes))
    assert leapt[0] > 100
