"""Gaps between tokens of a request: between neighbouring steps mostly, longer after a preemption or on the way to
another engine.

A gap between two steps is shared by every request that had a token in both, so it is kept once, with their number. It
is known when nobody is under way any more who may have had one: then the steps are forgotten.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..serving.request_state import RequestState
from ..sums import by_key

Ints = NDArray[np.int64]

MOST_SINGLE = 1 << 20  # gaps that are kept one by one; beyond, equal ones become one with the sum of their weights
_NONE: Ints = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class LogGaps:
    """Of one step log: the gaps that are known, and the steps that are not forgotten, from number ``base`` on.

    ``carry`` requests that are done had a token in step ``base`` and in the one before; ``opens`` and ``closes`` are
    the steps after it from which on one more, or one less, had.
    """

    base: int = 0
    ends_ps: Ints = field(default_factory=lambda: _NONE)
    delivered_ps: Ints = field(default_factory=lambda: _NONE)
    carry: int = 0
    opens: Ints = field(default_factory=lambda: _NONE)
    closes: Ints = field(default_factory=lambda: _NONE)
    count: int = 0
    gaps_ps: array[int] = field(default_factory=lambda: array("q"))
    weights: array[int] = field(default_factory=lambda: array("i"))

    def known(self, final: int) -> LogGaps:
        """Gaps between the first ``final`` steps of those here are known, and all of these but the last forgotten."""
        last = final - 1
        if last < 1:
            return self
        opens, closes = self.opens - self.base, self.closes - self.base
        if min(opens.min(initial=1), closes.min(initial=1)) < 1:
            raise AssertionError("a request had a token in a step that had ended before it was scheduled")
        early, over = opens <= last, closes <= last
        change = np.bincount(opens[early], minlength=final) - np.bincount(closes[over], minlength=final)
        both = (self.carry + np.cumsum(change))[1:]
        some = both > 0
        del self.gaps_ps[self.count :], self.weights[self.count :]
        self.gaps_ps.frombytes(np.diff(self.delivered_ps[:final])[some].tobytes())
        self.weights.frombytes(both[some].astype(np.intc).tobytes())
        return replace(
            self,
            base=self.base + last,
            ends_ps=self.ends_ps[last:].copy(),
            delivered_ps=self.delivered_ps[last:].copy(),
            carry=int(both[-1]),
            opens=self.opens[~early],
            closes=self.closes[~over],
            count=self.count + int(some.sum()),
        )


@dataclass(frozen=True, slots=True)
class Gaps:
    """Of all logs. ``jumps_ps`` are those between two steps that are not neighbours, ``merged`` distinct gaps, which
    ascend, and how often there were."""

    logs: tuple[LogGaps, ...] = ()
    jumps: int = 0
    jumps_ps: array[int] = field(default_factory=lambda: array("q"))
    merged: tuple[Ints, Ints] = (_NONE, _NONE)
    melted: int = 0  # gaps that were kept one by one and are in ``merged``

    def extended(
        self, steps: Sequence[tuple[Ints, Ints]], ended: Iterable[RequestState], before_ps: int | None
    ) -> Gaps:
        """With more steps of each log, when they ended and when their tokens were delivered, and more requests that
        are done. Nobody under way had a token in a step that ended before ``before_ps``; None: nobody counts."""
        logs = [*self.logs, *(LogGaps() for _ in range(len(steps) - len(self.logs)))]
        for number, (ends, delivered) in enumerate(steps):
            if len(ends):
                log = logs[number]
                ends, delivered = np.concatenate([log.ends_ps, ends]), np.concatenate([log.delivered_ps, delivered])
                logs[number] = replace(log, ends_ps=ends, delivered_ps=delivered)
        opens: dict[int, list[int]] = {}
        closes: dict[int, list[int]] = {}
        jumps = array("q")
        for state in ended:
            for number, first, end in state.token_steps:
                opens.setdefault(number, []).append(first + 1)
                closes.setdefault(number, []).append(end)
            # A token waits for the one before it, which may come through the busier servers of another engine.
            for one, then in pairwise(state.token_steps):
                late, early = logs[then[0]], logs[one[0]]
                gap = late.delivered_ps[then[1] - late.base] - early.delivered_ps[one[2] - 1 - early.base]
                jumps.append(max(0, int(gap)))
        for number in opens:
            log = logs[number]
            opened, closed = (np.array(rows[number], dtype=np.int64) for rows in (opens, closes))
            opened, closed = np.concatenate([log.opens, opened]), np.concatenate([log.closes, closed])
            logs[number] = replace(log, opens=opened, closes=closed)
        for number, log in enumerate(logs):
            final = len(log.ends_ps) if before_ps is None else int(np.searchsorted(log.ends_ps, before_ps))
            logs[number] = log.known(final)
        del self.jumps_ps[self.jumps :]
        self.jumps_ps.extend(jumps)
        found = replace(self, logs=tuple(logs), jumps=self.jumps + len(jumps))
        return found._together() if found.single > MOST_SINGLE else found

    @classmethod
    def together(cls, parts: Sequence[Gaps]) -> Gaps:
        """Those of several runs, of which each log is of one: as of one run that had all logs."""
        logs = [LogGaps() for _ in range(max((len(part.logs) for part in parts), default=0))]
        for part in parts:
            for number, log in enumerate(part.logs):
                logs[number] = log if log.count or len(log.ends_ps) else logs[number]
        jumps = array("q", (gap for part in parts for gap in part.jumps_ps[: part.jumps]))
        merged = tuple(np.concatenate([part.merged[column] for part in parts]) for column in (0, 1))
        found = cls(tuple(logs), len(jumps), jumps, (merged[0], merged[1]), sum(part.melted for part in parts))
        return found._together() if found.single + found.melted > MOST_SINGLE else found

    @property
    def single(self) -> int:
        """Gaps that are kept one by one."""
        return self.jumps + sum(log.count for log in self.logs)

    @property
    def table(self) -> tuple[Ints, Ints]:
        """Gaps (ps) and how often each was. Where there were few, one may be there several times, in the order of the
        logs; where there were many, once: either way the same however often equal ones were made one."""
        return self._distinct() if self.melted else self._all()

    def _all(self) -> tuple[Ints, Ints]:
        logs = self.logs
        values = [np.array(self.jumps_ps[: self.jumps], dtype=np.int64)]
        values += [np.array(log.gaps_ps[: log.count], dtype=np.int64) for log in logs]
        weights = [np.ones(self.jumps, dtype=np.int64)]
        weights += [np.array(log.weights[: log.count], dtype=np.int64) for log in logs]
        return np.concatenate([*values, self.merged[0]]), np.concatenate([*weights, self.merged[1]])

    def _together(self) -> Gaps:
        """Equal gaps as one."""
        logs = [replace(log, count=0, gaps_ps=array("q"), weights=array("i")) for log in self.logs]
        now = self.melted + self.single
        return replace(self, logs=tuple(logs), jumps=0, jumps_ps=array("q"), merged=self._distinct(), melted=now)

    def _distinct(self) -> tuple[Ints, Ints]:
        return by_key(*self._all())
