"""One channel of a DRAM under a load without end: commands, banks and rows, clock by clock where something happens.

Open rows; FR-FCFS (Rixner et al., ISCA 2000): of the requests that wait, one whose row is open goes first, then the
oldest; a row with requests waiting is not closed. Reads and writes wait in queues of 32, and writes are done in turns,
as in Ramulator 2: from four fifths of their queue full to a fifth, or while no read waits. A row and a column command
may go in the same clock. All banks are refreshed together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from ..interface import Pattern
from .dram_parts import Part

QUEUE = 32
HIGH, LOW = QUEUE * 4 // 5, QUEUE // 5  # writes that wait, when they begin to be done, and when they end
PERIODS = 2  # refresh periods that are simulated; the first is not counted
NEVER = -(1 << 30)


class Request(NamedTuple):
    """A burst: its bank (of all), its row, and whether it is written."""

    bank: int
    row: int
    write: bool


def clocks_a_burst(part: Part, pattern: Pattern, written: float) -> float:
    """Mean clocks from burst to burst of one channel, ``written`` of them writes, refresh included."""
    channel = Channel(part, requests(part, pattern, written))
    start, end = part.timing.refi, PERIODS * part.timing.refi
    return (end - start) / sum(start < at <= end for at in channel.until(end))


def requests(part: Part, pattern: Pattern, written: float) -> Iterator[Request]:
    """Reads and writes, evenly mixed, each in rows of its own; their streams are half the banks apart."""
    places = (_places(part, pattern, 0, 0), _places(part, pattern, part.banks // 2, 1 << 20))
    done = 0
    for number in count(1):
        write = int(number * written) > done
        done += write
        bank, row = next(places[write])
        yield Request(bank, row, write)


def _places(part: Part, pattern: Pattern, first: int, row: int) -> Iterator[tuple[int, int]]:
    """(bank, row) of burst after burst; bank = group x banks in a group + bank in the group."""
    groups, banks, wide = part.bank_groups, part.banks, part.bursts_a_row
    state = row + 1
    for number in count():
        if pattern is Pattern.STREAM:  # groups change with every burst, then columns, banks, rows
            along, group = divmod(number, groups)
            deep, bank = divmod(along // wide, banks)
            yield group * banks + (bank + first) % banks, row + deep
        elif pattern is Pattern.STRIDED:
            yield first, row + number
        else:  # Knuth's 64-bit linear congruential generator: the upper bits of it
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            yield (state >> 40) % (groups * banks), row + (state >> 48)


class Channel:
    """Banks with their open rows, and what each command has still to wait for."""

    def __init__(self, part: Part, stream: Iterator[Request]) -> None:
        self._part, self._t, self._stream = part, part.timing, stream
        banks = part.bank_groups * part.banks
        self._open = [-1] * banks
        self._act_ok, self._pre_ok = [0] * banks, [0] * banks
        self._column_ok = [[0, 0] for _ in range(banks)]  # read, write
        self._acts: deque[int] = deque([NEVER] * 4, maxlen=4)
        self._group_act = [NEVER] * part.bank_groups
        self._column = [NEVER, NEVER]  # the last read, the last write
        self._group_column = [[NEVER, NEVER] for _ in range(part.bank_groups)]
        self._queues: tuple[list[Request], list[Request]] = ([], [])
        self._writing = False
        self._held = next(stream)
        self._refresh_at = self._t.refi

    def until(self, end: int) -> Iterator[int]:
        """When the data of each burst has passed, up to a time."""
        now = 0
        while now <= end:
            self._fill()
            waiting = self._queues[self._writing]
            column = min(((self._column_at(r), i) for i, r in enumerate(waiting) if self._hits(r)), default=None)
            row = self._row_command(waiting)
            now = min(at for at in (column and column[0], row and row[0]) if at is not None)
            if now >= self._refresh_at:
                self._refresh()
                continue
            if column is not None and column[0] == now:
                yield self._do_column(waiting.pop(column[1]), now)
            if row is not None and row[0] == now:
                self._do_row(row[1], now)

    def _fill(self) -> None:
        reads, writes = self._queues
        while len(self._queues[self._held.write]) < QUEUE:
            self._queues[self._held.write].append(self._held)
            self._held = next(self._stream)
        self._writing = bool(writes) and (not reads or len(writes) > (LOW if self._writing else HIGH))

    def _hits(self, request: Request) -> bool:
        return self._open[request.bank] == request.row

    def _column_at(self, request: Request) -> int:
        """The first clock in which its read or write may go."""
        t, burst, group, write = self._t, self._part.burst, request.bank // self._part.banks, request.write
        same, within = self._column[write], self._group_column[group][write]
        other, other_within = self._column[not write], self._group_column[group][not write]
        at = max(
            self._column_ok[request.bank][write],
            same + max(t.ccd_s, burst),
            within + (t.ccd_l_wr if write else t.ccd_l),
        )
        if write:
            return max(at, other + t.cl + burst + t.turn - t.cwl)
        return max(at, other + t.cwl + burst + t.wtr_s, other_within + t.cwl + burst + t.wtr_l)

    def _row_command(self, waiting: list[Request]) -> tuple[int, Request] | None:
        """The first precharge or activate that may go, for the oldest request of each bank whose row is not open."""
        wanted = {request.bank for request in waiting if self._hits(request)}
        best: tuple[int, int, Request] | None = None
        for age, request in enumerate(waiting):
            bank = request.bank
            if bank in wanted:
                continue
            wanted.add(bank)
            at = self._act_at(bank) if self._open[bank] < 0 else self._pre_ok[bank]
            if best is None or (at, age) < best[:2]:
                best = (at, age, request)
        return None if best is None else (best[0], best[2])

    def _act_at(self, bank: int) -> int:
        t, group = self._t, bank // self._part.banks
        return max(
            self._act_ok[bank], self._acts[-1] + t.rrd_s, self._group_act[group] + t.rrd_l, self._acts[0] + t.faw
        )

    def _do_column(self, request: Request, now: int) -> int:
        t, bank, burst = self._t, request.bank, self._part.burst
        self._column[request.write] = self._group_column[bank // self._part.banks][request.write] = now
        free = now + t.cwl + burst + t.wr if request.write else now + t.rtp
        self._pre_ok[bank] = max(self._pre_ok[bank], free)
        return now + (t.cwl if request.write else t.cl) + burst

    def _do_row(self, request: Request, now: int) -> None:
        t, bank = self._t, request.bank
        if self._open[bank] >= 0:
            self._open[bank] = -1
            self._act_ok[bank] = max(self._act_ok[bank], now + t.rp)
            return
        self._open[bank] = request.row
        self._acts.append(now)
        self._group_act[bank // self._part.banks] = now
        self._column_ok[bank] = [now + t.rcd_rd, now + t.rcd_wr]
        self._pre_ok[bank] = now + t.ras
        self._act_ok[bank] = now + t.ras + t.rp

    def _refresh(self) -> None:
        """All rows are closed, then all banks are refreshed."""
        t = self._t
        closing = max((self._pre_ok[bank] for bank, row in enumerate(self._open) if row >= 0), default=NEVER)
        start = max(self._refresh_at, closing + t.rp, max(self._act_ok) if closing == NEVER else NEVER)
        self._open = [-1] * len(self._open)
        self._act_ok = [start + t.rfc] * len(self._act_ok)
        self._refresh_at += t.refi
