"""A DRAM by its timing against closed forms: an isolated burst, one stream, row conflicts, rows of anywhere, turns."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Pattern, Template
from metronome.hwmodels.memory import dram_parts
from metronome.hwmodels.memory.banked_dram import BankedDram
from metronome.hwmodels.memory.dram_channel import Burst, Channel
from metronome.hwmodels.memory.dram_load import clocks_a_burst

PARTS = dram_parts.names()
READ = Template(0, "read", "x", {})


def usable(part):
    """The share of the time that refreshes leave."""
    return 1 - part.timing.rfc / part.timing.refi


def took(model, template, *values):
    model.declare([template])
    (done,) = model.advance(MAX_PS, [Operation(0, values)], True).completions
    return done.finish_ps - done.start_ps


def ends(part, bursts):
    """When the data of each has passed, all of them due at once."""
    channel = Channel(part)
    for burst in bursts:
        channel.push(0, burst)
    return [at // part.tck_ps for at, _ in channel.until(10**9)]


@pytest.mark.parametrize("name", PARTS)
def test_an_isolated_burst_opens_its_row(name):
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    read = (t.rcd_rd + t.cl + part.burst) * part.tck_ps
    write = (t.rcd_wr + t.cwl + part.burst) * part.tck_ps
    assert took(BankedDram({"part": name}), READ, 1) == read
    assert took(BankedDram({"part": name}), Template(0, "write", "x", {}), part.burst_bytes * part.channels) == write
    assert ends(part, [Burst(0, 0, False, 0)]) == [t.rcd_rd + t.cl + part.burst]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("written", [0, 1])
def test_one_stream_is_the_bus_less_its_refreshes(name, written):
    """Groups change with every burst, so the data of one follows that of another; rows are opened behind it."""
    part = dram_parts.part(name)
    assert clocks_a_burst(part, Pattern.STREAM, written) == pytest.approx(part.burst / usable(part), rel=0.03)


@pytest.mark.parametrize("name", PARTS)
def test_row_conflicts_take_a_row_cycle_each(name):
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    cycle = max(t.ras, t.rcd_rd + t.rtp) + t.rp
    assert clocks_a_burst(part, Pattern.STRIDED, 0) == pytest.approx(cycle / usable(part), rel=0.03)
    written = max(t.ras, t.rcd_wr + t.cwl + part.burst + t.wr) + t.rp
    assert clocks_a_burst(part, Pattern.STRIDED, 1) == pytest.approx(written / usable(part), rel=0.05)


@pytest.mark.parametrize("name", PARTS)
def test_rows_of_anywhere_take_an_activate_each(name):
    """As many activates as four in tFAW, or one in tRRD, allow; a burst's data where that is longer."""
    part, t = dram_parts.part(name), dram_parts.part(name).timing
    each = max(t.faw / 4, t.rrd_s, part.burst)
    assert each / usable(part) * 0.999 <= clocks_a_burst(part, Pattern.RANDOM, 0) <= 1.1 * each / usable(part)


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(PARTS), pattern=st.sampled_from(list(Pattern)), written=st.sampled_from([0.125, 0.5, 0.875])
)
def test_nothing_is_quicker_than_the_bus_and_turning_it_costs(name, pattern, written):
    part = dram_parts.part(name)
    mixed = clocks_a_burst(part, pattern, written)
    assert mixed >= part.burst / usable(part) * 0.999
    if pattern is Pattern.STREAM:
        assert mixed > clocks_a_burst(part, pattern, 0)


def test_a_row_that_is_open_goes_first():
    """FR-FCFS: an older request that needs another row of the bank waits for a younger one that does not."""
    part, t = dram_parts.part("ddr4-3200"), dram_parts.part("ddr4-3200").timing
    first, second, third = ends(part, [Burst(0, row, False, 0) for row in (1, 2, 1)])
    assert second - first == t.ccd_l
    assert third - second >= t.rtp + t.rp + t.rcd_rd


@pytest.mark.parametrize(
    ("name", "clocks", "what"),
    [
        ("hbm2-2000", 271_450 / (1_000_000 / 8), "DRAMsim3's library, 1,000,000 reads in a row of HBM2, 8 channels"),
        ("ddr5-4800", 182_369 / 20_000, "Ramulator 2.1, 20,000 loads in a row of one DDR5 channel"),
    ],
)
def test_the_reference_simulators_say_the_same(name, clocks, what):
    """What they were seen to take (../shared: facts, and the recorded run), in clocks a burst."""
    assert clocks_a_burst(dram_parts.part(name), Pattern.STREAM, 0) == pytest.approx(clocks, rel=0.05), what


@pytest.mark.parametrize(
    ("name", "peak"),
    [("ddr4-3200", 25.6), ("ddr5-4800", 19.2), ("hbm2-2000", 256), ("hbm2e-3200", 409.6), ("hbm3-6400", 819.2)],
)
def test_parts_have_the_bandwidth_of_their_names(name, peak):
    part = dram_parts.part(name)
    assert part.peak_gb_s == pytest.approx(peak, rel=0.003) and part.source


