"""Half batches that take turns on the accelerator and in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.coupling.program import InterleavedBlock, Stretch, program
from metronome.orchestrator.coupling.sub_batches import Half, Round, halves, interleaved_ps
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.quantity import one
from metronome.orchestrator.serving.batch import Batch

from .plans import SEQUENCES, Plan, World, decodes, each, section, work

FEW = st.integers(0, 30)
CONTEXTS = one("context_sum")


@given(st.lists(st.tuples(st.integers(2, 500), FEW), max_size=5), FEW, st.integers(0, 2000), FEW)
def test_halves_are_the_batch(prompts, decodes, context, padding):
    batch = Batch(tuple(n for pair in prompts for n in pair), decodes, decodes * context, context, context, padding)
    pair = halves(batch)
    if pair is None:
        assert batch.sequences < 2 or (not decodes and len(prompts) == 1)
        return
    first, second = pair
    assert all(half.sequences for half in pair)
    assert first.tokens + second.tokens == batch.tokens and first.decodes + second.decodes == decodes
    assert first.context_sum + second.context_sum == batch.context_sum and first.padding + second.padding == padding
    both = sorted(
        zip(first.prompts[::2] + second.prompts[::2], first.prompts[1::2] + second.prompts[1::2], strict=True)
    )
    assert both == sorted(prompts)
    if not prompts:
        assert 0 <= first.decodes - second.decodes <= 1


def needs(before, memory, after, beside=0):
    return Half((Round(before, memory, beside),), after)


def test_by_hand():
    """Two layers: A is computed (2), then B, while A's attention (5) is in memory; B's attention follows A's."""
    half = needs(2, 5, 3)
    # A 0-2, B 2-4 on the accelerator; memory A 2-7, B 7-12; A's 3 + 2: 7-12; B's: 12-17; memory A 12-17, B 17-22;
    # A's 3: 17-20; B's: 22-25.
    assert interleaved_ps(2, half, half) == 25
    # What takes the accelerator 5 and the memory 1 is never hidden, nor waited for but at the start.
    assert interleaved_ps(3, needs(3, 1, 2), needs(3, 1, 2)) == 30
    # Prompts of B are attended to beside its decodes, and keep the accelerator from A.
    assert interleaved_ps(1, needs(2, 5, 3), needs(2, 5, 3, beside=8)) == 18


HALF = st.builds(needs, FEW, FEW, FEW, FEW)


@given(st.integers(1, 6), HALF, HALF)
def test_between_the_busier_of_the_two_and_one_half_after_the_other(repeat, first, second):
    def alone(half):
        (one,) = half.rounds
        return repeat * (one.before + max(one.memory, one.beside) + half.after)

    took = interleaved_ps(repeat, first, second)
    accelerator = repeat * sum(h.after + h.rounds[0].before + h.rounds[0].beside for h in (first, second))
    memory = repeat * sum(h.rounds[0].memory for h in (first, second))
    assert max(accelerator, memory, alone(first), alone(second)) <= took <= alone(first) + alone(second)


@given(st.integers(1, 40), HALF, HALF)
def test_repetition_by_repetition(repeat, first, second):
    """As `interleaved_ps`, which stops counting when one repetition is like the one before."""
    free, memory_free, attended = 0, 0, [0, 0]
    for number in range(repeat):
        for i, half in enumerate((first, second)):
            ((before, memory, beside),) = half.rounds
            free = max(free, attended[i]) + (half.after if number else 0) + before
            memory_free = attended[i] = max(memory_free, free) + memory
            free += beside
    for i, half in enumerate((first, second)):
        free = max(free, attended[i]) + half.after
    assert interleaved_ps(repeat, first, second) == free


