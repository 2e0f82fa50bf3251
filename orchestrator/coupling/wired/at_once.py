"""What stands behind a port whose requests are answered at once: what is left is who asks, and the port's latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import Advanced, Completion, Description, Operation, Provenance, TimePolicy, in_order


class AtOnce(Model[Config]):
    """Any number of operations at the same time, each done a picosecond after it is due."""

    def __init__(self, stands_for: Description) -> None:
        super().__init__()
        own = replace(stands_for, time_policy=TimePolicy.CONSERVATIVE, features=frozenset(), ports=())
        self.description = own  # type: ignore[misc]
        self._due: list[Operation] = []
        self._now_ps = 0

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        self._due = sorted([*self._due, *operations], key=in_order)
        done = [one for one in self._due if one.at_ps < grant_ps]
        if stop_at_first_completion and done:
            grant_ps = done[0].at_ps + 1
            done = [one for one in done if one.at_ps < grant_ps]
        self._due = self._due[len(done) :]
        self._now_ps = max(self._now_ps, grant_ps)
        ended = (Completion(one.op_id, one.at_ps, one.at_ps + 1, Provenance.MODELLED) for one in done)
        return Advanced(self._now_ps, tuple(ended), self._due[0].at_ps + 1 if self._due else None)
