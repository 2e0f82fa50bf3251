"""What engines did in each second, and how full they all were at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..sums import by_key
from ..units import PS_PER_S

Ints = NDArray[np.int64]

#: Of a step: what adds up over a bin, and what stands at its end.
SUMS = ("prompt_tokens", "output_tokens")
STANDS = ("running", "waiting", "kv_used", "kv_cached")


@dataclass(frozen=True, slots=True)
class EngineRows:
    """Steps of an engine's lanes, and its idle moments: when each ended, and a row of each of SUMS and STANDS."""

    ends_ps: Ints
    lanes: Ints
    columns: Ints

    @classmethod
    def of(cls, lanes: Sequence[tuple[Ints, Ints]]) -> EngineRows:
        """Of each lane its ends and its columns; idle moments last."""
        numbers = np.repeat(np.arange(len(lanes)), [len(ends) for ends, _ in lanes])
        columns = np.concatenate([columns for _, columns in lanes], axis=1)
        return cls(np.concatenate([ends for ends, _ in lanes]), numbers, columns)


#: The newest row of an engine: when it ended, its lane, and how it stood then.
_Last = tuple[int, int, Ints]
_NOBODY: _Last = (-1, -1, np.zeros(len(STANDS), dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Seconds:
    """``seconds`` in which something ended, ascending; in ``changes`` the sums of SUMS of each, and by how much STANDS
    of all engines together changed in it."""

    seconds: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    changes: Ints = field(default_factory=lambda: np.empty((len(SUMS) + len(STANDS), 0), dtype=np.int64))
    last: tuple[_Last, ...] = ()

    def extended(self, engines: Sequence[EngineRows]) -> Seconds:
        """With more of each engine, none of which ended before what was there of it."""
        last = [*self.last, *(_NOBODY for _ in range(len(engines) - len(self.last)))]
        seconds, changes = [self.seconds], [self.changes]
        for number, rows in enumerate(engines):
            if len(rows.ends_ps):
                last[number], found = _changes(rows, last[number])
                seconds.append(np.maximum(found[0] - 1, 0) // PS_PER_S)
                changes.append(found[1])
        if len(seconds) == 1:
            return self
        return Seconds(*_by_second(seconds, changes), tuple(last))

    @classmethod
    def together(cls, parts: Sequence[Seconds]) -> Seconds:
        """Those of several runs of different engines."""
        return cls(*_by_second([part.seconds for part in parts], [part.changes for part in parts]))

    def binned(self, width_s: int, bins: int) -> dict[str, NDArray[np.float64]]:
        """By name the sum over each of the first so many bins of so many seconds, or how it stood at its end."""
        which, found = self.seconds // width_s, {}
        for name, change in zip((*SUMS, *STANDS), self.changes, strict=True):
            sums = np.bincount(which, change, minlength=bins).astype(np.float64)
            found[name] = np.cumsum(sums) if name in STANDS else sums
        return found


def _by_second(seconds: Sequence[Ints], changes: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Each second once, and what changed in it."""
    return by_key(np.concatenate(seconds), np.concatenate(changes, axis=1))


def _changes(rows: EngineRows, last: _Last) -> tuple[_Last, tuple[Ints, Ints]]:
    """The newest of these rows, and each one's end and changes. Of rows that ended at one time the last lane's stands,
    also if another comes to be known later."""
    order = np.lexsort((rows.lanes, rows.ends_ps))
    ends, lanes, columns = rows.ends_ps[order], rows.lanes[order], rows.columns[:, order]
    stands = columns[len(SUMS) :]
    changes = np.concatenate([columns[: len(SUMS)], np.diff(stands, axis=1, prepend=last[2][:, np.newaxis])])
    if late := int(np.count_nonzero((ends < last[0]) | ((ends == last[0]) & (lanes < last[1])))):
        changes[len(SUMS) :, :late] = 0
        if late == len(ends):
            return last, (ends, changes)
        changes[len(SUMS) :, late] = stands[:, late] - last[2]
    return (int(ends[-1]), int(lanes[-1]), stands[:, -1].copy()), (ends, changes)
