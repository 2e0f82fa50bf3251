"""Operations that are done at the same time as the one before them."""

from __future__ import annotations

import pytest

from .plans import SEQUENCES, Batch, Plan, World, each, section, work

GEMM, MEMORY, BESIDE, LAST = work(2), work(3, "dram", SEQUENCES), work(4), work(5)
PAIR = section(each(GEMM), each(MEMORY), each(BESIDE, beside=True), each(LAST), repeat=4, layers=1)
OTHERS = section(each(GEMM), each(work(6, "dram", SEQUENCES)), each(work(7), beside=True), repeat=2, layers=1)


def batch(tokens, sequences):
    """Of one prompt and decodes."""
    return Batch((tokens - sequences + 1, 0), sequences - 1, 0, 0, 0)


class Heard:
    def __init__(self):
        self.told = []

    def operations(self, instance, step, member, component, items, start_ps, took_ps):
        self.told.append((component, items[0].template.id, start_ps, took_ps))


def ran(plan, batch, **options):
    """(when its step ended, what was told of it)"""
    world, heard, ends = World(plan, **options), Heard(), []
    world.instruments.add(heard)
    world.executor(plan).run(0, [batch], lambda energy: ends.append((world.kernel.now_ps, energy)))
    world.go()
    return ends[0], heard.told


@pytest.mark.parametrize(("tokens", "sequences"), [(100, 2), (100, 90), (8, 4), (4, 3)])
def test_a_layer_takes_as_long_as_the_longer_of_the_two(tokens, sequences):
    (end, energy), _ = ran(Plan((PAIR,)), batch(tokens, sequences))
    assert end == 4 * (2 * tokens + max(3 * sequences, 4 * tokens) + 5 * tokens)
    assert energy == 4 * (11 * tokens + 3 * sequences)  # both are paid for


def test_layers_of_different_kinds_each_wait_for_their_own():
    """In one kind the memory is the longer one, in the other it is not."""
    slow = section(each(GEMM), each(work(30, "dram", SEQUENCES)), each(BESIDE, beside=True), repeat=4)
    (end, _), _ = ran(Plan((slow, OTHERS)), batch(50, 20))
    assert end == 4 * (100 + 600) + 2 * (100 + 350)


@pytest.mark.parametrize("fold", [True, False])
def test_folded_and_unfolded_agree(fold):
    plan, ends = Plan((PAIR, OTHERS)), []
    world = World(plan)
    world.executor(plan, fold=fold).run(0, [batch(100, 90)], lambda energy: ends.append(energy))
    assert world.go() == 4 * (700 + 400) + 2 * (200 + 700)
    assert ends == [4 * (1100 + 270) + 2 * (900 + 540)]


def test_what_is_hidden_is_told_after_what_takes_the_time():
    """Operations that take the same numbers on one component are told as one."""
    _, told = ran(Plan((PAIR,)), batch(100, 2))
    assert told == [("gpu", 2, 0, 2800), ("gpu", 4, 2800, 1600), ("dram", 3, 2800, 24)]
    _, told = ran(Plan((PAIR,)), Batch((), 100, 0, 0, 0))
    assert told[1:] == [("gpu", 4, 2800, 1600), ("dram", 3, 2800, 1200)]
    _, told = ran(Plan((section(each(work(9, "dram", SEQUENCES)), each(work(2), beside=True)),)), batch(100, 90))
    assert told == [("dram", 9, 0, 810), ("gpu", 2, 0, 200)]


def test_beside_a_component_that_shares_the_clock_it_comes_after():
    (end, _), _ = ran(Plan((PAIR,)), batch(100, 90), shared=("dram",))
    assert end == 4 * (200 + 270 + 400 + 500)
