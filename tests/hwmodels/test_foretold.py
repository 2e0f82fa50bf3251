"""The fabric's next answer, told before: what then happens, and nothing of it has happened before."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import Foretelling, Operation, Template
from metronome.hwmodels.network.fabric import Fabric

FAR = 10**18
CONFIG = {"groups": [{"name": "n0", "count": 4}], "bandwidth_gb_s": 100, "latency_ns": 1000}
TEMPLATES = [
    Template(0, "send", "s", {"participants": 2, "ranks": "n0.0,n0.1"}),
    Template(1, "send", "s", {"participants": 2, "ranks": "n0.2,n0.1"}),
    Template(2, "all_reduce", "r", {"participants": 3, "ranks": "n0.1,n0.2,n0.3"}),
    Template(3, "train", "t", {"of": "2,0"}),
    Template(4, "slowdown", "w", {"links": "n0.0*"}),
]


def drawn(rng: random.Random, op_id: int, at_ps: int) -> Operation:
    template = rng.randrange(5)
    values = {
        3: (rng.randrange(1, 6), rng.randrange(10**6), rng.randrange(1, 10**6), 5, rng.randrange(1, 10**5)),
        4: (rng.choice((1, 2, 3)) * 10**6,),
    }.get(template, (rng.randrange(1, 10**6),))
    return Operation(template, values, op_id, at_ps)


def made() -> Fabric:
    fabric = Fabric(CONFIG)
    fabric.declare(TEMPLATES)
    return fabric


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_what_is_foretold_is_what_comes(seed):
    """One is asked for its next answer all the time, the other never."""
    rng = random.Random(seed)
    asked, quiet = made(), made()
    now = 0
    for op_id in range(rng.randrange(1, 12)):
        now += rng.choice((0, 1, rng.randrange(10**7), rng.randrange(10**5)))
        coming = [drawn(rng, op_id, now)]
        grant = now + rng.choice((0, 1, rng.randrange(10**7)))
        while True:
            answers = [one.advance(grant, coming, True) for one in (asked, quiet)]
            assert answers[0] == answers[1]
            coming, next_ps = [], answers[0].next_event_ps
            said = asked.foretold()
            assert (said is None) == (next_ps is None)
            if rng.random() < 0.3:
                assert asked.foretold() == said and asked.inspect() == quiet.inspect()
            if said is not None:
                assert said.reached_ps == next_ps
            if said is None or said.reached_ps > grant:
                break
            answers = [one.advance(grant, (), True) for one in (asked, quiet)]
            assert answers == [said, said]
        now = max(now, grant)
    assert asked.advance(FAR, ()) == quiet.advance(FAR, ())
    assert asked.statistics() == quiet.statistics()
    assert isinstance(asked, Foretelling)
