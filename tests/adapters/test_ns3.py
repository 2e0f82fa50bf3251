"""ns-3 as the network: what it carries, how it shares, how it fails."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.adapters.ns3 import Ns3
from metronome.adapters.ns3.messages import messages
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.interface import MAX_PS, ConfigError, LateOperation, Operation, Template, UnsupportedOperation
from metronome.hwmodels.network.alpha_beta import AlphaBeta
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

from ..conftest import need_tool
from .contract import keeps_the_contract

FLAT = {"groups": [{"name": "n0", "count": 4}], "bandwidth_gb_s": 12.5, "latency_ns": 1000}
NODES = {
    "groups": [{"name": "n0", "count": 2}, {"name": "n1", "count": 2}],
    "bandwidth_gb_s": 100,
    "latency_ns": 500,
    "scale_out": {"bandwidth_gb_s": 12.5, "latency_ns": 2000, "nics_per_node": 1},
}
SIZES = st.integers(1, 10**7)


@pytest.fixture
def tool():
    need_tool("ns3")


def operation(kind, ranks, number=0):
    return Template(number, kind, kind, {"participants": ranks.count(",") + 1, "ranks": ranks})


def network(config, *templates):
    model = Ns3(config)
    model.declare(templates)
    return model


@given(
    st.sampled_from(["all_reduce", "reduce_scatter", "all_gather", "broadcast", "all_to_all"]), st.integers(2, 9), SIZES
)
def test_messages_move_what_the_operation_says(kind, ranks, size):
    """Of a byte's way nothing is lost: each rank gets what the algorithm owes it, up to a byte a message."""
    found = messages(kind, ranks, size)
    received = [sum(m.bytes for m in found if m.target == rank) for rank in range(ranks)]
    owed = {
        "all_reduce": 2 * size * (ranks - 1) / ranks,
        "reduce_scatter": size * (ranks - 1) / ranks,
        "all_gather": size * (ranks - 1),
        "broadcast": size,
        "all_to_all": size * (ranks - 1) / ranks,
    }[kind]
    for rank, got in enumerate(received):
        if kind != "broadcast" or rank:
            assert abs(got - owed) <= 2 * ranks
    for i, message in enumerate(found):
        assert message.after < i
        assert message.after == -1 or found[message.after].target == message.source


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send", "broadcast"])
@pytest.mark.parametrize("size", [1 << 22, 1 << 24])
def test_alone_at_large_sizes_it_is_alpha_beta(tool, kind, size):
    """Within 5 %: headers, packets that are stored before they are forwarded, dependent steps."""
    template = operation(kind, "n0.0,n0.1,n0.2,n0.3")
    (done,) = network(FLAT, template).advance(MAX_PS, [Operation(0, (size,))], True).completions
    model = AlphaBeta({"bandwidth_gb_s": 12.5, "latency_ns": 1000})
    assert done.finish_ps == pytest.approx(model.estimate(template, (size,)).duration_ps, rel=0.05)


@pytest.mark.parametrize("kind", ["send", "all_reduce"])
def test_two_tenants_share_an_adapter_fairly(tool, kind):
    model = network(NODES, operation(kind, "n0.0,n1.0"), operation(kind, "n0.1,n1.1", 1))
    size = (1 << 23,)
    alone = model.advance(MAX_PS, [Operation(0, size)], True).reached_ps
    both = model.advance(alone + 10**12, [Operation(0, size, 1, alone), Operation(1, size, 2, alone)]).completions
    for done in both:
        assert done.finish_ps - alone == pytest.approx(2 * alone, rel=0.05)