def test_a_little_that_is_written_costs_a_little():
    """Between the shares that are simulated: each percent more turns of the bus, none of them a jump."""
    move = Template(0, "move", "x", {"pattern": "stream"})
    model, size = BankedDram({"part": "ddr5-4800"}), 1 << 24
    times = [
        took(BankedDram({"part": "ddr5-4800"}), move, size - size * n // 100, size * n // 100) for n in range(0, 13)
    ]
    steps = [after - before for before, after in pairwise(times)]
    assert min(steps) > 0 and max(steps) < 0.015 * times[0]
    assert took(model, READ, size) == times[0]


def test_channels_and_stacks_share_the_work():
    one, five = (took(BankedDram({"part": "hbm3-6400", "count": n}), READ, 5 << 28) for n in (1, 5))
    assert one == pytest.approx(5 * five, rel=1e-3)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"part": "hbm9"}, "part = 'hbm9': one of ddr4-3200"),
        ({}, "part"),
        ({"part": "ddr4-3200", "pattern": "zigzag"}, "pattern"),
        ({"part": "ddr4-3200", "channels": 3}, "unknown key"),
        ({"part": {"tck_ps": 1}}, "part"),
    ],
)
def test_what_cannot_be_is_said(config, why):
    with pytest.raises(ConfigError, match=why):
        BankedDram(config)


def test_a_part_of_ones_own():
    own = dram_parts.part("ddr5-4800").model_dump()
    assert took(BankedDram({"part": own}), READ, 1 << 20) == took(BankedDram({"part": "ddr5-4800"}), READ, 1 << 20)


@pytest.mark.parametrize(
    ("of", "name", "value", "why"),
    [
        ("timing", "rfc", 9375, r"part.timing.refi = 9375: must be more than tRFC = 9375"),
        ("timing", "rfc", 20_000, r"part.timing.refi = 9375: must be more than tRFC = 20000"),
        (None, "row_bytes", 32, "part.row_bytes = 32: must be a multiple of a burst's 64 bytes"),
        (None, "row_bytes", 100, "part.row_bytes = 100: must be a multiple of a burst's 64 bytes"),
    ],
)
def test_a_part_of_ones_own_that_cannot_be_is_refused(of, name, value, why):
    own = dram_parts.part("ddr5-4800").model_dump()
    (own[of] if of else own)[name] = value
    with pytest.raises(ConfigError, match=why):
        BankedDram({"part": own})


def tpot_ms(cli, scenario, folder, **hbm):
    """The mean, in milliseconds, with that memory at each accelerator."""
    scenario["components"] = {"n0.hbm": hbm}
    folder.mkdir()
    (folder / "s.yaml").write_text(yaml.safe_dump(scenario))
    done = cli("run", folder / "s.yaml", "-o", folder / "o", "--quiet")
    assert done.exit_code == 0, done.output
    return json.loads((folder / "o/result.json").read_text())["mean_tpot_ms"]


def achieved_gb_s(pattern):
    """By the memory alone: of five stacks, asked for a gigabyte."""
    move = Template(0, "move", "x", {"pattern": pattern})
    return 2**30 / took(BankedDram({"part": "hbm3-5600", "count": 5}), move, 2**30, 0) * 1e3


def row_cycles_gb_s(pattern):
    """By the part's timing alone: a burst in each tRC of a bank, while no refresh is on."""
    part, t = dram_parts.part("hbm3-5600"), dram_parts.part("hbm3-5600").timing
    ns = (max(t.ras, t.rcd_rd + t.rtp) + t.rp) / (1 - t.rfc / t.refi) * part.tck_ps / 1e3
    return 5 * part.channels * part.burst_bytes / ns


@pytest.mark.parametrize(
    ("pattern", "rate"), [("stream", achieved_gb_s), ("random", achieved_gb_s), ("strided", row_cycles_gb_s)]
)
def test_decodes_move_by_what_the_memory_achieves(cli, small, tmp_path, pattern, rate):
    """A token takes a time of its own and one that goes with 1 / bandwidth: two runs at other bandwidths say both, and
    what the memory (or its timing) achieves says the rest. Of requests that are decoded alone, whatever that is."""
    lengths = {"input_tokens": {"mean": 20, "max": 30}, "output_tokens": {"mean": 40, "min": 10, "max": 60}}
    small["workload"] |= {"num_requests": 4, "request_rate": 0.1, "shared_prefix": None, **lengths}
    found = tpot_ms(cli, small, tmp_path / "dram", model="banked-dram", part="hbm3-5600", count=5, pattern=pattern)
    gb_s = rate(pattern)
    first, second = (tpot_ms(cli, small, tmp_path / f"{by}", bandwidth_gb_s=gb_s * by) for by in (0.7, 1.4))
    slope = (first - second) / (1 / 0.7 - 1 / 1.4)
    assert slope > 0.5 * found  # most of it is its memory's
    assert found == pytest.approx(second - slope / 1.4 + slope, rel=0.02)
