"""Moves of any size against the full play of their bursts, stated here a second time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import MAX_PS, Operation, Pattern, Template
from metronome.hwmodels.memory import dram_load, dram_parts
from metronome.hwmodels.memory.banked_dram import BankedDram
from metronome.hwmodels.memory.dram_channel import Burst, Channel
from metronome.hwmodels.memory.dram_load import SHORT, clocks

PARTS = dram_parts.names()
LOAD, MOVE, READ = Template(0, "load", "x"), Template(0, "move", "x", {"pattern": "stream"}), Template(0, "read", "x")


def took(name, template, *values):
    model = BankedDram({"part": name})
    model.declare([template])
    (done,) = model.advance(MAX_PS, [Operation(0, values)], True).completions
    return done.finish_ps - done.start_ps


def rows_of(part, pattern, first, row):
    """Where the bursts of one stream are, the first of its banks and rows given."""
    total, number, state = part.bank_groups * part.banks, 0, row + 1
    while True:
        if pattern is Pattern.STRIDED:
            yield first, row + number
        elif pattern is Pattern.RANDOM:
            state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
            yield (state >> 40) % total, row + (state >> 48)
        else:
            turn, group = number // part.bank_groups, number % part.bank_groups
            bank = turn // part.bursts_a_row % part.banks
            yield group * part.banks + (bank + first) % part.banks, row + turn // part.bursts_a_row // part.banks
        number += 1


def full(part, pattern, reads, writes):
    """Clocks of all bursts, none left out."""
    channel, both = Channel(part), reads + writes
    streams = rows_of(part, pattern, 0, 0), rows_of(part, pattern, part.banks // 2, 1 << 20)
    for number in range(both):
        write = (number + 1) * writes // both - number * writes // both
        channel.push(0, Burst(*next(streams[write]), bool(write), number))
    return max(at for at, _ in channel.until(1 << 60)) // part.tck_ps


@pytest.mark.parametrize("name", PARTS)
def test_a_short_read_is_a_load_of_the_same_bytes(name):
    """Which goes burst by burst, over all channels."""
    part = dram_parts.part(name)
    for size in (1, 1000, 65_536, SHORT * part.burst_bytes * part.channels):
        assert took(name, READ, size) == took(name, MOVE, size, 0) == took(name, LOAD, size, 0)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(PARTS),
    pattern=st.sampled_from(list(Pattern)),
    both=st.integers(1, SHORT),
    share=st.floats(0, 1),
)
def test_short_moves_are_exact(name, pattern, both, share):
    part, writes = dram_parts.part(name), round(share * both)
    assert clocks(part, pattern, both - writes, writes) == full(part, pattern, both - writes, writes)


@pytest.mark.parametrize("name", ["ddr5-4800", "hbm2-2000", "hbm3-5600"])
@pytest.mark.parametrize("pattern", Pattern)
@pytest.mark.parametrize(
    ("shares", "within"),
    [((0.0,), 0.03), ((1.0,), 0.03), ((0.01, 0.1, 1 / 3, 0.5), 0.05), ((0.7, 0.95), 0.1)],
)
def test_long_moves_are_within_a_bound_of_their_full_play(name, pattern, shares, within):
    """A size near one at which a refresh begins may have one more, or one less."""
    part = dram_parts.part(name)
    for both in (SHORT + 1, 613, 1500) if pattern is Pattern.STRIDED else (SHORT + 1, 613, 4001):
        for share in shares:
            writes = round(both * share)
            whole = full(part, pattern, both - writes, writes)
            off = abs(clocks(part, pattern, both - writes, writes) - whole)
            assert off <= within * whole + part.timing.rfc, (both, share)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("pattern", Pattern)
def test_what_is_longer_takes_longer(name, pattern):
    part = dram_parts.part(name)
    for share in (0, 0.3, 1):
        times = [clocks(part, pattern, both - round(both * share), round(both * share)) for both in range(40, 6000, 40)]
        assert all(after > before for before, after in pairwise(times))


def test_gigabytes_are_not_played(monkeypatch):
    """The first of a kind plays some thousands of bursts; others of any size, none."""
    played = []

    class Counting(Channel):
        def push(self, at_ps, burst):
            played.append(burst)
            super().push(at_ps, burst)

    own = dram_parts.part("ddr5-4800").model_dump() | {"source": "none of whose moves was asked for before"}
    monkeypatch.setattr(dram_load, "Channel", Counting)
    times, counts = [], []
    for size in (1 << 30, 1 << 32, (1 << 40) + 12_345):
        times.append(took(own, MOVE, size, 0))
        counts.append(len(played))
    assert 0 < counts[0] < 20_000 and counts == [counts[0]] * 3
    assert times[1] == pytest.approx(4 * times[0], rel=1e-3)
