"""How many clocks one channel of a DRAM takes for reads and writes of one pattern, all due at once.

Up to `SHORT` bursts are played, burst by burst: that is exact. More are as so many of the same kind, and the others at
the pace that the channel keeps when it is kept busy, with the refreshes that come meanwhile: a gigabyte costs no more
than a page. Shares of what is written are played in steps of `SHARES`, and interpolated between; how reads and writes
meet is not smooth. By test no move is further off its full play than one refresh and 3 % (all read, or all written),
5 % (up to half of it written), or 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count, islice

from ..interface import Pattern
from .dram_channel import FAR, QUEUE, Burst, Channel
from .dram_parts import Part

SHORT = 256  # bursts of a channel
SHARES = 32
STEADY, PERIODS = 0.003, 8  # refresh periods are played until one more changes the pace by less, and so many at most


def clocks(part: Part, pattern: Pattern, reads: int, writes: int) -> float:
    """From rest to the last data of that many bursts of one channel."""
    bursts = reads + writes
    if bursts <= SHORT:
        return _played(part, pattern, writes, bursts)
    low, rest = divmod(writes * SHARES, bursts)
    below = _long(part, pattern, low, bursts)
    return below + (_long(part, pattern, low + 1, bursts) - below) * rest / bursts if rest else below


def _long(part: Part, pattern: Pattern, step: int, bursts: int) -> float:
    """As `clocks`, of more than `SHORT` bursts, ``step`` of `SHARES` written. The last data ends after its command, and
    may after a refresh is due."""
    between = _unrefreshed(part, pattern, step)
    work = _played(_without_refresh(part), pattern, step * SHORT // SHARES, SHORT) + (bursts - SHORT) * between
    timing = part.timing
    commands = work - min(timing.cl, timing.cwl) - part.burst
    if commands <= timing.refi:
        return work
    busy = between / clocks_a_burst(part, pattern, step / SHARES)
    refreshed = timing.refi * max(0.0, 1 - busy)  # each stops the work so long
    return work + refreshed * (1 + (commands - timing.refi) // (timing.refi - refreshed))


@cache
def clocks_a_burst(part: Part, pattern: Pattern, written: float) -> float:
    """Mean clocks from burst to burst of a channel that is kept busy, ``written`` of them writes, refresh included."""
    refi = part.timing.refi
    channel, coming = Channel(part), requests(part, pattern, round(written * SHARES), SHARES)
    ahead, done, before = 2 * QUEUE, 0, 0.0
    for period in range(PERIODS + 1):
        for burst in islice(coming, ahead + refi // part.burst):  # more than can be done
            channel.push(0, burst)
        ended = len(channel.until((period + 1) * refi * part.tck_ps))
        if not period:  # the first begins with closed rows
            continue
        done += ended
        pace = period * refi / done
        if abs(pace - before) < STEADY * pace:
            break
        before = pace
    return pace


@cache
def _unrefreshed(part: Part, pattern: Pattern, step: int) -> float:
    """The same without refreshes."""
    alone, more = _without_refresh(part), 4 * SHORT
    first, all_of_them = (_played(alone, pattern, step * bursts // SHARES, bursts) for bursts in (SHORT, more))
    return (all_of_them - first) / (more - SHORT)


@cache
def _without_refresh(part: Part) -> Part:
    return part.model_copy(update={"timing": part.timing.model_copy(update={"refi": FAR})})


@cache
def _played(part: Part, pattern: Pattern, writes: int, bursts: int) -> int:
    channel = Channel(part)
    for burst in islice(requests(part, pattern, writes, bursts), bursts):
        channel.push(0, burst)
    return max(at for at, _ in channel.until(FAR)) // part.tck_ps


def requests(part: Part, pattern: Pattern, writes: int, of: int) -> Iterator[Burst]:
    """Reads and writes without end, evenly mixed, each in rows of its own; their streams are half the banks apart."""
    places = (_places(part, pattern, 0, 0), _places(part, pattern, part.banks // 2, 1 << 20))
    done = 0
    for number in count(1):
        write = number * writes // of > done
        done += write
        bank, row = next(places[write])
        yield Burst(bank, row, write, number)


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
