"""Links that are slow for a while, or down: bytes are conserved, and transfers take the integral."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import BadOperation, Operation, Template, UnsupportedOperation

from .test_fabric import GB, HOP, collective, ends, fabric, send
from .test_fabric_trains import TRAIN, one_by_one

PS = 10**12
MILLION = 10**6


def slowdown(number, links="*"):
    return Template(number, "slowdown", f"failures.{number}", {"links": links})


def slow(template, times, at_ps, op_id):
    """``times`` as long from then on; None: nothing moves."""
    return Operation(template, (0 if times is None else round(times * MILLION),), op_id, at_ps=at_ps)


TO_1, TO_1_TOO, ALL, UP_2 = (
    send(0, "n0.0", "n0.1"),
    send(1, "n0.2", "n0.1"),
    slowdown(2),
    slowdown(3, "n0.2->n0.switch"),
)


@pytest.mark.parametrize(
    ("changes", "took_ps"),
    [
        ([(4, HOP)], 4 * 10**10),  # 1 GB at 25 GB/s
        ([(4, 0)], 4 * 10**10),  # the latency is as ever
        ([(4, HOP + 5 * 10**9)], 5 * 10**9 + 2 * 10**10),  # from the half on
        ([(4, HOP + 5 * 10**9), (1, HOP + 9 * 10**9)], 5 * 10**9 + 4 * 10**9 + 4 * 10**9),
        ([(None, HOP + 5 * 10**9), (1, HOP + 8 * 10**9)], 3 * 10**9 + 10**10),  # down for 3 ms
        ([(None, 0), (2, HOP + 7), (1, HOP + 2 * 10**9 + 7)], 7 + 2 * 10**9 + 9 * 10**9),
        ([(3, HOP + 10**11)], 10**10),  # too late
    ],
)
def test_a_transfer_takes_the_integral(changes, took_ps):
    work = [Operation(0, (GB,), 0), *(slow(2, times, at, 10 + i) for i, (times, at) in enumerate(changes))]
    found = ends(fabric([TO_1, TO_1_TOO, ALL]), sorted(work, key=lambda o: o.at_ps))
    assert found[0] == HOP + took_ps
    assert [found[10 + i] for i in range(len(changes))] == [at for _, at in changes]  # it takes no time itself


def test_what_one_loses_the_other_gets():
    """Both cross the link to n0.1; of these one comes over a link at a quarter: 25 and 75 GB/s."""
    made = fabric([TO_1, TO_1_TOO, ALL, UP_2])
    found = ends(made, [slow(3, 4, 0, 9), Operation(0, (3 * GB,), 0), Operation(1, (GB,), 1)])
    assert found == {9: 0, 0: HOP + 4 * 10**10, 1: HOP + 4 * 10**10}


def test_a_link_is_as_slow_as_the_slowest_says_and_well_when_all_say_so():
    made = fabric([TO_1, TO_1_TOO, ALL, slowdown(3, "n0.0->*")])
    changes = [(2, 2, 0), (3, 8, 0), (2, 1, HOP + 8 * 10**9), (3, 1, HOP + 16 * 10**9)]
    work = [slow(template, times, at, 10 + i) for i, (template, times, at) in enumerate(changes)]
    assert ends(made, [Operation(0, (GB,), 0), *work])[0] == HOP + 16 * 10**9 + 8 * 10**9


def test_while_a_link_is_down_nothing_is_promised_before_the_clock_ends():
    made = fabric([TO_1, TO_1_TOO, ALL])
    answer = made.advance(10**10, [slow(2, None, 0, 1), Operation(0, (GB,), 0)])
    assert [done.op_id for done in answer.completions] == [1]
    assert answer.reached_ps == 10**10 and answer.next_event_ps == 2**63 - 1
    assert made.inspect()["moving"]["0"]["rate_bytes_s"] == 0 and made.inspect()["slowed"] == {"*": 0}
    assert ends(made, [slow(2, 1, 10**10, 2)]) == {2: 10**10, 0: 2 * 10**10}


def drawn(rng):
    """(templates, operations by time) over five devices: transfers, collectives, trains, and links that get slow."""
    pairs = [rng.sample(range(4), 2) for _ in range(3)]
    templates = [send(i, f"n0.{a}", f"n0.{b}") for i, (a, b) in enumerate(pairs)]
    templates += [collective(3, "all_reduce", ["n0.0", "n0.1", "n0.3"]), Template(4, "train", "t", {"of": "3,0"})]
    templates += [slowdown(5), slowdown(6, f"n0.{rng.randrange(4)}->*")]
    work = [
        Operation(rng.randrange(4), (rng.randrange(10**6, 10**8),), at_ps=rng.randrange(4 * 10**9)) for _ in range(8)
    ]
    work.append(Operation(4, (rng.randrange(1, 20), 10**6, 10**6, 10**7, 10**6), at_ps=rng.randrange(10**9)))
    for _ in range(6):
        times = rng.choice([None, 1, 1.5, 2, 7, 1000])
        work.append(slow(rng.choice([5, 6]), times, rng.randrange(4 * 10**9), 0))
    work += [slow(template, 1, 6 * 10**9, 0) for template in (5, 6)]
    return templates, [each._replace(op_id=i) for i, each in enumerate(sorted(work, key=lambda o: o.at_ps))]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_bytes_are_conserved_and_no_link_carries_more_than_is_left_of_it(seed):
    """Every flow's rate, summed over the time between two changes, comes to its bytes; shares are max-min fair."""
    templates, work = drawn(random.Random(seed))
    work = [each for each in work if each.template != 4]  # a train is many operations
    made = fabric(templates)
    made.advance(0, work)
    by_id, flows, moved, bytes_of = {each.op_id: each for each in work}, made._flows, {}, {}
    now = 0
    while (then := flows.next_ps()) is not None:
        for op, one in flows.moving.items():
            moved[op] = moved.get(op, 0.0) + one.rate * (then - now) / PS
            bytes_of[op] = one.shape.largest * by_id[op].values[0]
        flows.at(then)
        now = then
        for number, capacity in enumerate(flows._capacity):
            assert (
                sum(one.rate * one.shape.weights.get(number, 0) for one in flows.moving.values()) <= capacity * 1.000001
            )
        for one in flows.moving.values():
            full = [
                link
                for link in one.shape.weights
                if sum(o.rate * o.shape.weights.get(link, 0) for o in flows.moving.values())
                >= flows._capacity[link] * 0.999999
            ]
            assert full or one.rate == one.cap
    assert set(moved) == {each.op_id for each in work if each.template < 4}
    assert all(moved[op] == pytest.approx(bytes_of[op], abs=2) for op in moved)  # a ps at 100 GB/s is 0.1 byte


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_how_time_is_cut_changes_nothing_nor_does_a_snapshot(seed):
    rng = random.Random(seed)
    templates, work = drawn(rng)
    whole = ends(fabric(templates), work)
    made, found, now, left = fabric(templates), {}, 0, list(work)
    while len(found) < len(work):
        then = min([now + rng.randrange(1, 10**9), *(each.at_ps for each in left[:1])])
        ahead_ps = rng.choice([0, 10**9])  # handed over before they begin
        coming = [each for each in left if each.at_ps <= then + ahead_ps]
        left = left[len(coming) :]
        answer = made.advance(then, coming)
        now = answer.reached_ps
        found |= {c.op_id: c.finish_ps for c in answer.completions}
        if rng.random() < 0.3:
            state = json.loads(json.dumps(made.snapshot()))
            made = fabric(templates)
            made.restore(state)
    assert found == whole


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_a_train_over_slow_links_equals_its_operations_one_by_one(seed):
    rng = random.Random(seed)
    gaps, sizes = [rng.randrange(0, 10**6), rng.randrange(1, 5 * 10**6)], [rng.randrange(1, 10**6) for _ in range(2)]
    laps = rng.randrange(1, 9)
    others = [slow(3, rng.choice([1, 2, 5]), rng.randrange(0, 10**8), i) for i in range(rng.randrange(1, 5))]
    templates = [collective(0, "all_reduce", ["n0.0", "n0.1"]), TO_1_TOO, TRAIN, slowdown(3, "n0.0->*")]
    train = Operation(2, (laps, gaps[0], sizes[0], gaps[1], sizes[1]), 99)
    together = ends(fabric(templates), [train, *others])
    apart = one_by_one(fabric(templates), laps, gaps, sizes, others)
    assert together[99] == max(end for op_id, end in apart.items() if op_id >= 100)


def test_what_cannot_be_is_refused():
    with pytest.raises(
        UnsupportedOperation, match=r"no link is called 'n0.0->swich'; did you mean 'n0.0->n0.switch'\?"
    ):
        fabric([slowdown(0, "n0.0->swich")])
    with pytest.raises(BadOperation, match="makes links quicker"):
        fabric([ALL]).advance(0, [slow(2, 0.5, 0, 0)])
