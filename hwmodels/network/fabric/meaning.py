"""What an operation means in links: which algorithm it takes, its legs, what it carries, its energy."""

from __future__ import annotations

from ...interface import PS_PER_S, BadOperation, Template
from .shapes import Shape
from .trains import Leg

REMEMBERED = 100_000  # legs worked out, for when they come again


class Meaning:
    """Of every operation that was declared. ``carried``: bytes asked for by (template, which of its shapes)."""

    def __init__(self, energy_pj_per_bit: float | None) -> None:
        self._energy_pj_per_bit = energy_pj_per_bit
        self._shapes: dict[int, list[Shape]] = {}
        self._participants: dict[int, int] = {}
        self._members: dict[int, list[int]] = {}  # of trains
        self._legs: dict[tuple[int, int, int], Leg] = {}  # (template, size, gap) -> what that is
        self.carried: dict[tuple[int, int], int] = {}

    def declare(self, template: Template, shapes: list[Shape]) -> None:
        """A send or a collective, and how it may be done."""
        self._shapes[template.id] = shapes
        self._participants[template.id] = int(template.attributes["participants"])

    def declare_train(self, template: Template) -> bool:
        """False if it is made of what was not declared before it."""
        self._members[template.id] = [int(member) for member in str(template.attributes["of"]).split(",")]
        return set(self._members[template.id]) <= self._shapes.keys()

    def links(self) -> dict[int, frozenset[int]]:
        """template -> numbers of the links it may cross."""
        found = {
            template: frozenset[int]().union(*(shape.weights for shape in shapes))
            for template, shapes in self._shapes.items()
        }
        for train, members in self._members.items():
            found[train] = frozenset().union(*(found[member] for member in members))
        return found

    def leg(self, template: int, size: int, gap_ps: int = 0) -> Leg:
        """A send or a collective of ``size`` bytes that begins ``gap_ps`` after what was before it."""
        key = (template, size, gap_ps)
        leg = self._legs.get(key)
        if leg is None:
            if len(self._legs) >= REMEMBERED:
                self._legs.clear()
            leg = self._legs[key] = self._new_leg(*key)
        return leg

    def _new_leg(self, template: int, size: int, gap_ps: int) -> Leg:
        place, low = self._choose(template, size)
        shape = self._shapes[template][place]
        latency = (shape.low_ps if low else shape.bulk_ps) + round(shape.copy_s * size * PS_PER_S)
        return Leg.of(gap_ps, shape, latency, shape.low_rate if low else shape.rate, shape.largest * size, place)

    def _choose(self, template: int, size: int) -> tuple[int, bool]:
        """The algorithm, by the place of its shape, and the protocol that would be quickest alone, the first of
        equals."""
        best: tuple[float, int, bool] | None = None
        for place, shape in enumerate(self._shapes[template]):
            work = shape.largest * size * PS_PER_S
            for low, rate, latency in ((True, shape.low_rate, shape.low_ps), (False, shape.rate, shape.bulk_ps)):
                if not rate or size > shape.most:
                    continue
                time = latency + work / rate
                if best is None or time < best[0]:
                    best = (time, place, low)
        if best is None:
            raise AssertionError("every template has a shape with a rate")
        return best[1], best[2]

    def laps(self, template: Template, values: tuple[int, ...]) -> tuple[int, list[tuple[int, int, int]]]:
        """(repetitions, (member template, gap, size) of each leg) of a train. Raises BadOperation."""
        members = self._members[template.id]
        if len(values) != 1 + 2 * len(members) or values[0] < 1:
            raise BadOperation(f"a train of {len(members)} takes its repetitions, then a gap and a size of each")
        return values[0], list(zip(members, values[1::2], values[2::2], strict=True))

    def _parts(self, template: Template, values: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """(template, size, times) of the plain operations in one."""
        if template.kind == "slowdown":
            return []
        if template.kind != "train":
            return [(template.id, values[0], 1)]
        repeat, legs = self.laps(template, values)
        return [(member, size, repeat) for member, _, size in legs]

    def energy_pj(self, template: Template, values: tuple[int, ...]) -> int | None:
        """Of all bits that it moves over a link; None where the network does not say what one takes."""
        per_bit = self._energy_pj_per_bit
        if per_bit is None:
            return None
        return sum(
            times * round(self.leg(member, size).shape.moved * size * 8 * per_bit / self._participants[member])
            for member, size, times in self._parts(template, values)
        )

    def carry(self, template: int, leg: Leg, size: int) -> None:
        """Count bytes: a figure a template and algorithm, however long the run."""
        key = template, leg.place
        self.carried[key] = self.carried.get(key, 0) + size

    def carried_with(self, more: list[tuple[Template, tuple[int, ...], int]]) -> list[tuple[int, Shape, int]]:
        """(template, shape, bytes) of all that was carried and of ``more``: operations' (template, values, times)."""
        carried = dict(self.carried)
        for template, values, often in more:
            for member, size, times in self._parts(template, values):
                key = member, self.leg(member, size).place
                carried[key] = carried.get(key, 0) + size * times * often
        return [(template, self._shapes[template][place], size) for (template, place), size in sorted(carried.items())]
