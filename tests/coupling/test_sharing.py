from dataclasses import replace

import pytest
from metronome.hwmodels.interface import TimePolicy
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.network.fabric import Fabric
from metronome.orchestrator.coupling.sharing import sequential, stepped

MEMORY, FABRIC = BandwidthLatency.description, Fabric.description


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a/s0", "a/s0", True),
        ("a/s0", "a/s0/dp1", True),
        ("a/s0/dp0", "a/s0/dp1", False),
        ("a/s0", "a/s1", False),
        ("a/s1", "a/s10", False),
        ("p>d*", "p>d*", False),
        ("a", "b", False),
    ],
)
def test_who_never_acts_at_once(a, b, expected):
    assert sequential(a, b) is sequential(b, a) is expected


def test_one_sequential_user_is_asked_several_are_stepped():
    assert stepped(MEMORY, [(0, "a"), (1, "a")], None) == set()
    assert stepped(MEMORY, [(0, "a"), (1, "b")], None) == {0, 1}


def test_what_remembers_is_stepped_and_what_has_no_clock_never():
    assert stepped(replace(MEMORY, memoryless=False), [(0, "a")], None) == {0}
    assert stepped(replace(MEMORY, time_policy=TimePolicy.ORACLE), [(0, "a"), (0, "b")], None) == set()


def test_only_operations_that_can_meet_are_stepped():
    parts = {0: frozenset({1, 2}), 1: frozenset({3}), 2: frozenset({3, 4})}
    assert stepped(FABRIC, [(0, "a"), (1, "a"), (2, "b")], parts) == {1, 2}


def test_a_user_that_may_overlap_itself_is_stepped():
    assert stepped(FABRIC, [(0, "p>d*")], {0: frozenset({1})}) == {0}
