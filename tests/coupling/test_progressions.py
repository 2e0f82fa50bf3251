"""What of a component's quicker way is made use of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import Estimates, Provenance, Template, in_progression
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.coupling.port import AskedPort
from metronome.orchestrator.coupling.watch import WatchedLink
from metronome.orchestrator.lowering import quantity
from metronome.orchestrator.lowering.work import Work

SHAPE = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
ATTENTION = Template(0, "attention", "attention", SHAPE)
HOW = Provenance.MODELLED
FIRST, MORE = (8, 800, 120, 90), (0, 8, 1, 1)


class Own(Roofline):
    """Has an `advance` of its own, which what it inherits knows nothing of."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        return super().advance(grant_ps, operations, stop_at_first_completion)


class Odd(Roofline):
    """Says what cannot be."""

    answer: object = None

    def progression(self, operation, more, count):
        return self.answer


def port_of(kind, link=LocalLink, *more):
    made = link("gpu", lambda: kind({"device": "h100-sxm"}), *more)
    made.declare([ATTENTION])
    return AskedPort(made)


def asked(port, count=4):
    work = Work("gpu", ATTENTION, quantity.ATTENTION, 2, "i0")
    operations = port.together([work], [32])
    return operations, port.progression(operations, FIRST, MORE, count)


def test_the_costs_are_those_of_each_question_alone():
    port = port_of(Roofline)
    port.slowdown = 1.5
    operations, found = asked(port)
    each = in_progression(FIRST, MORE, 4)
    port.ask([(operations, values) for values in each])
    assert found == [operations.known[values].slower(1.5) for values in each]


def test_not_of_one_with_an_advance_of_its_own_and_not_of_one_that_is_watched():
    assert asked(port_of(Own))[1] is None
    assert asked(port_of(Roofline, WatchedLink, 5.0))[1] is None


@pytest.mark.parametrize(
    "answer",
    [
        Estimates([1] * 3, [HOW] * 3),
        Estimates([1] * 4, [HOW] * 3),
        Estimates([1, 1, 1, -1], [HOW] * 4),
        Estimates([1, 1, 1, 1.5], [HOW] * 4),
        Estimates([1] * 4, [HOW] * 4, [7, 7, 7, 10**19]),
        Estimates([1] * 4, [HOW] * 4, [7, 7, 7, -1]),
        Estimates([1] * 4, [HOW] * 4, [7, 7, 7]),
        Estimates([1] * 4, [HOW] * 4, [7, 7, 7, None]),
        Estimates([1] * 4, ["guessed by eye"] * 4),
    ],
)
def test_what_cannot_be_is_asked_for_one_by_one(answer):
    """Whoever says it there is told what is wrong."""
    port = port_of(Odd)
    port.link.component.answer = answer
    assert asked(port)[1] is None


def test_operations_of_several_kinds_are_asked_for_one_by_one():
    port = port_of(Roofline)
    operations = SimpleNamespace(works=(1, 2), repeats=(1, 1))
    assert port.progression(operations, FIRST, MORE, 4) is None
