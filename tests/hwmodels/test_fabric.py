"""The fabric: who gets how much of a link, which way flows go, and what collectives move."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import ConfigError, Operation, Template, UnsupportedOperation
from metronome.hwmodels.network.alpha_beta import AlphaBeta
from metronome.hwmodels.network.fabric import Fabric
from metronome.hwmodels.network.fabric.sharing import fair_rates

FAR = 10**18
GB = 10**9
PLAIN = {"groups": [{"name": "n0", "count": 4}], "bandwidth_gb_s": 100, "latency_ns": 1000}


def send(number, *ranks):
    return Template(number, "send", "s", {"participants": len(ranks), "ranks": ",".join(ranks), "owner": f"o{number}"})


def collective(number, kind, ranks, **more):
    return Template(number, kind, kind, {"participants": len(ranks), "ranks": ",".join(ranks), **more})


def fabric(templates, **config):
    made = Fabric({**PLAIN, **config})
    made.declare(templates)
    return made


def ends(made, operations):
    return {c.op_id: c.finish_ps for c in made.advance(FAR, operations).completions}


TO_1, TO_1_TOO = send(0, "n0.0", "n0.1"), send(1, "n0.2", "n0.1")
HOP = 10**6  # 1 us


def test_two_equal_flows_over_one_link_take_exactly_twice_the_time_of_one():
    alone = ends(fabric([TO_1]), [Operation(0, (GB,), 0)])[0]
    assert alone == HOP + 10**10  # 1 GB at 100 GB/s
    both = ends(fabric([TO_1, TO_1_TOO]), [Operation(0, (GB,), 0), Operation(1, (GB,), 1)])
    assert both == {0: HOP + 2 * 10**10, 1: HOP + 2 * 10**10}


def test_a_third_flow_that_joins_halfway_is_right_to_the_picosecond():
    """Two of 1 GB at 50 GB/s have 0.5 GB left when a third joins; then each gets a third of the link."""
    made = fabric([TO_1, TO_1_TOO, send(2, "n0.3", "n0.1")])
    work = [Operation(0, (GB,), 0), Operation(1, (GB,), 1), Operation(2, (GB,), 2, at_ps=10**10)]
    first = HOP + 10**10 + round(0.5 * GB / (100 * GB / 3) * 10**12)
    left = GB - 0.5 * GB  # of the third
    assert ends(made, work) == {0: first, 1: first, 2: first + round(left / (100 * GB) * 10**12)}


def test_who_has_less_than_a_picosecond_left_ends_with_the_other():
    made = fabric([TO_1, TO_1_TOO], bandwidth_gb_s=10_000)  # 3 bytes: 0.3 ps
    answer = made.advance(FAR, [Operation(0, (10**6,), 0), Operation(1, (10**6 + 3,), 1)], True)
    assert [c.op_id for c in answer.completions] == [0, 1] and answer.next_event_ps is None
    assert made.snapshot()["open"] == []


def test_what_shares_no_link_goes_at_full_speed():
    made = fabric([TO_1, send(1, "n0.2", "n0.3")])
    assert ends(made, [Operation(0, (GB,), 0), Operation(1, (GB,), 1)]) == {0: HOP + 10**10, 1: HOP + 10**10}
    parts = made.resources()
    assert not parts[0] & parts[1]


def test_a_slow_flow_leaves_the_rest_of_a_link_to_others():
    """Max-min: A and B share link 0, B is held to 10 by link 1, so A gets 90."""
    assert fair_rates([{0: 1.0}, {0: 1.0, 1: 1.0}], [1e9, 1e9], [100.0, 10.0]) == [90.0, 10.0]


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_fair_rates_fill_links_and_never_exceed_them(data):
    links = data.draw(st.integers(1, 5))
    capacity = [float(data.draw(st.integers(1, 100))) for _ in range(links)]
    bundles = [
        {
            link: float(data.draw(st.integers(1, 3)))
            for link in data.draw(st.sets(st.integers(0, links - 1), min_size=1))
        }
        for _ in range(data.draw(st.integers(1, 8)))
    ]
    caps = [float(data.draw(st.integers(1, 200))) for _ in bundles]
    rates = fair_rates(bundles, caps, capacity)
    full = set()
    for link in range(links):
        load = sum(rate * bundle.get(link, 0) for rate, bundle in zip(rates, bundles, strict=True))
        assert load <= capacity[link] * (1 + 1e-9)
        if load >= capacity[link] * (1 - 1e-9):
            full.add(link)
    for rate, bundle, cap in zip(rates, bundles, caps, strict=True):
        assert 0 < rate <= cap * (1 + 1e-12)
        assert rate >= cap * (1 - 1e-9) or full & bundle.keys(), "somebody could have more at no one's cost"


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 10**9))
def test_random_flow_sets_conserve_bytes_and_never_exceed_a_link(seed):
    """Follows every link through the run: what crossed it is what was sent over it, at no more than its rate."""
    rng = random.Random(seed)
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    templates = [send(i, f"n0.{a}", f"n0.{b}") for i, (a, b) in enumerate(pairs)]
    made = fabric(templates)
    work = [
        Operation(rng.randrange(len(pairs)), (rng.randrange(1, 10**8),), i, at_ps=rng.randrange(0, 10**9))
        for i in range(rng.randrange(2, 17))
    ]
    done = made.advance(FAR, work).completions
    assert len(done) == len(work)
    capacity = 100 * GB
    for end, device in ((end, device) for end in (0, 1) for device in range(4)):  # out of and into each device
        mine = [(c, work[c.op_id]) for c in done if pairs[work[c.op_id].template][end] == device]
        if not mine:
            continue
        sent = sum(operation.values[0] for _, operation in mine)
        span = max(c.finish_ps for c, _ in mine) - min(operation.at_ps for _, operation in mine)
        assert sent <= capacity * span / 10**12 * (1 + 1e-9)
    assert sum(row["bytes"] for row in made.statistics()["links"]) == 2 * sum(o.values[0] for o in work)
    assert made.advance(FAR, ()).next_event_ps is None


def test_the_ring_is_that_of_alpha_beta_where_links_are_plain():
    ranks = [f"n0.{i}" for i in range(4)]
    plain = AlphaBeta({"bandwidth_gb_s": 100, "latency_ns": 1000})
    for kind in ("all_reduce", "all_gather", "reduce_scatter"):
        template = collective(0, kind, ranks)
        plain.declare([template])
        for size in (4096, 10**6, 10**9):
            expected = plain.advance(FAR, [Operation(0, (size,), 0)]).completions[0].finish_ps
            assert ends(fabric([template]), [Operation(0, (size,), 0)])[0] == pytest.approx(expected, abs=8)


def test_a_device_sends_the_textbook_bytes():
    """Of an all-reduce of m bytes each of p ranks passes on 2 (p-1)/p m."""
    made = fabric([collective(0, "all_reduce", [f"n0.{i}" for i in range(4)])])
    made.advance(FAR, [Operation(0, (4000,), 0)])
    rows = {row["link"]: row for row in made.statistics()["links"]}
    assert rows["n0.0->n0.switch"]["bytes"] == 6000
    assert rows["n0.0->n0.switch"]["users"] == {"? all_reduce": 6000}


def test_energy_of_all_participants_is_that_of_every_bit_moved():
    ranks = [f"n0.{i}" for i in range(4)]
    for kind, bits in (("all_reduce", 8 * 6000 * 4), ("all_gather", 8 * 12000 * 4), ("send", 8 * 4000 * 2)):
        made = fabric([collective(0, kind, ranks)], energy_pj_per_bit=3)
        plain = AlphaBeta({"bandwidth_gb_s": 100, "latency_ns": 1000, "energy_pj_per_bit": 3})
        plain.declare([collective(0, kind, ranks)])
        for model in (made, plain):
            assert 4 * model.advance(FAR, [Operation(0, (4000,), 0)]).completions[0].energy_pj == 3 * bits


TWO_NODES = {
    "groups": [{"name": "n0", "count": 8}, {"name": "n1", "count": 8}],
    "type": "nvlink4",
    "bandwidth_gb_s": None,
    "latency_ns": None,
    "scale_out": {"type": "infiniband-ndr"},
}
SIXTEEN = [f"n{i // 8}.{i % 8}" for i in range(16)]


def test_across_nodes_a_hierarchy_beats_one_ring_and_a_tree_beats_it_for_little():
    def time(size, algorithm=""):
        more = {"algorithm": algorithm} if algorithm else {}
        return ends(fabric([collective(0, "all_reduce", SIXTEEN, **more)], **TWO_NODES), [Operation(0, (size,), 0)])[0]

    every = ("ring", "tree", "halving-doubling", "hierarchical")
    for size in (1000, 10**6, 10**9):
        assert time(size) == min(time(size, algorithm) for algorithm in every)
    assert time(10**9, "hierarchical") < time(10**9, "ring") / 3
    assert time(1000) == min(time(1000, "tree"), time(1000, "halving-doubling")) < time(1000, "ring")


@pytest.mark.parametrize("topology", ["switch", "fat-tree", "rail-optimised"])
def test_every_pair_of_devices_has_a_way(topology):
    groups = [{"name": f"n{i}", "count": 4} for i in range(6)]
    everyone = [f"n{i}.{j}" for i in range(6) for j in range(4)]
    out = {"type": "infiniband-ndr", "topology": topology, "radix": 8}
    made = fabric([collective(0, "all_to_all", everyone)], **{**TWO_NODES, "groups": groups, "scale_out": out})
    assert ends(made, [Operation(0, (24 * 10**6,), 0)])[0] > 0


def test_oversubscription_slows_what_crosses_the_spine():
    def time(over):
        groups = [{"name": f"n{i}", "count": 4} for i in range(8)]
        everyone = [f"n{i}.{j}" for i in range(8) for j in range(4)]
        out = {"type": "infiniband-ndr", "topology": "fat-tree", "radix": 8, "oversubscription": over}
        config = {**TWO_NODES, "groups": groups, "scale_out": out}
        return ends(fabric([collective(0, "all_to_all", everyone)], **config), [Operation(0, (32 * 10**7,), 0)])[0]

    assert time(1) * 2 < time(4) < time(1) * 5


@pytest.mark.parametrize(
    ("topology", "dims", "hops"), [("ring", [], 2), ("torus", [2, 2], 2), ("fully-connected", [], 1)]
)
def test_a_way_takes_as_many_hops_as_the_layout_says(topology, dims, hops):
    opposite = "n0.3" if topology == "torus" else "n0.2"
    made = fabric([send(0, "n0.0", opposite)], topology=topology, dims=dims)
    share = {"ring": 2, "torus": 2, "fully-connected": 3}[topology]  # a device's bandwidth over its links
    assert ends(made, [Operation(0, (10**6,), 0)])[0] == hops * HOP + share * 10**7


def laid_out(topology, ranks, dims=(), kind="all_reduce", **more):
    """ps of a collective of a gigabyte among so many devices, or the named ones."""
    ranks = [f"n0.{i}" for i in (range(ranks) if isinstance(ranks, int) else ranks)]
    groups = [{"name": "n0", "count": math.prod(dims) if dims else len(ranks)}]
    made = fabric([collective(0, kind, ranks)], groups=groups, topology=topology, dims=dims, **more)
    return ends(made, [Operation(0, (GB,), 0)])[0]


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter"])
@pytest.mark.parametrize("dims", [(4,), (3, 3), (4, 4, 4), (1, 4)])
def test_on_a_torus_collectives_keep_all_links_busy(kind, dims):
    """Axes alike: every rank passes on what it does in a ring, over all its links at once; a step a rank and axis."""
    ranks = math.prod(dims)
    moved = {"all_reduce": 2 - 2 / ranks, "all_gather": ranks - 1, "reduce_scatter": 1 - 1 / ranks}[kind]
    steps = sum(size - 1 for size in dims) * (2 if kind == "all_reduce" else 1)
    assert laid_out("torus", ranks, dims, kind) == pytest.approx(moved * 10**10 + steps * HOP, abs=2)


def test_the_same_links_as_a_torus_and_as_a_ring_take_the_same():
    """Two by two devices are a ring of four, but for two steps of six; in a row of a larger torus there is a ring."""
    ring, torus = laid_out("ring", 4), laid_out("torus", 4, (2, 2))
    assert ring == torus + 2 * HOP == 15 * 10**9 + 6 * HOP
    row = laid_out("torus", range(4, 8), (4, 4))
    assert row == pytest.approx(2 * ring - 6 * HOP, abs=2)  # two of four links a device
    assert laid_out("torus", 4, (2, 2), algorithms={"all_reduce": "ring"}) > torus


def test_axes_that_are_not_alike_are_held_up_by_the_busiest():
    """8 x 2: links 2 and 1 of 3. Of m two thirds begin along the long axis, and half of the rest comes there."""
    long = 2 * (7 / 8) * (2 / 3 + 1 / 3 / 2) / 2
    assert laid_out("torus", 16, (8, 2)) == pytest.approx(3 * long * 10**10 + 16 * HOP, abs=2)


def test_ranks_that_fill_no_grid_have_no_rings_along_axes():
    assert laid_out("torus", (0, 1, 2, 4), (2, 4)) == laid_out(
        "torus", (0, 1, 2, 4), (2, 4), algorithms={"all_reduce": "ring"}
    )


def test_within_a_node_other_algorithms_are_taken_by_name():
    """p = 8 on a switch: a binary tree's inner rank passes on m to its parent and two children; halves pass on
    2 (1 - 1/p) m as a ring does, in fewer steps."""
    halving = laid_out("switch", 8, algorithms={"all_reduce": "halving-doubling"})
    assert halving == pytest.approx(2 * (7 / 8) * 10**10 + 6 * HOP, abs=2)
    assert laid_out("switch", 8, algorithms={"all_reduce": "tree"}) > halving
    pcie = {"type": "pcie5-x16", "bandwidth_gb_s": None, "latency_ns": None}
    assert laid_out("pcie", 8, **pcie, algorithms={"all_reduce": "hierarchical"}) > 0
    with pytest.raises(UnsupportedOperation, match="no algorithm 'hierarchical' .* there are ring, tree, halving"):
        laid_out("switch", 8, algorithms={"all_reduce": "hierarchical"})


def test_an_algorithm_that_is_insisted_on_is_taken_at_any_size():
    nvlink = {"type": "nvlink4", "bandwidth_gb_s": None, "latency_ns": None}
    assert laid_out("switch", 8, **nvlink, algorithms={"all_reduce": "one-shot"}) > laid_out("switch", 8, **nvlink)


@pytest.mark.parametrize(("kind", "times"), [("all_reduce", 2 / 8), ("all_gather", 1), ("reduce_scatter", 1 / 8)])
def test_where_every_two_have_a_link_all_links_are_busy(kind, times):
    """8 devices of 100 GB/s over 7 links each: a gigabyte's part to everybody at once."""
    assert laid_out("fully-connected", 8, kind=kind) == pytest.approx(
        times * 7 * 10**10 + (2 if kind == "all_reduce" else 1) * HOP, abs=2
    )
    assert laid_out("fully-connected", 8, kind=kind, algorithms={kind: "ring"}) > laid_out(
        "fully-connected", 8, kind=kind
    )


