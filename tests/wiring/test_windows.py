"""Windows change nothing: any wiring, any latencies, any load give what one clock gives, moment by moment."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import MAX_PS, Operation
from metronome.hwmodels.wiring.group import Group
from metronome.hwmodels.wiring.local import LocalMember
from metronome.hwmodels.wiring.wires import resolve

from .reactors import Asked, ReactorModel, Shape, reference

EXAMPLES = int(os.environ.get("METRONOME_WIRINGS", "60"))  # 1000 in the long form


def group_of(shapes, wires, outward=None):
    members = [LocalMember(f"c{i}", ReactorModel(shape)) for i, shape in enumerate(shapes)]
    named = [(f"c{source}.p{port}", f"c{target}") for (source, port), target in sorted(wires.items())]
    return Group(members, resolve(members, named), range(len(members)) if outward is None else outward)


def played(shapes, wires, asked, stop=False):
    """By a group: all at once, or from completion to completion as the kernel does."""
    group = group_of(shapes, wires)
    work = [(a.reactor, Operation(0, (a.size, a.depth), number, a.at_ps)) for number, a in enumerate(asked)]
    if not stop:
        done = group.play(work).completions
        return {c.op_id: (c.start_ps, c.finish_ps) for c in done}, group
    done, left = [], sorted(work, key=lambda one: one[1].at_ps)
    while left or len(done) < len(work):
        at = left[0][1].at_ps if left else MAX_PS
        found = group.advance(at, [], True).completions
        done += found
        if not found and left:
            now = [one for one in left if one[1].at_ps == at]
            left = left[len(now) :]
            done += group.advance(at, now, True).completions
    return {c.op_id: (c.start_ps, c.finish_ps) for c in done}, group


@st.composite
def wirings(draw):
    count = draw(st.integers(1, 5))
    cyclic = draw(st.booleans())
    shapes, wires = [], {}
    for me in range(count):
        others = list(range(count)) if cyclic else list(range(me + 1, count))
        ports = draw(st.integers(0, 2)) if others else 0
        for port in range(ports):
            wires[me, port] = draw(st.sampled_from(others))
        latencies = st.integers(1 if cyclic else 0, 40)
        credit = st.just(1000) if cyclic else st.integers(1, 5)
        shapes.append(
            Shape(
                tuple((draw(latencies), draw(credit)) for _ in range(ports)),
                draw(st.integers(1, 30)),
                draw(st.integers(0, 2)),
                draw(st.integers(1, 3)),
                draw(st.integers(0, 7)),
                draw(st.integers(0, 1)),
                draw(st.integers(1, 9)),
            )
        )
    one = st.builds(Asked, st.integers(0, count - 1), st.integers(0, 120), st.integers(1, 9), st.integers(0, 3))
    return shapes, wires, draw(st.lists(one, min_size=1, max_size=8))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wirings(), st.booleans())
def test_a_group_gives_what_one_clock_gives(wiring, stop):
    shapes, wires, asked = wiring
    found, answered = reference(shapes, wires, asked)
    got, group = played(shapes, wires, asked, stop)
    assert got == found  # every operation, once: nothing is lost, nothing stands still
    assert all(asked[op].at_ps <= start < end for op, (start, end) in got.items())
    if stop:
        group.play([])  # what was posted is still on its way
    assert group.messages == 2 * answered
