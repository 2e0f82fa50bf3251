"""What steps that are certain take, all at once (`metronome.orchestrator.serving.leap`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import add, sub

from .costs import Cost
from .program import Portion
from .spent import WORKING, Spent
from .uses import Values


class StepCosts:
    """What consecutive steps take on one member, as `metronome.orchestrator.serving.leap.StepCosts`.

    Of every portion the numbers and the cost of each step; one pair is of all steps. Nothing is done beside anything
    else: there are no prompts.
    """

    def __init__(
        self, portions: Sequence[tuple[Portion, list[tuple[Values, Cost]]]], count: int, name: str, spent: Spent
    ) -> None:
        self._portions, self._name, self._spent = portions, name, spent
        self._spent_pj: dict[str, list[int]] = {}  # by component
        self.durations_ps = [0] * count
        for portion, steps in portions:
            _add(self.durations_ps, [cost.duration_ps for _, cost in steps])
            energies = self._spent_pj.setdefault(portion.port.name, [0] * count)
            _add(energies, [cost.energy_pj for _, cost in steps])
        self._spent_pj = {name: pj for name, pj in self._spent_pj.items() if name.endswith(WORKING) or any(pj)}
        self.energies_pj = [sum(each) for each in zip(*self._spent_pj.values(), strict=True)] or [0] * count

    def use(self, first: int, ends_ps: Sequence[int]) -> None:
        last = first + len(ends_ps)
        for portion, steps in self._portions:
            if len(steps) == 1:
                portion.tally.add(*steps[0], len(ends_ps))
            else:
                portion.tally.add_each(steps[first:last])
        for component, energies in self._spent_pj.items():
            begins_ps = map(sub, ends_ps, self.durations_ps[first:last])
            self._spent.entries(component, self._name).extend(begins_ps, ends_ps, energies[first:last])


def _add(to: list[int], steps: Sequence[int]) -> None:
    """One number is of all steps."""
    more = repeat(steps[0], len(to)) if len(steps) == 1 else steps
    to[:] = map(add, to, more)
