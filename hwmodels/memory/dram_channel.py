"""One channel of a DRAM: commands, banks and rows, clock by clock where something happens.

Open rows; FR-FCFS (Rixner et al., ISCA 2000): of the bursts that wait, one whose row is open goes first, then the
oldest; a row with bursts waiting is not closed. Reads and writes wait in queues of 32, more in front of these, in
order; writes are done in turns, as in Ramulator 2: from four fifths of their queue full to a fifth, or while no read
waits. A row and a column command may go in the same clock. All banks are refreshed together.

When all is done the channel is as new: its rows are closed, and a refresh is due tREFI after the next burst. So what it
takes does not depend on when, and while it has work it is refreshed as it should be. Inside, times are clocks of the
part, from the first burst of such a period.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import NamedTuple

from .dram_parts import Part

QUEUE = 32
HIGH, LOW = QUEUE * 4 // 5, QUEUE // 5  # writes that wait, when they begin to be done, and when they end
NEVER, FAR = -(1 << 30), 1 << 62


class Burst(NamedTuple):
    """``bank`` of all, ``tag`` what it is a part of."""

    bank: int
    row: int
    write: bool
    tag: int


class _Waiting(NamedTuple):
    age: int
    row: int
    tag: int


class Channel:
    """``hits``: bursts that have passed; ``misses``: rows opened for them."""

    def __init__(self, part: Part) -> None:
        self._part, self._t = part, part.timing
        self._banks = part.bank_groups * part.banks
        self.hits = self.misses = 0
        self._tck = part.tck_ps
        self._start_ps = 0  # of the present period of work
        self._coming: deque[tuple[int, Burst]] = deque()
        self._new()

    def _new(self) -> None:
        banks, groups = self._banks, self._part.bank_groups
        self._open = [-1] * banks
        self._act_ok, self._pre_ok = [0] * banks, [0] * banks
        self._column_ok = ([0] * banks, [0] * banks)  # read, write
        self._acts: deque[int] = deque([NEVER] * 4, maxlen=4)
        self._group_act = [NEVER] * groups
        self._column = [NEVER, NEVER]  # the last read, the last write
        self._group_column = ([NEVER] * groups, [NEVER] * groups)
        self._waiting: tuple[dict[int, deque[_Waiting]], dict[int, deque[_Waiting]]] = ({}, {})
        self._counts = [0, 0]
        self._writing = False
        self._age = 0
        self._now = 0
        self._passed = -1  # commands of up to then have gone
        self._busy_until = -1  # the last data
        self._refresh_at = self._t.refi

    def again(self) -> Channel:
        """Another that has the same behind it and before it."""
        found = copy(self)
        found._coming = self._coming.copy()
        found._open, found._act_ok, found._pre_ok = self._open[:], self._act_ok[:], self._pre_ok[:]
        found._column_ok = (self._column_ok[0][:], self._column_ok[1][:])
        found._acts, found._group_act, found._column = self._acts.copy(), self._group_act[:], self._column[:]
        found._group_column = (self._group_column[0][:], self._group_column[1][:])
        reads, writes = ({bank: waiting.copy() for bank, waiting in of.items()} for of in self._waiting)
        found._waiting, found._counts = (reads, writes), self._counts[:]
        return found

    def rests(self, at_ps: int) -> bool:
        """Whether by then all it was given has passed: what is pushed then finds it as new."""
        return not self._coming and not any(self._counts) and self._clock(at_ps) > self._busy_until

    def push(self, at_ps: int, burst: Burst) -> None:
        """In the order of their times (ps)."""
        self._coming.append((at_ps, burst))

    @property
    def next_ps(self) -> int:
        """Before which no more data will have passed; FAR if nothing is left."""
        if any(self._counts):
            soonest = self._passed + 1
        elif self._coming:
            soonest = max(self._passed + 1, self._clock(self._coming[0][0]))
        else:
            return FAR
        return self._start_ps + (soonest + min(self._t.cl, self._t.cwl) + self._part.burst) * self._tck

    def until(self, end_ps: int) -> list[tuple[int, int]]:
        """(when its data has passed, tag) of bursts whose commands go by then; nothing more will come before."""
        found: list[tuple[int, int]] = []
        while True:
            if not any(self._counts):
                if not self._coming or self._coming[0][0] > end_ps:
                    break
                self._wake(self._coming[0][0])
            end = (end_ps - self._start_ps) // self._tck
            self._fill()
            column, row = self._best()
            at = max(self._now, min(column[0], row[0]))
            if self._coming and self._room(self._coming[0][1]):
                arrives = self._clock(self._coming[0][0])
                if self._now < arrives <= at:
                    if arrives > end:
                        break
                    self._now = arrives
                    continue
            if at > end:
                break
            self._now = at
            if at >= self._refresh_at:
                self._refresh()
            elif column[0] <= at:
                done, tag = self._do_column(column[2], at)
                found.append((self._start_ps + done * self._tck, tag))
                if row[0] <= at and row[2] != column[2]:
                    self._do_row(row[2], at)
            else:
                self._do_row(row[2], at)
        self._passed = max(self._passed, (end_ps - self._start_ps) // self._tck)
        return found

    def _clock(self, at_ps: int) -> int:
        return -(-(at_ps - self._start_ps) // self._tck)

    def _wake(self, at_ps: int) -> None:
        """A burst comes, and nothing waits. After the last data has passed, a new period of work begins with it."""
        if self._clock(at_ps) > self._busy_until:
            self._new()
            self._start_ps = at_ps
        self._now = max(self._now, self._clock(at_ps))

    def _room(self, burst: Burst) -> bool:
        return self._counts[burst.write] < QUEUE

    def _fill(self) -> None:
        coming, counts = self._coming, self._counts
        while coming and self._clock(coming[0][0]) <= self._now and self._room(coming[0][1]):
            _, (bank, row, write, tag) = coming.popleft()
            self._waiting[write].setdefault(bank, deque()).append(_Waiting(self._age, row, tag))
            self._age += 1
            counts[write] += 1
        reads, writes = counts
        self._writing = writes > 0 and (not reads or writes > (LOW if self._writing else HIGH))

    def _best(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(when, age, bank) of the column command, and of the row command, that may go first."""
        column = row = (FAR, 0, -1)
        write = self._writing
        for bank, waiting in self._waiting[write].items():
            open_row = self._open[bank]
            hit = waiting[0] if waiting[0].row == open_row else self._hit(waiting, open_row)
            if hit is not None:
                at = (self._column_at(bank, write), hit.age, bank)
                column = min(at, column)
            else:
                at = (self._act_at(bank) if open_row < 0 else self._pre_ok[bank], waiting[0].age, bank)
                row = min(at, row)
        now = self._now
        return (max(now, column[0]), *column[1:]), (max(now, row[0]), *row[1:])

    @staticmethod
    def _hit(waiting: deque[_Waiting], row: int) -> _Waiting | None:
        return None if row < 0 else next((one for one in waiting if one.row == row), None)

    def _column_at(self, bank: int, write: bool) -> int:
        """The first clock in which its read or write may go."""
        t, burst, group = self._t, self._part.burst, bank // self._part.banks
        at = max(
            self._column_ok[write][bank],
            self._column[write] + max(t.ccd_s, burst),
            self._group_column[write][group] + (t.ccd_l_wr if write else t.ccd_l),
        )
        other, other_within = self._column[not write], self._group_column[not write][group]
        if write:
            return max(at, other + t.cl + burst + t.turn - t.cwl)
        return max(at, other + t.cwl + burst + t.wtr_s, other_within + t.cwl + burst + t.wtr_l)

    def _act_at(self, bank: int) -> int:
        t, group = self._t, bank // self._part.banks
        return max(
            self._act_ok[bank], self._acts[-1] + t.rrd_s, self._group_act[group] + t.rrd_l, self._acts[0] + t.faw
        )

    def _do_column(self, bank: int, now: int) -> tuple[int, int]:
        t, burst, write = self._t, self._part.burst, self._writing
        waiting = self._waiting[write][bank]
        row = self._open[bank]
        place = next(number for number, one in enumerate(waiting) if one.row == row)
        tag = waiting[place].tag
        del waiting[place]
        if not waiting:
            del self._waiting[write][bank]
        self._counts[write] -= 1
        self.hits += 1
        self._column[write] = self._group_column[write][bank // self._part.banks] = now
        free = now + t.cwl + burst + t.wr if write else now + t.rtp
        self._pre_ok[bank] = max(self._pre_ok[bank], free)
        done = now + (t.cwl if write else t.cl) + burst
        self._busy_until = max(self._busy_until, done)
        return done, tag

    def _do_row(self, bank: int, now: int) -> None:
        t = self._t
        if self._open[bank] >= 0:
            self._open[bank] = -1
            self._act_ok[bank] = max(self._act_ok[bank], now + t.rp)
            return
        self.misses += 1
        self._open[bank] = self._waiting[self._writing][bank][0].row
        self._acts.append(now)
        self._group_act[bank // self._part.banks] = now
        self._column_ok[0][bank], self._column_ok[1][bank] = now + t.rcd_rd, now + t.rcd_wr
        self._pre_ok[bank] = now + t.ras
        self._act_ok[bank] = now + t.ras + t.rp

    def _refresh(self) -> None:
        """All rows are closed, then all banks are refreshed."""
        t = self._t
        closing = max((self._pre_ok[bank] for bank, row in enumerate(self._open) if row >= 0), default=NEVER)
        start = max(self._refresh_at, closing + t.rp, max(self._act_ok) if closing == NEVER else NEVER)
        self._open = [-1] * self._banks
        self._act_ok = [start + t.rfc] * self._banks
        self._refresh_at += t.refi