def test_one_that_joins_halfway_slows_the_other_from_then_on(tool):
    """Fair sharing: the first loses half its rate for its second half; the newcomer gains it back at its end."""
    model = network(NODES, operation("send", "n0.0,n1.0"), operation("send", "n0.1,n1.1", 1))
    size = 1 << 25  # far more than is in flight
    alone = model.advance(MAX_PS, [Operation(0, (size,))], True).reached_ps
    now = alone
    first = model.advance(now + alone // 2, [Operation(0, (size,), 1, now)])
    assert not first.completions
    done = model.advance(now + 10**12, [Operation(1, (size,), 2, now + alone // 2)]).completions
    ends = {c.op_id: c.finish_ps - now for c in done}
    assert ends[1] == pytest.approx(1.5 * alone, rel=0.05)
    assert ends[2] == pytest.approx(2 * alone, rel=0.05)


def test_shallow_queues_lose_packets_and_take_longer(tool):
    everybody = operation("send", "n0.0,n0.3,n0.1,n0.3,n0.2,n0.3")
    ends = [
        network({**FLAT, "queue_packets": depth}, everybody)
        .advance(MAX_PS, [Operation(0, (1 << 20,))], True)
        .reached_ps
        for depth in (100_000, 20)
    ]
    assert ends[1] > 1.2 * ends[0]


def test_smaller_packets_carry_more_headers(tool):
    template = operation("send", "n0.0,n0.1")
    ends = [
        network({**FLAT, "mtu": mtu}, template).advance(MAX_PS, [Operation(0, (1 << 22,))], True).reached_ps
        for mtu in (9000, 1500)
    ]
    assert 1.02 < ends[1] / ends[0] < 1.06


@pytest.mark.parametrize("config", [FLAT, NODES], ids=["flat", "two nodes"])
def test_it_keeps_the_contract(tool, config, tmp_path):
    keeps_the_contract(Ns3, {**config, "groups": [{"name": "n0", "count": 4}]}, tmp_path)


@pytest.mark.parametrize(
    "layout",
    [
        {"topology": "torus", "dims": [2, 2]},
        {"topology": "ring"},
        {"topology": "fully-connected"},
        {"type": "pcie5-x16", "topology": "pcie"},
    ],
)
def test_every_layout_of_a_scenario_can_be_built(tool, layout):
    template = operation("all_reduce", "n0.0,n0.1,n0.2,n0.3")
    (done,) = network({**FLAT, **layout}, template).advance(MAX_PS, [Operation(0, (1 << 20,))], True).completions
    assert done.finish_ps > 0


def test_what_it_cannot_do_is_refused(tool):
    with pytest.raises(UnsupportedOperation, match=r"n9.0 is not among"):
        network(FLAT, operation("send", "n0.0,n9.0"))
    model = network(FLAT, operation("send", "n0.0,n0.1"))
    model.advance(10**9, [])
    with pytest.raises(LateOperation):
        model.advance(10**10, [Operation(0, (10,), 0, 5)])


def test_a_setting_it_does_not_know_is_a_message(tool):
    model = network(FLAT, operation("send", "n0.0,n0.1"))
    with pytest.raises(ToolFailure, match="says: no such command: dance"):
        model._tool.ask("dance", "a dance")


def test_without_the_tool_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("METRONOME_TOOLS", str(tmp_path))
    with pytest.raises(ConfigError, match="metronome tools install ns3"):
        Ns3(FLAT)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; print('out of packets'); sys.exit(134)", "exited with code 134"),
        ("import time; print('out of packets', flush=True); time.sleep(60)", "did not answer within 2 s"),
        ("print('out of packets'); print('= soup')", "soup"),
    ],
)
def test_a_tool_that_fails_is_named(code, why, tmp_path):
    fake = tmp_path / "ns3"
    fake.write_text(f"#!{sys.executable}\n{code}\n")
    fake.chmod(0o755)
    model = Ns3({**FLAT, "program": str(fake), "timeout_s": 2})
    model.declare([operation("send", "n0.0,n0.1")])
    with pytest.raises(ToolFailure, match=rf"(?s)ns3, .*{why}"):
        model.advance(10**12, [Operation(0, (10,))], True)


def test_in_a_scenario_two_runs_are_equal(tool, cli, tmp_path):
    overrides = (
        "--set",
        "components.ethernet.model=ns3",
        "--set",
        "components.ethernet.run=process",
        "--set",
        "workload.num_requests=2",
        "--set",
        "workload.output_tokens.max=6",
    )
    for name in ("a", "b"):
        done = cli("run", "shared-uplink", "--quiet", "-o", tmp_path / name, *overrides)
        assert done.exit_code == 0, done.output
    for file in ("requests.csv", "timeseries.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_in_the_fidelity_ladder(tool, cli, tmp_path):
    done = cli(
        "run",
        "shared-uplink",
        "-o",
        tmp_path,
        "--compare-fidelity",
        "ethernet=fabric,ns3",
        "--set",
        "workload.num_requests=2",
        "--set",
        "workload.output_tokens.max=6",
    )
    assert done.exit_code == 0 and "ns3" in done.output, done.output


def test_a_network_that_remembers_is_stepped(tool):
    scenario, folder = load("tensor-parallel", ("components.nvlink.model=ns3",))
    with Simulation(scenario, folder) as simulation:
        specs: list[ComponentSpec] = [spec for spec in simulation.specs if spec.kind == "network"]
        assert simulation.ports.modes(specs[0].name) == "stepped"
