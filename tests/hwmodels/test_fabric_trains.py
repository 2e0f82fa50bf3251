"""Trains in the fabric: operations one after another, with gaps, as one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import Operation, Template
from metronome.hwmodels.network.fabric.flows import Flows

from .test_fabric import FAR, GB, HOP, collective, ends, fabric, send

RING, OTHER = collective(0, "all_reduce", ["n0.0", "n0.1"]), send(1, "n0.2", "n0.1")
TRAIN = Template(2, "train", "t", {"of": "0,0"})


def one_by_one(made, laps, gaps, sizes, others):
    """The same as a train, each operation handed over when the one before is done."""
    pending, finished, number, now, at_leg = sorted(others, key=lambda o: o.at_ps), {}, 100, 0, 0
    next_at = gaps[0]
    while at_leg < laps * len(gaps) or len(finished) < len(others) + laps * len(gaps):
        queue = [o.at_ps for o in pending[:1]] + ([next_at] if next_at is not None else [])
        promised = made.advance(now, ()).next_event_ps
        grant = min([*queue, *([promised] if promised is not None else [])])
        answer = made.advance(grant, (), True)
        now = grant
        for c in answer.completions:
            finished[c.op_id] = c.finish_ps
            if c.op_id >= 100:
                at_leg += 1
                next_at = c.finish_ps + gaps[at_leg % len(gaps)] if at_leg < laps * len(gaps) else None
        new = []
        while pending and pending[0].at_ps == now:
            new.append(pending.pop(0))
        if next_at == now:
            new.append(Operation(0, (sizes[at_leg % len(gaps)],), number, at_ps=now))
            number, next_at = number + 1, None
        if new:
            early = made.advance(now, new, True)
            assert all(done.start_ps == done.finish_ps for done in early.completions)  # links that get slow, at once
            finished |= {done.op_id: done.finish_ps for done in early.completions}
    return finished


def _as_a_train(operation, rng):
    """One lap of it, which begins to wait for it earlier."""
    gap = rng.randrange(0, operation.at_ps + 1)
    return Operation(3, (1, gap, *operation.values), operation.op_id, at_ps=operation.at_ps - gap)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_a_train_equals_its_operations_one_by_one(seed):
    rng = random.Random(seed)
    gaps = [rng.randrange(0, 10**6), rng.randrange(1, 5 * 10**6)]
    sizes = [rng.randrange(1, 10**6), rng.randrange(1, 10**6)]
    laps = rng.randrange(1, 9)
    others = [
        Operation(1, (rng.randrange(1, 10**6),), i, at_ps=rng.randrange(0, 10**8)) for i in range(rng.randrange(0, 5))
    ]
    train = Operation(2, (laps, gaps[0], sizes[0], gaps[1], sizes[1]), 99)
    beside = [_as_a_train(one, rng) if rng.random() < 0.5 else one for one in others]
    together = ends(fabric([RING, OTHER, TRAIN, Template(3, "train", "t", {"of": "1"})]), [train, *beside])
    apart = one_by_one(fabric([RING, OTHER, TRAIN]), laps, gaps, sizes, others)
    assert together[99] == max(end for op_id, end in apart.items() if op_id >= 100)
    assert {o.op_id: together[o.op_id] for o in others} == {o.op_id: apart[o.op_id] for o in others}


@pytest.mark.parametrize("shift_ps", [-1, 0, 1])
def test_what_joins_just_as_a_leg_of_a_train_ends_or_moves_is_as_one_by_one(shift_ps):
    """Ties: the other's flows begin to move at the very end of a leg, or as the next one's do."""
    gaps, sizes, laps = [0, 3 * 10**6], [400_000, 200_000], 3
    train = Operation(2, (laps, gaps[0], sizes[0], gaps[1], sizes[1]), 99)
    ended = sorted(one_by_one(fabric([RING, OTHER, TRAIN]), laps, gaps, sizes, []).values())
    moves = [end - round(sizes[i % 2] / (100 * GB) * 10**12) for i, end in enumerate(ended)]
    for when in [*ended, *moves, *(end + gaps[i % 2] for i, end in enumerate(ended, 1))]:
        if when + shift_ps >= HOP:
            others = [Operation(1, (10**6,), 0, at_ps=when + shift_ps - HOP)]
            together = ends(fabric([RING, OTHER, TRAIN]), [train, *others])
            apart = one_by_one(fabric([RING, OTHER, TRAIN]), laps, gaps, sizes, others)
            assert together == {0: apart[0], 99: max(end for op_id, end in apart.items() if op_id >= 100)}, when


def test_a_long_train_that_is_not_alone_at_its_end_ends_there():
    gaps, sizes, laps = [0, 3 * 10**6], [400_000, 200_000], 150
    train = Operation(2, (laps, gaps[0], sizes[0], gaps[1], sizes[1]), 99)
    alone = ends(fabric([RING, OTHER, TRAIN]), [train])[99]
    others = [Operation(1, (10**7,), 0, at_ps=alone - 10**7)]
    together = ends(fabric([RING, OTHER, TRAIN]), [train, *others])
    apart = one_by_one(fabric([RING, OTHER, TRAIN]), laps, gaps, sizes, others)
    assert together == {0: apart[0], 99: max(end for op_id, end in apart.items() if op_id >= 100)}
    assert alone < together[99] < together[0]


def test_a_train_alone_costs_its_end(monkeypatch):
    calls, at = [], Flows.at
    monkeypatch.setattr(Flows, "at", lambda flows, when: calls.append(when) or at(flows, when))
    made = fabric([RING, TRAIN])
    assert len(made.advance(FAR, [Operation(2, (10_000, 5, 10**6, 5, 10**6), 0)]).completions) == 1
    assert len(calls) == 1
