"""What passes at the ports of an island while an operation is played, for who wants to see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from metronome.hwmodels.interface import Completion, Operation, Template
from metronome.hwmodels.wiring.place import Origin

from ...errors import InputError
from ..link import Link
from ..wrapped import WrappedLink
from .island import IslandLink


class Passed(NamedTuple):
    """A request that was answered. Times are picoseconds from the operation's start: when it was asked for (a port's
    least latency before it was due), when it was due, and from when to when it was done."""

    asker: str
    port: str
    target: str
    kind: str
    op_id: int
    values: tuple[int, ...]
    asked_ps: int
    at_ps: int
    start_ps: int
    finish_ps: int


class Played(NamedTuple):
    """How long an operation takes, ps; all that passes meanwhile, by when it was due; and the figures that whoever is
    asked gives of it (`Component.statistics`)."""

    took_ps: int
    passed: list[Passed]
    figures: Mapping[str, float]


def island(link: Link) -> IslandLink:
    """The island behind a link. Raises InputError where there is none to look into."""
    found = link
    while isinstance(found, WrappedLink):
        if isinstance(found, IslandLink):
            return found
        found = found.behind
    raise InputError("debugger", "inside", link.name, "is wired to nobody, or hosts whom it asks: nothing passes here")


def played(link: Link, templates: Sequence[Template], operation: Operation) -> Played:
    """In a session of its own. Raises InputError, ComponentFailure."""
    again = island(link).again()
    again.declare(templates)
    found: list[Passed] = []

    def told(asker: str, port: str, target: str, asked: Origin, done: Completion) -> None:
        latency = asked.wire.latency_ps if asked.wire else 0
        times = (asked.at_ps - latency, asked.at_ps, done.start_ps, done.finish_ps)
        found.append(Passed(asker, port, target, asked.kind, asked.op_id, asked.values, *times))

    island(again).listen(told)
    (done,) = again.advance(0, [operation], False).completions
    found.sort(key=lambda one: (one.at_ps, one.asker, one.port, one.op_id))
    figures = {key: value for key, value in again.statistics(()).items() if isinstance(value, int | float)}
    return Played(done.finish_ps - done.start_ps, found, figures)