@given(st.integers(1, 5), HALF, HALF)
def test_a_block_of_two_layers_is_two_blocks_of_one(repeat, half, other):
    """If both have the same layers."""
    (mine,), (others,) = half.rounds, other.rounds
    twice = Half((mine, mine._replace(before=half.after + mine.before)), half.after)
    again = Half((others, others._replace(before=other.after + others.before)), other.after)
    assert interleaved_ps(repeat, twice, again) == interleaved_ps(2 * repeat, half, other)


QKV, PROMPTS, MLP = work(2), work(4, operands=one("tokens", per=0)), work(5)


def block(memory, interleaved=True, **more):
    attention = each(work(memory, "dram", CONTEXTS))
    return section(
        each(QKV), attention, each(PROMPTS, beside=True), each(MLP), repeat=4, interleaved=interleaved, layers=1, **more
    )


class Heavy:
    """Of a world's accelerator: an operation takes as long for one token as for 64, as if it read its weights."""

    @staticmethod
    def put(world):
        gpu = world.links["gpu"].component
        gpu.cost = lambda operation: operation.template * 64


def ran(plan, batch, change=lambda world: None, **options):
    world, ends = World(plan, **options), []
    change(world)
    world.executor(plan).run(0, [batch], ends.append)
    return world.go(), ends[0]


@pytest.mark.parametrize("context", [1, 10, 100, 1000])
def test_never_slower_than_the_whole_batch(context):
    batch = decodes(16, context)
    (turns, _), (whole, _) = (ran(Plan((block(3, interleaved),)), batch) for interleaved in (True, False))
    assert turns <= whole


def test_where_it_pays_both_halves_are_paid_for():
    """Told's operations take as long as they have tokens, so that halves cost the accelerator nothing more."""
    batch = decodes(16, 10)
    (turns, energy), (whole, same) = (ran(Plan((block(3, way),)), batch) for way in (True, False))
    half = needs(2 * 8, 3 * 80, 5 * 8)
    assert (turns, whole) == (interleaved_ps(4, half, half), 4 * (2 * 16 + 3 * 160 + 5 * 16))
    assert energy == same and turns < whole


def test_where_weights_are_read_twice_for_little_the_batch_stays_whole():
    batch, plans = decodes(16, 1), [Plan((block(3, way),)) for way in (True, False)]
    assert ran(plans[0], batch, Heavy.put) == ran(plans[1], batch, Heavy.put)


def test_a_sequence_alone_is_not_halved():
    assert ran(Plan((block(3),)), decodes(1, 1000)) == ran(Plan((block(3, False),)), decodes(1, 1000))


class Heard:
    def __init__(self):
        self.told = []

    def operations(self, instance, step, member, component, items, start_ps, took_ps):
        self.told.append((component, start_ps, start_ps + took_ps))


def test_told_is_a_chain_of_the_whole_time_and_what_it_hides():
    plan, heard = Plan((block(3),)), Heard()
    world = World(plan)
    world.instruments.add(heard)
    world.executor(plan).run(0, [decodes(16, 10)], lambda energy: None)
    end = world.go()
    reached, memory = 0, 0
    for component, start, finish in heard.told:
        memory += (finish - start) * (component == "dram")
        if start == reached:
            reached = finish
        else:
            assert component == "dram" and finish <= reached  # hidden
    assert reached == end and memory == 4 * 3 * 160


def test_a_block_is_one_segment_folded_or_not():
    plan = Plan((section(each(QKV)), block(3), section(each(work(6, operands=SEQUENCES)))))
    kinds = [type(segment) for segment in program(plan, World(plan).ports, "step")]
    assert kinds == [Stretch, InterleavedBlock, Stretch]
    world, ends = World(plan), []
    world.executor(plan, fold=False).run(0, [decodes(16, 10)], ends.append)
    assert (world.go(), ends[0]) == ran(plan, decodes(16, 10))


def test_what_others_use_meanwhile_is_refused():
    plan = Plan((block(3),))
    with pytest.raises(InputError, match=r"instances.chat.sub_batch_interleaving.*others use dram"):
        program(plan, World(plan, shared=("dram",)).ports, "step")
