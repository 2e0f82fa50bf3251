"""Loads and stores at addresses: closed forms, and nothing that depends on how time is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local
from metronome.hwmodels.interface import ComponentError, Feature, Operation, Template, TimePolicy, UnsupportedOperation
from metronome.hwmodels.memory import dram_parts
from metronome.hwmodels.memory.banked_dram import BankedDram

LOAD, STORE = Template(0, "load", "x"), Template(1, "store", "x")
PARTS = ("ddr4-3200", "ddr5-4800", "hbm2-2000", "hbm3-5600")


def dram(part="ddr4-3200", **config):
    made = BankedDram({"part": part, **config})
    made.declare([LOAD, STORE])
    return made


def done(model, *asked):
    """(start, finish) of operations (template, bytes, address, at)."""
    work = [Operation(t, (size, address), number, at) for number, (t, size, address, at) in enumerate(asked)]
    return {
        c.op_id: (c.start_ps, c.finish_ps)
        for c in model.advance(max(one.at_ps for one in work) + 10**9, work).completions
    }


@pytest.mark.parametrize("name", PARTS)
def test_an_isolated_burst_opens_its_row(name):
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    for template, clocks in ((0, t.rcd_rd + t.cl), (1, t.rcd_wr + t.cwl)):
        for at in (0, 12_345):
            assert done(dram(name), (template, part.burst_bytes, 0, at))[0] == (
                at,
                at + (clocks + part.burst) * part.tck_ps,
            )


@pytest.mark.parametrize("name", PARTS)
def test_a_stream_takes_what_the_bus_and_its_refreshes_leave(name):
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    bursts = 3 * t.refi // part.burst  # of each channel: three refresh periods
    size = 4096
    asked = [(0, size, i * size, 0) for i in range(bursts * part.burst_bytes // size)]
    found = done(replace_channels(name, 1), *asked)
    clocks = max(end for _, end in found.values()) / part.tck_ps
    assert clocks == pytest.approx(bursts * part.burst / (1 - t.rfc / t.refi), rel=0.03)


def replace_channels(name, channels):
    """The part with so many channels: they share nothing, so one will do."""
    part = dram_parts.part(name).model_copy(update={"channels": channels})
    return dram(part.model_dump())


@pytest.mark.parametrize("name", PARTS)
def test_row_conflicts_take_a_row_cycle_each(name):
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    apart = part.row_bytes * part.banks * part.bank_groups  # the next row of the same bank
    count = t.refi // (t.ras + t.rp) // 2
    found = done(replace_channels(name, 1), *[(0, part.burst_bytes, i * apart, 0) for i in range(count)])
    ends = sorted(end for _, end in found.values())
    cycle = max(t.ras, t.rcd_rd + t.rtp) + t.rp
    assert {(b - a) // part.tck_ps for a, b in pairwise(ends)} == {cycle}


def test_bytes_side_by_side_go_to_every_channel():
    part = dram_parts.part("hbm2-2000")
    all_channels = part.burst_bytes * part.channels
    one = done(dram("hbm2-2000"), (0, part.burst_bytes, 0, 0))[0]
    assert done(dram("hbm2-2000"), (0, all_channels, 0, 0))[0] == one  # each has a burst of it
    assert done(dram("hbm2-2000", count=2), (0, 2 * all_channels, 0, 0))[0] == one


def test_at_rest_it_is_as_new():
    model = dram()
    first = done(model, (0, 256, 0, 0))[0]
    second = done(model, (0, 256, 0, 10**10 + 7))[0]
    assert second[1] - second[0] == first[1] - first[0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 700), st.integers(0, 1 << 16), st.integers(0, 200_000)),
        min_size=1,
        max_size=25,
    ),
    st.lists(st.integers(0, 300_000), max_size=12),
)
def test_cutting_time_changes_nothing(asked, cuts):
    work = [Operation(t, (size, address), n, at) for n, (t, size, address, at) in enumerate(asked)]
    whole = {c.op_id: c for c in dram().advance(10**9, work).completions}
    model, found, left, promised = dram(), {}, list(work), 0
    for grant in [*sorted(cuts), 10**9]:
        due = [one for one in left if one.at_ps <= grant]
        left = [one for one in left if one.at_ps > grant]
        answer = model.advance(grant, due)
        found |= {c.op_id: c for c in answer.completions}
        assert answer.next_event_ps is None or answer.next_event_ps >= grant
        promised = answer.next_event_ps
    assert found == whole and promised is None
    peak = dram_parts.part("ddr4-3200").peak_gb_s
    spent = max(c.finish_ps for c in whole.values()) - min(one.at_ps for one in work)
    assert sum(size for _, size, _, _ in asked) / spent * 1e3 <= peak  # nothing is quicker than the bus


class ByAddress(BankedDram):
    """The same, of what is asked by address alone."""

    description = replace(
        BankedDram.description,
        op_kinds=frozenset({"load", "store"}),
        time_policy=TimePolicy.FORWARD_ONLY,
        features=frozenset({Feature.INSPECT}),
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(local(ByAddress, {"part": "hbm2-2000"}))


def test_it_takes_no_snapshots_by_address():
    with pytest.raises(ComponentError, match="no snapshots"):
        dram().snapshot()


def test_both_ways_in_one_session_are_refused():
    with pytest.raises(UnsupportedOperation, match="does not do both in one session"):
        BankedDram({"part": "ddr4-3200"}).declare([LOAD, Template(2, "read", "x")])
