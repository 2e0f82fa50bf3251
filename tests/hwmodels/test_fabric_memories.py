"""Memories as endpoints of a fabric: what limits one transfer, and what two of them share."""

from __future__ import annotations

import pytest
from metronome.hwmodels.catalog.memory_parts import memory_names, memory_part
from metronome.hwmodels.interface import PS_PER_S, ConfigError, Operation, Template, UnsupportedOperation
from metronome.hwmodels.network.fabric import Fabric

GROUP = {"name": "n0", "count": 4}
DRAM = {"name": "n0.dram", "read_gb_s": 200, "write_gb_s": 200, "bandwidth_gb_s": 200}
CXL = {"name": "n0.cxl", "read_gb_s": 17.8, "write_gb_s": 17.8, "bandwidth_gb_s": 27.2, "latency_ns": 250}
PCIE = {"groups": [GROUP], "topology": "pcie", "type": "pcie5-x16", "memories": [DRAM, CXL]}
LANES = 64e9 * 0.86
GIGA = 10**9


def fabric(config, *pairs):
    made = Fabric(config)
    made.declare([Template(i, *_send(ranks)) for i, ranks in enumerate(pairs)])
    return made


def _send(ranks):
    return "send", "kv", {"participants": 2, "ranks": ranks, "owner": "a"}


def ends(made, *operations):
    """Seconds at which (template, bytes[, ps]) end, in their order."""
    given = [Operation(t, (size,), i, at[0] if at else 0) for i, (t, size, *at) in enumerate(operations)]
    done = made.advance(10**15, given).completions
    return [c.finish_ps / PS_PER_S for c in sorted(done, key=lambda c: c.op_id)]


def test_one_copy_takes_what_its_narrowest_part_allows():
    made = fabric(PCIE, "n0.dram,n0.0", "n0.cxl,n0.0", "n0.0,n0.cxl")
    assert ends(made, (0, 10 * GIGA))[0] == pytest.approx(10e9 / LANES, rel=1e-3)
    made = fabric(PCIE, "n0.cxl,n0.0", "n0.0,n0.cxl")
    assert ends(made, (0, 10 * GIGA))[0] == pytest.approx(10 / 17.8, rel=1e-3)


def test_both_ways_share_an_expanders_core():
    made = fabric(PCIE, "n0.cxl,n0.0", "n0.2,n0.cxl")
    assert ends(made, (0, GIGA), (1, GIGA)) == pytest.approx([1 / 13.6] * 2, rel=1e-3)


@pytest.mark.parametrize("users", [2, 3])
def test_users_of_one_expander_take_as_many_times_as_long(users):
    made = fabric(PCIE, *(f"n0.cxl,n0.{i}" for i in range(users)))
    took = ends(made, *((i, 10 * GIGA) for i in range(users)))
    assert took == pytest.approx([users * 10 / 17.8] * users, rel=1e-3)


def test_devices_of_one_switch_share_its_uplink_and_others_do_not():
    made = fabric(PCIE, "n0.dram,n0.0", "n0.dram,n0.1")
    assert ends(made, (0, GIGA), (1, GIGA)) == pytest.approx([2e9 / LANES] * 2, rel=1e-2)
    made = fabric(PCIE, "n0.dram,n0.0", "n0.dram,n0.2")
    assert ends(made, (0, GIGA), (1, GIGA)) == pytest.approx([1e9 / LANES] * 2, rel=1e-2)


def test_a_recall_meets_what_its_device_gets_from_another():
    """A peer's K and V over the same lanes: both are slower than alone, and nothing of the lanes is left over."""
    alone = ends(fabric(PCIE, "n0.1,n0.0"), (0, 10 * GIGA))[0]
    made = fabric(PCIE, "n0.dram,n0.0", "n0.1,n0.0")
    recall, peer = ends(made, (0, 10 * GIGA), (1, 10 * GIGA))
    assert recall == pytest.approx(20e9 / LANES, rel=0.02) and peer == pytest.approx(20e9 / LANES, rel=0.02)
    assert alone < peer


def test_without_memories_a_network_is_what_it_was():
    plain = {key: value for key, value in PCIE.items() if key != "memories"}
    for ranks in ("n0.0,n0.1", "n0.0,n0.3"):
        assert ends(fabric(plain, ranks), (0, GIGA)) == pytest.approx(ends(fabric(PCIE, ranks), (0, GIGA)), rel=1e-6)


