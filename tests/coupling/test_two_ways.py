"""Sections that may be done in two ways: a product with a matrix on the accelerator, or where it lies in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.coupling.program import InterleavedBlock, Layers, SharedOperation, Stretch, program
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.work import PlannedOperation

from .plans import SEQUENCES, Plan, World, decodes, each, section, work

NORM, HEAD = work(1), work(6, operands=SEQUENCES)
SUM = work(5, "net", kind="all_reduce")
READING = 64  # tokens that take the accelerator as long as its weights do


def matrix(number, **more):
    """On the accelerator, or in memory; there a token takes ``number``, here 64 of them at once do."""
    return PlannedOperation((work(number, **more),), instead=(work(number, "dram", **more),))


def block(*operations, **more):
    return section(each(NORM), *operations, repeat=4, layers=1, **more)


class Heard:
    def __init__(self):
        self.told = []

    def operations(self, instance, step, member, component, items, start_ps, took_ps):
        self.told.append((member, component, [one.template.layer for one in items], start_ps, took_ps))


def ran(plan, *batches, shared=(), **how):
    """(its length, its energy, what was told, events)"""
    world, heard, ends = World(plan, shared=shared), Heard(), []
    world.links["gpu"].component.cost = lambda operation: operation.template * READING
    world.instruments.add(heard)
    world.executor(plan, **how).run(0, list(batches), ends.append)
    return world.go(), ends[0], heard.told


def without(plan):
    """The same plan, without a choice."""
    bare = [
        replace(part, operations=tuple(replace(row, instead=()) for row in part.operations)) for part in plan.sections
    ]
    return replace(plan, sections=tuple(bare))


PLAN = Plan((section(each(NORM)), block(matrix(2), matrix(3)), section(each(HEAD))))


@pytest.mark.parametrize("tokens", [1, 63])
def test_few_tokens_are_multiplied_in_memory(tokens):
    took, energy, told = ran(PLAN, decodes(tokens))
    accelerator = 1 + 4 * 1 + 6
    assert took == energy == accelerator * READING + 4 * (2 + 3) * tokens
    assert (0, "dram", ["layer2", "layer3"], 5 * READING, 20 * tokens) in told


@pytest.mark.parametrize("tokens", [64, 65, 1000])
def test_many_are_not_and_nothing_differs(tokens):
    """Nor do equally many, in time, energy, and what is told of components."""
    took, energy, told = ran(PLAN, decodes(tokens))
    same_took, same_energy, same = ran(without(PLAN), decodes(tokens))
    assert (took, energy) == (same_took, same_energy)
    assert {component for _, component, *_ in told} == {component for _, component, *_ in same} == {"gpu"}


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 9))
def test_no_step_is_slower_than_either_way(tokens, first, second):
    plan = Plan((block(matrix(first), matrix(second)),))
    in_memory = Plan((replace(plan.sections[0], operations=plan.sections[0].ways[1]),))
    took, *_ = ran(plan, decodes(tokens))
    assert took == min(ran(way, decodes(tokens))[0] for way in (without(plan), in_memory))


def test_each_run_of_equal_layers_is_decided_on_alone():
    """Of the first the accelerator is quicker, of the second memory."""
    dear = PlannedOperation((work(2),), instead=(work(9, "dram"),))
    plan = Plan((block(dear), block(matrix(3))))
    took, _, told = ran(plan, decodes(40))
    assert took == 4 * (1 + 2) * READING + 4 * (READING + 3 * 40)
    assert [component for _, component, *_ in told] == ["gpu", "gpu", "dram"]


def test_folded_or_not_by_layer_or_not_it_is_the_same():
    for tokens in (3, 100):
        folded, unfolded = (ran(PLAN, decodes(tokens), fold=fold)[:2] for fold in (True, False))
        assert folded == unfolded
    kinds = [type(segment) for segment in program(PLAN, World(PLAN).ports, "layer")]
    assert kinds == [Stretch, *[Stretch, Layers] * 4, Stretch]


def test_what_lies_between_operations_on_a_shared_network_is_decided_on_there():
    plan = Plan((block(matrix(2), each(SUM), matrix(3), each(SUM)),))
    kinds = [type(segment) for segment in program(plan, World(plan, shared=("net",)).ports, "step")]
    assert kinds == [Stretch, SharedOperation] * 8
    for tokens in (3, 100):
        took, *_ = ran(plan, decodes(tokens), shared=("net",))
        products = min(READING, tokens) * 5
        assert took == 4 * (READING + products + 2 * 5 * tokens)


def test_every_member_takes_its_own_way():
    """Side by side: one has few tokens, one many, and the step is as long as the slower of the two."""
    both = PlannedOperation((work(2), work(2, user="chat/s0/dp1")), instead=tuple(work(2, "dram") for _ in range(2)))
    plan = Plan((section(both, repeat=4, layers=1),), members=2)
    took, energy, told = ran(plan, decodes(3), decodes(100))
    assert took == 4 * 2 * READING and energy == 4 * 2 * (READING + 3)
    assert [(member, component) for member, component, *_ in told] == [(0, "dram"), (1, "gpu")]


def test_known_steps_are_not_leapt_over():
    """A leap has one way for all of its steps."""
    world = World(PLAN)
    assert world.executor(PLAN).ahead([decodes(3)], [True], 4) is None
    alone = Plan((block(matrix(2)),))
    assert World(alone).executor(alone).ahead([decodes(3)], [True], 4) is None
    bare = without(alone)
    assert World(bare).executor(bare).ahead([decodes(3)], [True], 4) is not None


def test_what_others_use_meanwhile_is_refused():
    with pytest.raises(InputError, match=r"instances.chat.gemv.*others use dram"):
        program(PLAN, World(PLAN, shared=("dram",)).ports, "step")


def attended(memory):
    """A layer with attention in memory, of which two halves may take turns."""
    rows = matrix(2), each(work(memory, "dram")), each(work(4, operands=SEQUENCES), beside=True), matrix(3)
    return section(*rows, repeat=4, interleaved=True, layers=1)


def test_beside_half_batches_the_quickest_of_three_is_taken():
    """The accelerator takes as long for a half as for all, so halves never pay, and few tokens go to memory."""
    plan = Plan((attended(1),))
    (segment,) = program(plan, World(plan).ports, "step")
    assert isinstance(segment, InterleavedBlock) and segment.instead
    few, many = (ran(plan, decodes(tokens)) for tokens in (4, 100))
    assert few[0] == 4 * (4 * READING + 5 * 4)
    assert many[:2] == ran(without(plan), decodes(100))[:2]


def test_halves_may_still_be_the_quickest():
    """Told's own costs: the accelerator takes as long as it has tokens, and memory far longer."""
    plan = Plan((attended(30),))
    lengths = []
    for each_plan in (plan, without(plan)):
        world, ends = World(each_plan), []
        world.executor(each_plan).run(0, [decodes(16)], ends.append)
        lengths.append((world.go(), ends[0]))
    assert lengths[0] == lengths[1]