@pytest.mark.parametrize(
    ("algorithms", "why"),
    [
        ({"allreduce": "tree"}, "allreduce is no kind; there are all_reduce"),
        ({"broadcast": "tree"}, "broadcast has no tree; there are pipeline"),
    ],
)
def test_an_algorithm_of_no_kind_is_refused(algorithms, why):
    with pytest.raises(ConfigError, match=why):
        Fabric({**PLAIN, "algorithms": algorithms})


def test_adapters_are_at_most_one_a_device():
    """Of nodes of several sizes the small ones have fewer; more than any node has devices are refused."""
    groups = [{"name": "n0", "count": 4}, {"name": "n1", "count": 2}]
    ranks = [*(f"n0.{i}" for i in range(4)), *(f"n1.{i}" for i in range(2))]
    took = {}
    for adapters in (None, 4, 5):
        out = {"type": "infiniband-ndr", "nics_per_node": adapters}
        config = {**TWO_NODES, "groups": groups, "scale_out": out}
        if adapters == 5:
            with pytest.raises(ConfigError, match=r"nics_per_node = 5: its nodes have 4 devices at most"):
                Fabric({**PLAIN, **config})
            continue
        took[adapters] = ends(fabric([collective(0, "all_reduce", ranks)], **config), [Operation(0, (GB,), 0)])[0]
    assert took[4] == took[None]


