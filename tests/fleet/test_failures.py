"""Instances that fail: every request ends once, nothing stays behind, and the same scenario fails the same way."""

from __future__ import annotations

from copy import deepcopy

import metronome
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError, StalledError
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.simulation import Simulation

REPLICAS = {
    "workload": {
        "format": "synthetic",
        "num_requests": 40,
        "request_rate": 40,
        "input_tokens": {"mean": 300, "max": 900},
        "output_tokens": {"mean": 40, "max": 120},
    },
    "cluster": {
        "nodes": [{"name": f"n{i}", "accelerators": {"type": "h100-sxm", "count": 2}} for i in range(2)],
        "networks": [{"name": "net", "connects": ["n0.accelerators", "n1.accelerators"], "type": "infiniband-ndr"}],
    },
    "instances": [
        {
            "name": "chat",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": ["n0[0:2]", "n1[0:2]"],
            "replicas": 4,
            "tensor_parallel_size": 1,
            "engine": {"max_num_seqs": 8, "max_model_len": 4096},
        }
    ],
    "start_up": {"base_s": 0.4},
}


def served(scenario, folder):
    """The run, which must have come to its end with nothing left anywhere."""
    with Simulation(Scenario.model_validate(scenario), folder) as simulation:
        simulation.run()
        for replica in simulation.replicas:
            assert replica.engine.used_blocks == 0 and replica.load == (0, 0) and not replica.requests(), replica.name
        if simulation.connector is not None:
            assert not simulation.connector.open
        ids = sorted(
            [s.request.id for s in simulation.recorder.done] + [f.state.request.id for f in simulation.recorder.failed]
        )
        assert ids == list(range(simulation.dispatcher.arrived))
        for state in simulation.recorder.done:  # its tokens came while it was there, in steps of the engine's last life
            times = [simulation.recorder.logs[log].delivered_ps[a:b] for log, a, b in state.token_steps]
            times = [time for some in times for time in some]
            assert len(times) == state.request.output_tokens
            assert state.first_token_ps == times[0] and times[-1] == state.end_ps
        return simulation


def apart(scenario, engine="vllm-0.19", connector="nixl", mode="pull", granularity="whole"):
    """Two prefill and two decode instances."""
    one = scenario["instances"][0]
    one.pop("replicas")
    scenario["instances"] = [
        {**one, "name": f"{role}-{i}", "role": role, "accelerators": f"n{number}[{i}]"}
        for number, role in enumerate(("prefill", "decode"))
        for i in range(2)
    ]
    scenario["kv_transfer"] = {"connector": connector, "mode": mode, "granularity": granularity}


times = st.floats(0, 2, allow_nan=False)
kinds = st.one_of(
    st.tuples(st.just("instance"), st.integers(0, 3)),
    st.tuples(st.just("node"), st.integers(0, 1)),
    st.just(("instance", "*")),
)
failures = st.lists(st.tuples(kinds, times, st.floats(0, 1), st.booleans()), min_size=1, max_size=4)


def described(drawn, names):
    found = []
    for (kind, which), at, repair, random in drawn:
        name = "*" if which == "*" else names[which] if kind == "instance" else f"n{which}"
        when = {"mtbf_s": 1 + at} if random else {"at_s": at}
        found.append({kind: name, "repair_s": repair, **when})
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failures, st.sampled_from(["vllm-0.19", "vllm-0.11", "sglang-0.5.5"]), st.integers(0, 9), st.integers(0, 2))
def test_every_request_ends_once_whatever_fails(tmp_path, drawn, engine, seed, retries):
    scenario = deepcopy(REPLICAS)
    scenario |= {"seed": seed, "on_failure": {"retry_s": 0.05, "max_retries": retries}}
    scenario["instances"][0]["engine"]["version"] = engine
    scenario["failures"] = described(drawn, [f"chat-{i}" for i in range(4)])
    simulation = served(scenario, tmp_path)
    dispatcher = simulation.dispatcher
    assert dispatcher.lost == dispatcher.retried + len(simulation.recorder.failed)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    failures,
    st.sampled_from(
        [
            ("nixl", "pull", "whole"),
            ("nixl", "push", "layer"),
            ("distserve", "push", "whole"),
            ("distserve", "pull", "whole"),
        ]
    ),
    st.integers(0, 9),
)
def test_prefill_and_decode_instances_may_fail_too(tmp_path, drawn, transfer, seed):
    scenario = deepcopy(REPLICAS)
    apart(scenario, "vllm-0.19", *transfer)
    scenario |= {"seed": seed, "on_failure": {"retry_s": 0.0}}
    scenario["failures"] = described(drawn, [one["name"] for one in scenario["instances"]])
    served(scenario, tmp_path)


