"""Loads and stores at addresses: channels that are played for others against every channel for itself."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import Operation
from metronome.hwmodels.memory import dram_parts
from metronome.hwmodels.memory.dram_channel import Burst, Channel
from metronome.hwmodels.memory.dram_requests import Requests

FAR_PS = 10**12
PART = dram_parts.part("hbm2-2000")

asked = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 7, 400, 5_000, 90_000, 2_000_000]),  # ps after the one before
        st.sampled_from([1, 64, 1_000, 5_120, 40_000]),  # bytes
        st.integers(0, 200).map(lambda lines: lines * 64),  # address
        st.booleans(),  # a store
    ),
    min_size=1,
    max_size=12,
)


def requests(drawn):
    at_ps, found = 0, []
    for number, (later, size, address, store) in enumerate(drawn):
        at_ps += later
        found.append((Operation(number, (size, address), number, at_ps), store))
    return found


def each_for_itself(part, count, wanted):
    """Bursts over the channels as they lie, every channel played on its own."""
    channels = [Channel(part) for _ in range(part.channels * count)]
    left, ends = Counter(), {}
    for operation, store in wanted:
        size, address = operation.values
        start = address // part.burst_bytes
        for number in range(start, start + max(1, -(-size // part.burst_bytes))):
            along, channel = divmod(number, len(channels))
            column, group = divmod(along, part.bank_groups)
            row, bank = divmod(column // part.bursts_a_row, part.banks)
            tag = operation.op_id
            channels[channel].push(operation.at_ps, Burst(group * part.banks + bank, row, store, tag))
            left[tag] += 1
    bursts = rows = 0
    for channel in channels:
        for at_ps, tag in channel.until(FAR_PS):
            ends[tag] = max(ends.get(tag, 0), at_ps)
            left[tag] -= 1
        bursts, rows = bursts + channel.hits, rows + channel.misses
    assert not any(left.values())
    return ends, {"bursts": bursts, "rows_opened": rows}


@settings(max_examples=60, deadline=None)
@given(asked, st.integers(1, 2))
def test_one_that_stands_for_others_ends_as_they_would(drawn, count):
    wanted = requests(drawn)
    model, done = Requests(PART, count), []
    for place, (operation, store) in enumerate(wanted):
        model.take(operation, store)
        following = wanted[place + 1][0].at_ps - 1 if place + 1 < len(wanted) else FAR_PS
        if following >= operation.at_ps:
            done += model.until(following)
    ends, figures = each_for_itself(PART, count, wanted)
    assert {one.op_id: one.finish_ps for one in done} == ends
    assert model.figures() == figures and not model.waiting


def test_of_a_long_load_one_channel_is_played():
    model = Requests(PART, 4)
    model.take(Operation(0, (64 * PART.channels * 4 * 50, 0), 0, 0), False)
    assert len(model._alike) == 1
