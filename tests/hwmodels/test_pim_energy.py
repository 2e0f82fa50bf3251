"""Energy of PIM devices follows what their commands open, read and multiply."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from metronome.hwmodels.catalog.pim_parts import PimEnergy, pim_names, pim_part
from metronome.hwmodels.interface import Template
from metronome.hwmodels.pim.dram_pim import Arrangement, DramPim, DramPimConfig

HBM3 = pim_part("hbm3-pim")
ATTENTION = {
    "heads": 32,
    "kv_heads": 8,
    "head_size": 128,
    "dtype": "bf16",
    "kv_dtype": "bf16",
}


def arranged(part=HBM3, **config):
    return Arrangement(part, DramPimConfig(devices=1, **config))


def only(**figures):
    """The part with these energies alone."""
    nothing = dict.fromkeys(PimEnergy.model_fields, 0.0)
    return HBM3.model_copy(update={"energy": PimEnergy(**{**nothing, **figures})})


def asked(part="hbm3-pim", values=(4, 4000, 1000, 1000), **config):
    model = DramPim({"devices": 5, "part": part, **config}, 1)
    return model.estimate(Template(1, "attention", "attention", ATTENTION), values)


def test_one_head_by_hand():
    """1,024 tokens of 128 numbers in 16 bits: 64 units share the tokens 16 ways and the numbers 4 ways."""
    reads = 2 * (1024 // 16) * (128 // (4 * 16)) * 64 * 32  # bytes: both products, 128 commands each, 64 units, a burst
    assert arranged(only(cell=1.0)).energy_pj(1024, 128, 2) == 8 * reads
    assert arranged(only(mac=1.0)).energy_pj(1024, 128, 2) == reads / 2 == 2 * 1024 * 128
    rows = 2 * 4 * 64 * 1024  # 128 commands are four rows of 32 bursts, 1 KiB in each bank
    assert arranged(only(activate=1.0)).energy_pj(1024, 128, 2) == 8 * rows


@pytest.mark.parametrize(("units", "pj"), [("bank", 0.44), ("bank-group", 1.45), ("buffer", 3.18)])
def test_the_further_the_units_the_more_a_bit_takes(units, pj):
    assert HBM3.energy.to_units(units) == pytest.approx(pj)


def test_sharing_heads_by_how_they_share():
    alone = arranged().energy_pj(2048, 128, 2)
    apart, row, together = (
        arranged(grouped_queries=how).energy_pj(2048, 128, 2, 4) for how in ("apart", "row", "together")
    )
    assert apart == pytest.approx(4 * alone)
    assert together < row < apart, "rows opened once, then bits read once"
    macs = arranged(only(mac=1.0))
    assert macs.energy_pj(2048, 128, 2, 4) == arranged(only(mac=1.0), grouped_queries="together").energy_pj(
        2048, 128, 2, 4
    )


def test_it_does_not_depend_on_how_many_devices_share_the_work():
    assert asked().energy_pj == asked(devices=1).energy_pj > 0
    assert asked(values=(8, 8000, 1000, 1000)).energy_pj == pytest.approx(2 * asked().energy_pj, rel=1e-9)


def test_prompts_bring_their_k_and_v_and_nothing_is_read():
    moved = 8 * 100 * 2 * 8 * 128 * 2  # bits of 100 tokens
    energy = HBM3.energy
    expected = moved * (energy.to_host + energy.activate + energy.cell)
    assert asked(values=(0, 0, 0, 0, 100, 0)).energy_pj == round(expected)


@pytest.mark.parametrize("part", pim_names())
def test_a_part_without_figures_says_nothing(part):
    known = pim_part(part).energy is not None
    assert (asked(part).energy_pj is not None) == known == (part in ("hbm2-pim", "hbm3-pim"))


def test_multiplications_are_those_of_the_cycle_level_simulator(shared):
    """Commands to all banks of both products, as AttAcc's Ramulator counts them."""
    path = shared / "pim_attacc/ramulator_visible30pct.csv"
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["pim_type"] == "BA"]
    part = only(cell=1.0)
    errors = []
    for row in rows[::50]:
        size, width, count = int(row["dhead"]), int(row["dbyte"]), int(row["nhead"])
        ours = count * arranged(part).energy_pj(int(row["L"]), size, width)  # bits
        theirs = int(row["mac"]) * 8 * 32 * 64
        errors.append(abs(ours / theirs - 1))
    assert len(errors) > 100 and np.median(errors) < 0.005 and np.quantile(errors, 0.9) < 0.05