def test_pairs_behind_a_pcie_switch_are_nearer_than_those_across_the_bridge():
    pcie = {"type": "pcie5-x16", "topology": "pcie", "bandwidth_gb_s": None, "latency_ns": None}
    made = fabric([send(0, "n0.0", "n0.1"), send(1, "n0.0", "n0.2")], **pcie)
    near = ends(made, [Operation(0, (GB,), 0)])[0]
    made = fabric([send(0, "n0.0", "n0.1"), send(1, "n0.0", "n0.2")], **pcie)
    assert ends(made, [Operation(1, (GB,), 0)])[0] > 1.3 * near


# Refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (send(0, "n0.0", "n9.1"), "n9.1 is not among the devices of n0"),
        (send(0, "n0.0"), "needs pairs"),
        (send(0, "n0.0", "n0.0"), "needs pairs of different devices"),
        (collective(0, "all_reduce", ["n0.0", "n0.0"]), "each once"),
        (collective(0, "all_reduce", ["n0.0", "n0.1"], algorithm="magic"), "no algorithm 'magic' for all_reduce"),
        (Template(0, "train", "t", {"of": "7"}), "not declared before"),
    ],
)
def test_what_it_cannot_do_is_refused_before_time_0(template, message):
    with pytest.raises(UnsupportedOperation, match=message):
        fabric([template])


