"""Which operations were needed how often, for models whose statistics ask for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import add

from metronome.hwmodels.interface import OPERATION_VALUES, Feature, Template, Use

Values = tuple[int, ...]  # the numbers of an operation
Counted = dict[tuple[int, Values], list[int]]  # (template, its numbers or their class) -> how often, and sums


class Uses:
    """Every use, by its numbers (feature ACCOUNTS)."""

    def __init__(self) -> None:
        self._times: dict[tuple[int, Values], int] = {}

    def add(self, works: Sequence[tuple[Template, int]], uses: Sequence[tuple[Values, int]]) -> None:
        """Operations that take the same numbers, each so often in a row: at which they were needed, and how often."""
        for values, times in uses:
            for template, repeat in works:
                key = template.id, values
                self._times[key] = self._times.get(key, 0) + times * repeat

    def all(self) -> list[Use]:
        return [Use(template, values, times) for (template, values), times in sorted(self._times.items())]

    def counted(self) -> Counted:
        """What `add_counted` takes."""
        return {key: [times] for key, times in self._times.items()}

    def add_counted(self, more: Counted) -> None:
        """Those of others, too."""
        for key, (times,) in more.items():
            self._times[key] = self._times.get(key, 0) + times

    def clear(self) -> None:
        self._times.clear()


class TypicalUses(Uses):
    """Uses whose numbers lie between the same powers of two as one, by their mean (feature TYPICAL): as many as there
    are such classes, however long a run is. Pairs behind the numbers are one pair: the first numbers' sum, the second
    ones' mean."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, Values], list[int]] = {}  # times, then of each number

    def add(self, works: Sequence[tuple[Template, int]], uses: Sequence[tuple[Values, int]]) -> None:
        summed: dict[int, dict[Values, list[int]]] = {}
        for template, repeat in works:
            named = len(OPERATION_VALUES[template.kind])
            if named not in summed:
                summed[named] = _summed(named, uses)
            for bits, sums in summed[named].items():
                self._add((template.id, bits), [repeat * total for total in sums])

    def _add(self, key: tuple[int, Values], more: list[int]) -> None:
        mine = self._sums.get(key)
        self._sums[key] = more if mine is None else list(map(add, mine, more))

    def all(self) -> list[Use]:
        return [
            Use(template, tuple(total // times for total in totals), times)
            for (template, _), (times, *totals) in sorted(self._sums.items())
        ]

    def counted(self) -> Counted:
        return {key: list(sums) for key, sums in self._sums.items()}

    def add_counted(self, more: Counted) -> None:
        for key, sums in more.items():
            self._add(key, list(sums))

    def clear(self) -> None:
        self._sums.clear()


def _summed(named: int, uses: Sequence[tuple[Values, int]]) -> dict[Values, list[int]]:
    """By class: how many, and the sums of their numbers; behind ``named`` ones there are pairs."""
    found: dict[Values, list[int]] = {}
    for values, times in uses:
        if pairs := values[named:]:
            values = (*values[:named], sum(pairs[::2]), sum(pairs[1::2]) // (len(pairs) // 2))
        bits = tuple(map(int.bit_length, values))
        more = [times, *[times * value for value in values]]
        sums = found.get(bits)
        found[bits] = more if sums is None else list(map(add, sums, more))
    return found


def uses_of(features: Collection[Feature]) -> Uses | None:
    """What a model with these features is to be given; None if nothing."""
    if Feature.ACCOUNTS in features:
        return Uses()
    return TypicalUses() if Feature.TYPICAL in features else None
