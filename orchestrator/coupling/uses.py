"""Which operations were needed how often, for models whose statistics ask for it."""

from __future__ import annotations

from collections.abc import Collection

from metronome.hwmodels.interface import OPERATION_VALUES, Feature, Template, Use

Values = tuple[int, ...]  # the numbers of an operation
Counted = dict[tuple[int, Values], list[int]]  # (template, its numbers or their class) -> how often, and sums


class Uses:
    """Every use, by its numbers (feature ACCOUNTS)."""

    def __init__(self) -> None:
        self._times: dict[tuple[int, Values], int] = {}

    def add(self, template: Template, values: Values, times: int) -> None:
        key = template.id, values
        self._times[key] = self._times.get(key, 0) + times

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

    def add(self, template: Template, values: Values, times: int) -> None:
        named = len(OPERATION_VALUES[template.kind])
        if pairs := values[named:]:
            values = (*values[:named], sum(pairs[::2]), sum(pairs[1::2]) // (len(pairs) // 2))
        key = template.id, tuple(map(int.bit_length, values))
        sums = self._sums.setdefault(key, [0] * (1 + len(values)))
        sums[0] += times
        for place, value in enumerate(values, 1):
            sums[place] += times * value

    def all(self) -> list[Use]:
        return [
            Use(template, tuple(total // times for total in totals), times)
            for (template, _), (times, *totals) in sorted(self._sums.items())
        ]

    def counted(self) -> Counted:
        return {key: list(sums) for key, sums in self._sums.items()}

    def add_counted(self, more: Counted) -> None:
        for key, sums in more.items():
            mine = self._sums.get(key, [0] * len(sums))
            self._sums[key] = [one + other for one, other in zip(mine, sums, strict=True)]

    def clear(self) -> None:
        self._sums.clear()


def uses_of(features: Collection[Feature]) -> Uses | None:
    """What a model with these features is to be given; None if nothing."""
    if Feature.ACCOUNTS in features:
        return Uses()
    return TypicalUses() if Feature.TYPICAL in features else None