def test_a_torus_that_does_not_multiply_is_refused():
    with pytest.raises(ConfigError, match="a torus of 3 x 3 has 9 devices, not 4"):
        Fabric({**PLAIN, "topology": "torus", "dims": [3, 3]})


@pytest.mark.parametrize(
    ("size", "ranks", "algorithm_ns"),
    [(2**16, 4, 4400 + 3 * 2**16 / 300), (2**21, 4, 8800 + 1.5 * 2**21 / 300), (2**21, 2, 4400 + 2**21 / 300)],
)
def test_small_all_reduces_read_the_memory_of_peers(size, ranks, algorithm_ns):
    """One exchange of whole vectors, or two of parts: H100 by its catalog figures, 4.4 us and 300 GB/s."""
    config = {"type": "nvlink4", "bandwidth_gb_s": None, "latency_ns": None}
    reduce = collective(0, "all_reduce", [f"n0.{i}" for i in range(ranks)])
    assert ends(fabric([reduce], **config), [Operation(0, (size,), 0)])[0] == pytest.approx(
        1000 * algorithm_ns, rel=1e-6
    )


def test_large_all_reduces_odd_groups_and_who_asks_for_it_use_the_collective_library():
    config = {"type": "nvlink4", "bandwidth_gb_s": None, "latency_ns": None}
    for size, ranks in ((2**23 + 1, 4), (2**16, 3)):
        reduce = collective(0, "all_reduce", [f"n0.{i}" for i in range(ranks)])
        with_it, without = (
            ends(fabric([reduce], **config, custom_all_reduce=custom), [Operation(0, (size,), 0)])[0]
            for custom in (True, False)
        )
        assert with_it == without
    reduce = collective(0, "all_reduce", [f"n0.{i}" for i in range(4)])
    quick, slow = (
        ends(fabric([reduce], **config, custom_all_reduce=custom), [Operation(0, (2**16,), 0)])[0]
        for custom in (True, False)
    )
    assert quick < slow
