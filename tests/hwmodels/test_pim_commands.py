"""The command stream that the model implies: as long as it says, and as many commands as AttAcc's generator writes."""

from __future__ import annotations

from itertools import groupby, pairwise

import pytest
from metronome.hwmodels.catalog.pim_parts import pim_names, pim_part
from metronome.hwmodels.pim.commands import stream
from metronome.hwmodels.pim.dram_pim import Arrangement, DramPimConfig


def arrangement(part, **config):
    return Arrangement(pim_part(part), DramPimConfig(devices=1, **config))


@pytest.mark.parametrize("how", ["apart", "row", "together"])
@pytest.mark.parametrize("part", pim_names())
def test_a_stream_is_as_long_as_the_model_says(part, how):
    """Without refresh, from the first row's activation; the last row is closed then but for its tRP."""
    of, units = pim_part(part), arrangement(part, grouped_queries=how)
    commands = list(stream(units, 1000, 128, 2, queries=4))
    took = 2 * units.product(1000, 128, 2, 4).cycles
    assert took == pytest.approx(units.cycles(1000, 128, 2, 4) * (of.trefi - of.trfc) / of.trefi)
    assert commands[-1].cycle + of.trp == took if units.in_turn == 1 else commands[-1].cycle == took + of.trtp
    assert commands == sorted(commands, key=lambda one: one.cycle)


@pytest.mark.parametrize("part", pim_names())
def test_every_row_is_opened_read_and_closed_by_its_timing(part):
    of, units = pim_part(part), arrangement(part)
    commands = list(stream(units, 3000, 128, 2))
    reads = [one.cycle for one in commands if one.name.startswith("MAC")]
    assert min(b - a for a, b in pairwise(reads)) == units.apart
    for _, rows in groupby(sorted(commands, key=lambda one: (one.bank, one.row)), key=lambda one: (one.bank, one.row)):
        opened, *read, closed = rows = list(rows)
        assert [one.name[:3] for one in rows] == ["ACT", *["MAC"] * len(read), "PRE"]
        assert [one.column for one in read] == list(range(len(read)))
        # Of banks in turn the first row is opened while the head before is read.
        assert read[0].cycle - opened.cycle >= of.trcd or not opened.cycle
        assert closed.cycle - read[-1].cycle == units.apart + of.trtp
    for bank in {one.bank for one in commands}:
        mine = [one for one in commands if one.bank == bank and one.name[:3] in ("ACT", "PRE")]
        for closed, opened in zip(mine[1::2], mine[2::2], strict=False):
            assert opened.cycle - closed.cycle >= of.trp


@pytest.mark.parametrize("length", [512, 2048])
def test_as_many_multiplications_as_attacc_writes(shared, length):
    """Its generator adds one more a channel before the first head (32 heads on 16 channels)."""
    printed = (shared / f"recorded/attacc/L{length}_h32/stdout.txt").read_text()
    (line,) = [line for line in printed.splitlines() if "pim_mac_all_bank_requests" in line]
    ours = 32 * sum(one.name == "MACAB" for one in stream(arrangement("hbm3-pim"), length, 128, 2))
    assert ours == int(line.split(":")[1]) - 16


def test_a_line_is_cycle_command_and_address():
    first, second, *_ = stream(arrangement("gddr6-aim"), 1000, 128, 2)
    assert (str(first), str(second)) == ("0, ACTAB, 0, 0, 0, 0", "56, MACAB, 0, 0, 0, 0")