def test_the_same_scenario_fails_the_same_way_and_none_is_as_if_there_were_no_failures(tmp_path):
    scenario = deepcopy(REPLICAS)
    plain = metronome.run(scenario)
    late = metronome.run(scenario | {"failures": [{"at_s": 1000, "node": "n0"}, {"mtbf_s": 1e6, "instance": "chat-*"}]})
    assert late.requests == plain.requests and late.metrics["duration"] == plain.metrics["duration"]
    failing = scenario | {"failures": [{"mtbf_s": 1, "instance": "chat-*", "repair_s": 0.1}]}
    one, other = metronome.run(failing), metronome.run(failing)
    assert one.requests == other.requests and one.series == other.series
    assert one["metronome"]["availability"]["lost"] > 0 and one.requests != plain.requests


def test_what_fails_starts_with_a_cold_cache_when_its_weights_are_there(tmp_path):
    """16.06 GB of weights at 8 GB/s after a repair of 1 s and a process of 0.5 s."""
    scenario = deepcopy(REPLICAS) | {"start_up": {"base_s": 0.5, "weights_gb_s": 8}}
    scenario["workload"] |= {"num_requests": 200}
    scenario["failures"] = [{"at_s": 0.2, "accelerator": "n1[0]", "repair_s": 1}]
    found = metronome.run(scenario)["metronome"]["availability"]["instances"]
    assert found["chat-2"]["failed_s"] == 1 and found["chat-2"]["failures"] == 1
    assert found["chat-2"]["starting_s"] == pytest.approx(0.5 + 2 * 8.03e9 / 8e9, rel=1e-3)
    assert [one["failures"] for one in found.values()] == [0, 0, 1, 0]


def test_a_slow_component_takes_as_much_longer_as_it_says(tmp_path):
    scenario = deepcopy(REPLICAS)
    scenario["instances"][0] |= {"replicas": 1, "accelerators": "n0[0]"}
    scenario["workload"] = {
        "format": "synthetic",
        "num_requests": 1,
        "request_rate": 1,
        "input_tokens": {"distribution": "fixed", "mean": 100},
        "output_tokens": {"distribution": "fixed", "mean": 50},
    }
    scenario["instances"][0]["engine"]["version"] = "ideal"
    fast = metronome.run(scenario)
    scenario["failures"] = [{"at_s": 0, "component": "n0.accelerators", "slowdown": 3, "repair_s": 1000}]
    slow = metronome.run(scenario)
    assert slow["mean_tpot_ms"] == pytest.approx(3 * fast["mean_tpot_ms"], rel=1e-6)


def test_what_is_never_repaired_and_needed_is_said(tmp_path):
    scenario = deepcopy(REPLICAS)
    scenario["failures"] = [{"at_s": 0.1, "instance": "*", "repair_s": 9e6}]
    scenario["start_up"] = {"base_s": 9e6}
    with pytest.raises(StalledError, match="no instance serves, and [0-9]+ wait"):
        metronome.run(scenario)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"failures": [{"instance": "chat-0"}]}, "give at_s or mtbf_s"),
        ({"failures": [{"at_s": 1, "mtbf_s": 2, "instance": "chat-0"}]}, "give at_s or mtbf_s"),
        ({"failures": [{"at_s": 1}]}, "give one of instance, accelerator, node, component"),
        ({"failures": [{"at_s": 1, "component": "net"}]}, "component and slowdown .or down. go together"),
        ({"failures": [{"at_s": 1, "component": "net", "slowdown": 2, "down": True}]}, "give slowdown or down"),
        ({"failures": [{"at_s": 1, "instance": "chat-0", "links": "x"}]}, "links are those of a component"),
        ({"failures": [{"at_s": 1, "component": "n0.accelerators", "down": True}]}, "can only be slow as a whole"),
        (
            {"failures": [{"at_s": 1, "component": "n0.accelerators", "slowdown": 2, "links": "x"}]},
            "failures.0.links.*can only be slow as a whole",
        ),
        ({"failures": [{"at_s": 1, "component": "net", "down": True, "links": "n0.nic0->swich"}]}, "did you mean 'n"),
        ({"failures": [{"at_s": 1, "component": "nett", "slowdown": 2}]}, "did you mean 'net'"),
        ({"failures": [{"at_s": 1, "instance": "chat-9"}]}, "did you mean 'chat-"),
        ({"failures": [{"at_s": 1, "node": "n00"}]}, "did you mean 'n0'"),
        ({"failures": [{"at_s": 1, "accelerator": "n0[2]"}]}, "must be one of n0"),
        ({"failures": [{"at_s": 1, "instance": "chat-0"}], "start_up": None}, "start_up: .*is missing"),
        ({"failures": [{"at_s": 1, "node": "n00"}], "start_up": None}, "did you mean 'n0'"),
        ({"router": {"policy": "least-loaded", "max_waiting": 0}}, "max_waiting"),
    ],
)
def test_what_cannot_be_is_one_message(change, message):
    with pytest.raises(InputError, match=message):
        metronome.run(deepcopy(REPLICAS) | change)


def test_it_replays_and_goes_back(tmp_path, cli):
    scenario = deepcopy(REPLICAS) | {"failures": [{"mtbf_s": 1, "instance": "chat-*", "repair_s": 0.1}]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    done = cli("replay", tmp_path / "a", "-o", tmp_path / "b", "--quiet")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a/requests.csv").read_bytes() == (tmp_path / "b/requests.csv").read_bytes()
