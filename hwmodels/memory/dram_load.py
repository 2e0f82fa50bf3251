"""One channel of a DRAM under a load without end: how many clocks from burst to burst."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from ..interface import Pattern
from .dram_channel import QUEUE, Burst, Channel
from .dram_parts import Part

PERIODS = 2  # refresh periods that are simulated; the first is not counted


def clocks_a_burst(part: Part, pattern: Pattern, written: float) -> float:
    """Mean clocks from burst to burst of one channel, ``written`` of them writes, refresh included."""
    start, end = part.timing.refi, PERIODS * part.timing.refi
    channel = Channel(part)
    for burst in islice(requests(part, pattern, written), end // part.burst + 2 * QUEUE):  # more than can be done
        channel.push(0, burst)
    return (end - start) / sum(start < at // part.tck_ps <= end for at, _ in channel.until(end * part.tck_ps))


def requests(part: Part, pattern: Pattern, written: float) -> Iterator[Burst]:
    """Reads and writes, evenly mixed, each in rows of its own; their streams are half the banks apart."""
    places = (_places(part, pattern, 0, 0), _places(part, pattern, part.banks // 2, 1 << 20))
    done = 0
    for number in count(1):
        write = int(number * written) > done
        done += write
        bank, row = next(places[write])
        yield Burst(bank, row, bool(write), number)


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