def test_a_pool_of_several_nodes_is_shared_by_them():
    pool = {"name": "pool", "read_gb_s": 50, "write_gb_s": 50, "bandwidth_gb_s": 100, "latency_ns": 400}
    nodes = [{"name": "n0", "count": 1}, {"name": "n1", "count": 1}]
    flat = {"groups": nodes, "bandwidth_gb_s": 64, "latency_ns": 500, "memories": [pool]}
    made = fabric(flat, "pool,n0.0", "pool,n1.0", "n1.0,pool")
    assert ends(made, (0, GIGA), (1, GIGA), (2, GIGA)) == pytest.approx([0.04, 0.04, 0.02], rel=1e-3)
    out = {"type": "infiniband-ndr"}
    tiered = {**flat, "topology": "pcie", "type": "pcie5-x16", "scale_out": out, "bandwidth_gb_s": None}
    tiered |= {"latency_ns": None, "memories": [pool, {**DRAM, "name": "n1.dram"}]}
    made = fabric(tiered, "pool,n0.0", "n1.dram,n1.0", "n1.dram,n0.0")
    pooled, near, far = (ends(fabric(tiered, r), (0, GIGA))[0] for r in ("pool,n0.0", "n1.dram,n1.0", "n1.dram,n0.0"))
    assert near == pytest.approx(1e9 / LANES, rel=1e-2) and pooled > 0.02 and far > near


CURVE = [[0.5, 0, 250], [0.5, 20, 300], [0.5, 27, 900], [1, 0, 200], [1, 10, 220], [1, 17.8, 1200]]


@pytest.mark.parametrize(
    ("moving", "added_ns"),
    [
        ([0], 1000),  # 17.8 GB/s of reads alone: 1200 - 200
        ([0, 1], 650),  # 27.2 GB/s, half of it reads: 900 - 250
        ([0, 2, 1], 650 + (1000 - 650) * (17.8 / 27.2 - 0.5) / 0.5),  # 17.8 of it: between that half and reads alone
        ([4], 1000),  # one transfer to two devices
        ([], 0),
    ],
)
def test_latency_rises_with_what_moves_already(moving, added_ns):
    pairs = "n0.cxl,n0.0", "n0.2,n0.cxl", "n0.cxl,n0.2", "n0.cxl,n0.3", "n0.cxl,n0.0,n0.cxl,n0.2"
    made = fabric({**PCIE, "memories": [{**CXL, "loaded_latency": CURVE}]}, *pairs)
    flat = fabric({**PCIE, "memories": [CXL]}, *pairs)
    work = [*((pair, 10 * GIGA) for pair in moving), (3, 1, 10**10)]
    *first, last = ends(made, *work)
    *_, unloaded = ends(flat, *work)
    assert (last - unloaded) * 1e9 == pytest.approx(added_ns, abs=1)
    assert all(end > 0.5 for end in first)


def test_a_restored_fabric_goes_on_as_it_would_have():
    config = {**PCIE, "memories": [{**CXL, "loaded_latency": CURVE}]}
    pairs = ("n0.cxl,n0.0", "n0.1,n0.cxl")
    one, other = fabric(config, *pairs), fabric(config, *pairs)
    one.advance(10**9, [Operation(0, (GIGA,), 1, 0), Operation(1, (GIGA,), 2, 10**8)])
    other.restore(one.snapshot())
    more = [Operation(0, (GIGA,), 3, 2 * 10**9)]
    assert one.advance(10**15, more).completions == other.advance(10**15, more).completions


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"topology": "ring"}, "topology switch or pcie"),
        ({"memories": [{**DRAM, "name": "n7.dram"}]}, "none of whose devices"),
        ({"groups": [GROUP, {"name": "n1", "count": 4}]}, "scale_out"),
    ],
)
def test_what_has_no_place_is_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        Fabric({**PCIE, **change})


def test_memories_take_part_in_no_collective():
    with pytest.raises(UnsupportedOperation, match="nothing else"):
        made = Fabric(PCIE)
        made.declare([Template(0, "all_reduce", "x", {"participants": 2, "ranks": "n0.dram,n0.0"})])


def test_every_part_of_the_catalog_has_figures_and_sources():
    for name in memory_names():
        part = memory_part(name)
        assert 0 < part.read <= part.both and 0 < part.write <= part.both and part.latency_ns > 0 and part.sources
    expander = memory_part("cxl2-x8")
    assert (expander.read, expander.both, expander.latency_ns) == (17.8e9, 27.2e9, 250)
