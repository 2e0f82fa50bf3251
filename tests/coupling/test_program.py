"""What a plan becomes for the ports there are."""

from __future__ import annotations

import pytest
from metronome.orchestrator.coupling.program import (
    ChainedCollectives,
    Enter,
    Layers,
    Leave,
    SharedOperation,
    Stretch,
    program,
)

from .plans import SEQUENCES, TOKENS, Plan, World, each, section, work

READ = work(1, "dram", SEQUENCES, "read")
QKV, MLP, HEAD = work(2), work(3), work(4, operands=SEQUENCES)
REDUCE, SECOND = work(5, "net", kind="all_reduce"), work(6, "net", kind="all_reduce")
CHAIN = work(7, "net", kind="train")
BLOCK = section(each(QKV), each(MLP), each(QKV), repeat=4, layers=1)


def written(plan, granularity="step", **world):
    return program(plan, World(plan, **world).ports, granularity)


def portions(stretch, member=0):
    """(component, {template: repeats}, operands) of each."""
    return [
        (
            portion.port.name,
            dict(zip([w.template.id for w in portion.operations.works], portion.operations.repeats, strict=True)),
            portion.operands,
        )
        for portion in stretch.members[member]
    ]


def kinds(segments):
    return [type(segment) for segment in segments]


def test_what_nobody_shares_is_one_stretch_by_component_and_numbers():
    (stretch,) = written(Plan((section(each(READ)), BLOCK, section(each(HEAD)))))
    assert portions(stretch) == [
        ("dram", {1: 1}, SEQUENCES),
        ("gpu", {2: 8, 3: 4}, TOKENS),  # used twice in each of 4 layers, and once
        ("gpu", {4: 1}, SEQUENCES),
    ]


def test_layers_are_told_where_somebody_wants_to_know():
    segments = written(Plan((BLOCK,)), "layer")
    assert kinds(segments) == [Stretch, Layers] * 4
    assert {segment.count for segment in segments[1::2]} == {1}
    assert portions(segments[0]) == [("gpu", {2: 2, 3: 1}, TOKENS)]


def test_unfolded_every_operation_is_a_stretch_of_its_own():
    assert kinds(written(Plan((BLOCK,)), "operation")) == ([Stretch] * 3 + [Layers]) * 4


def test_a_shared_operation_parts_two_stretches():
    plan = Plan((section(each(QKV), each(REDUCE), each(MLP), repeat=2, layers=1),))
    segments = written(plan, shared=("net",))
    # Between two layers lies one stretch: the end of the one, the beginning of the other.
    assert kinds(segments) == [Stretch, SharedOperation, Stretch, SharedOperation, Stretch]
    assert portions(segments[2]) == [("gpu", {3: 1, 2: 1}, TOKENS)]
    assert [(port.link.name, w.template.id) for port, w in segments[1].works] == [("net", 5)]


def test_members_have_their_own_portions_and_a_joint_operation_stands_alone():
    other = work(2, user="chat/s0/dp1")
    joint = work(8, "net", kind="all_reduce", user="chat/s0")
    first, meeting, last = written(Plan((section(each(QKV, other), each(joint, joint=True), each(QKV, other)),), 2))
    assert [len(segment.members) for segment in (first, meeting, last)] == [2, 1, 2]
    assert (first.joint, meeting.joint) == (False, True)
    # Both members do the same on one component: one set, asked once.
    assert first.members[0][0].operations is first.members[1][0].operations is last.members[0][0].operations


def test_members_meet_in_every_repetition_folded_or_not():
    joint = work(8, "net", kind="all_reduce", user="chat/s0")
    segments = written(Plan((section(each(QKV), each(joint, joint=True), repeat=3),)))
    assert [segment.joint for segment in segments] == [False, True]
    assert portions(segments[1]) == [("net", {8: 3}, TOKENS)]


@pytest.mark.parametrize(("lanes", "around"), [(1, []), (2, [Enter])])
def test_stages_are_waited_for_only_where_steps_overlap(lanes, around):
    hand = work(5, "net", kind="send", user="chat/s0>1*")
    plan = Plan((section(each(QKV)), section(each(hand), stage=None), section(each(MLP), stage="stage1")), 1, lanes)
    segments = written(plan)
    if lanes == 1:
        assert kinds(segments) == [Stretch]
        return
    assert kinds(segments) == [Enter, Stretch, Leave, Stretch, Enter, Stretch, Leave]
    assert [s.stage for s in segments if isinstance(s, Enter | Leave)] == ["stage0", "stage0", "stage1", "stage1"]


BOTH = section(each(QKV), each(REDUCE), each(MLP), each(SECOND), repeat=3, layers=1, chain=CHAIN)


def test_collectives_that_end_a_block_are_chained():
    head, chained = written(Plan((section(each(READ)), BOTH)), shared=("net",))
    assert isinstance(head, Stretch) and isinstance(chained, ChainedCollectives)
    assert (chained.work, chained.repeat, chained.operands) == (CHAIN, 3, (TOKENS, TOKENS))
    assert [[w.template.id for p in gap for w in p.operations.works] for gap in chained.gaps] == [[2], [3]]


def test_chained_by_layer_they_are_as_many_as_layers():
    segments = written(Plan((BOTH,)), "layer", shared=("net",))
    assert kinds(segments) == [ChainedCollectives, Layers] * 3
    assert segments[0].repeat == 1


TAIL = section(each(QKV), each(REDUCE), each(MLP), repeat=3, chain=CHAIN)
ELSEWHERE = section(each(READ), each(REDUCE), repeat=3, chain=CHAIN)


@pytest.mark.parametrize(
    ("plan", "granularity", "world"),
    [
        (Plan((TAIL,)), "step", {"shared": ("net",)}),  # ends with an operation that is asked
        (Plan((ELSEWHERE,)), "step", {"shared": ("net", "dram")}),  # another component is shared, too
        (Plan((BOTH,)), "step", {"shared": ("net",), "kinds": ("gemm", "all_reduce")}),  # the network cannot
        (Plan((BOTH,)), "step", {}),  # nobody shares it: asked, and folded
        (Plan((BOTH,)), "operation", {"shared": ("net",)}),  # nothing is folded
    ],
    ids=["does not end it", "other shared component", "no such kind", "asked", "unfolded"],
)
def test_collectives_are_not_chained(plan, granularity, world):
    found = World(plan, **world)
    segments = program(plan, found.ports, granularity)
    assert ChainedCollectives not in kinds(segments)
    if granularity == "step":
        assert not found.ports.does_chain(plan.sections[0])
