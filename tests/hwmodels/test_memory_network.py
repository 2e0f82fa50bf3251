import pytest
from metronome.hwmodels.interface import ConfigError, Operation, Template, UnsupportedOperation
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.network.alpha_beta import AlphaBeta

READ = Template(0, "read", "r")


def memory(**config):
    model = BandwidthLatency({"bandwidth_gb_s": 1, "latency_ns": 10, **config})
    model.declare([READ])
    return model


def test_transfers_wait_for_one_another():
    answer = memory().advance(10**9, [Operation(0, (100,), 1, 0), Operation(0, (50,), 2, 20_000)])
    assert [(c.start_ps, c.finish_ps) for c in answer.completions] == [(0, 110_000), (110_000, 170_000)]
    assert answer.next_event_ps is None


def test_ties_go_by_operation_id_not_by_order_of_arrival():
    one = memory().advance(10**9, [Operation(0, (100,), 2), Operation(0, (50,), 1)])
    assert [c.op_id for c in one.completions] == [1, 2]


def test_energy_only_where_it_is_known():
    assert memory().advance(10**9, [Operation(0, (100,))]).completions[0].energy_pj is None
    assert memory(energy_pj_per_bit=2).advance(10**9, [Operation(0, (100,))]).completions[0].energy_pj == 1600


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"bandwidth_gb_s": 0}, "bandwidth_gb_s"),
        ({"bandwidth_gb_s": float("nan")}, "bandwidth_gb_s"),
        ({"bandwidth_gb_s": 1, "latency": 3}, "latency"),
        ({}, "bandwidth_gb_s"),
    ],
)
def test_a_wrong_configuration_names_its_field(config, field):
    with pytest.raises(ConfigError) as error:
        BandwidthLatency(config)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("kind", "hops", "part"),
    [
        ("send", 1, 8000),
        ("all_reduce", 6, 2000),
        ("reduce_scatter", 3, 2000),
        ("all_gather", 3, 8000),
        ("all_to_all", 3, 2000),
        ("broadcast", 5, 8000 / 3),
    ],
)
def test_ring_collectives_by_hand(kind, hops, part):
    template = Template(0, kind, kind, {"participants": 4, "ranks": "n0.0,n0.1,n0.2,n0.3"})
    model = AlphaBeta({"bandwidth_gb_s": 100, "latency_ns": 500})
    model.declare([template])
    assert model.estimate(template, (8000,)).duration_ps == round(hops * (500_000 + part * 10))


def test_nobody_communicates_alone():
    with pytest.raises(UnsupportedOperation, match="fewer than 2"):
        AlphaBeta({"bandwidth_gb_s": 1, "latency_ns": 0}).declare(
            [Template(0, "send", "s", {"participants": 1, "ranks": "n0.0"})]
        )
