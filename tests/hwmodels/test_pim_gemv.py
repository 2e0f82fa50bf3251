"""A matrix times few vectors in DRAM: by the part's timing, by hand, and beside what is published."""

from __future__ import annotations

import pytest
from metronome.hwmodels.catalog.pim_parts import PimEnergy, pim_names, pim_part
from metronome.hwmodels.interface import Template, UnsupportedOperation
from metronome.hwmodels.pim import dram_pim
from metronome.hwmodels.pim.dram_pim import DramPim, DramPimConfig

from ..conftest import ROOT

#: 32 MiB of bf16 that fill all channels, banks and rows of every part
N = K = 4096


def asked(part="hbm3-pim", n=N, k=K, vectors=1, dtype="bf16", **config):
    model = DramPim({"devices": 1, "part": part, "latency_ns": 0, **config})
    template = Template(0, "gemm", "qkv_proj", {"n": n, "k": k, "dtype": dtype})
    model.declare([template])
    return model.estimate(template, (vectors,))


def took(part="hbm3-pim", **of):
    return asked(part, **of).duration_ps


def by_timing(part, n=N, k=K, devices=1):
    """(reading, opening rows, vector and results on the pins) in ps, of a part with units at its banks."""
    at = pim_part(part)
    banks = at.pseudo_channels * at.ranks * at.bank_groups * at.banks_per_group
    in_turn = 2 if at.units == "bank-pair" else 1  # banks of a unit, opened together and read one after the other
    of_bank = 2 * n * k / (at.channels * devices * banks)  # bytes
    bursts, rows = of_bank * in_turn / at.burst_bytes, of_bank / (at.columns * at.burst_bytes)
    refresh = 1 - at.trfc / at.trefi
    pins = 2 * (k + n / (at.channels * devices)) / (at.pins_gb_s / at.channels * 1e9) * 1e12
    reading, opening = bursts * at.tccd_all_banks, rows * (at.trtp + at.trp + at.trcd)
    return reading * at.tck_ps / refresh, opening * at.tck_ps / refresh, pins


AT_BANKS = [name for name in pim_names() if pim_part(name).units.startswith("bank")]


@pytest.mark.parametrize("part", AT_BANKS)
def test_a_vector_takes_what_timing_and_places_say(part):
    """Bytes over the bandwidth inside, the rows that are opened for them, less refresh; the vector to every channel."""
    assert took(part) == pytest.approx(sum(by_timing(part)), rel=1e-3)
    assert took(part, latency_ns=500) - took(part) == 500_000


def test_five_stacks_are_five_times_as_quick_but_for_what_does_not_divide():
    """4,096 outputs on 80 channels of 16 banks side by side: four rounds, of which the last is a fifth full."""
    reading, opening, _ = by_timing("hbm3-pim")
    _, _, pins = by_timing("hbm3-pim", devices=5)
    rounds = 4 / (4096 / 80 / 16)
    assert took(devices=5) == pytest.approx((reading + opening) / 5 * rounds + pins, rel=0.02)
    full = {"devices": 5, "n": 5 * 4096}
    assert took(**full) == pytest.approx(sum(by_timing("hbm3-pim", n=5 * 4096, devices=5)), rel=1e-3)


def test_units_in_a_buffer_chip_read_at_the_rate_of_their_pins():
    """DDR4: two ranks of one channel, each 64 bytes every four cycles; rows are opened meanwhile."""
    at = pim_part("ddr4-pim")
    reading = 2 * N * K / (2 * 64) * 4 * at.tck_ps / (1 - at.trfc / at.trefi)
    assert took("ddr4-pim") == pytest.approx(reading + 2 * (N + K) / 25.6e9 * 1e12, rel=1e-3)


def test_four_banks_in_tfaw(monkeypatch):
    """Sixteen banks of a rank that opens four at a time wait three tFAW more for each row."""
    monkeypatch.setattr(dram_pim, "pim_part", lambda name: pim_part(name).model_copy(update={"tfaw": 42}))
    at, slow = pim_part("gddr6-aim"), took("gddr6-aim")
    monkeypatch.undo()
    rows = 2 * N * K / (2 * 16 * 2048)
    more = rows * 3 * 42 * at.tck_ps / (1 - at.trfc / at.trefi)
    assert slow - took("gddr6-aim") == pytest.approx(more, rel=1e-6)


def test_every_vector_reads_the_matrix_anew_or_shares_its_open_rows():
    _, opening, _ = by_timing("hbm3-pim")
    assert took(vectors=8) == pytest.approx(8 * took(), rel=1e-6)
    for how in ("row", "together"):
        assert took(vectors=8, grouped_queries=how) == pytest.approx(8 * took() - 7 * opening, rel=1e-6)
    assert took(vectors=0, latency_ns=1000) == 1_000_000


@pytest.mark.parametrize("half", [{"n": N // 2}, {"k": K // 2}], ids=["rows", "columns"])
def test_a_rank_of_two_has_half_of_the_matrix(half):
    inside = sum(by_timing("hbm3-pim")[:2])
    pins = by_timing("hbm3-pim", **half)[2]
    assert took(**half) == pytest.approx(inside / 2 + pins, rel=0.01)


def test_limits_of_bandwidth_and_link():
    free = took("gddr6-aim", link_gb_s=1e9)
    assert took("gddr6-aim", link_gb_s=1e9, bandwidth_gb_s=100) > 5 * free
    # Two channels each get 8 KiB, and give back 4 KiB.
    assert took("gddr6-aim", link_gb_s=1) - free == pytest.approx(2 * (8192 + 4096) / 1e9 * 1e12, rel=1e-3)


def only(monkeypatch, **figures):
    """From here on the part has these energies alone."""
    energy = PimEnergy(**{**dict.fromkeys(PimEnergy.model_fields, 0.0), **figures})
    monkeypatch.setattr(dram_pim, "pim_part", lambda name: pim_part(name).model_copy(update={"energy": energy}))


@pytest.mark.parametrize(
    ("figures", "pj"),
    [
        ({"cell": 1.0}, 3 * 8 * 2 * N * K),  # every bit of the matrix once a vector
        ({"activate": 1.0}, 3 * 8 * 2 * N * K),  # its rows are full
        ({"mac": 1.0}, 3 * N * K),
        ({"pins": 1.0}, 3 * 8 * 2 * (16 * K + N)),  # the vector to 16 channels, the results back
    ],
    ids=["cells", "rows", "multiplications", "pins"],
)
def test_energy_by_hand(monkeypatch, figures, pj):
    only(monkeypatch, **figures)
    assert asked(vectors=3).energy_pj == pj


def test_shared_rows_are_opened_once(monkeypatch):
    only(monkeypatch, activate=1.0)
    assert asked(vectors=3, grouped_queries="row").energy_pj == 8 * 2 * N * K


def test_a_part_without_figures_says_no_energy():
    assert asked("gddr6-aim").energy_pj is None


def test_weights_of_another_type_are_refused():
    shape = {"n": N, "k": K, "dtype": "bf16", "weight_dtype": "int4", "weight_bits": 4.5}
    with pytest.raises(UnsupportedOperation, match="no figures for weights of another type"):
        DramPim({"devices": 1}).declare([Template(0, "gemm", "qkv_proj", shape)])


def test_only_attention_was_compared():
    attention = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
    model = DramPim({"devices": 1, "part": "hbm3-pim"})
    model.declare([Template(0, "attention", "attention", attention)])
    assert model.statistics()["relative_error"]["modelled"] == dram_pim.RELATIVE_ERROR
    model.declare([Template(1, "gemm", "qkv_proj", {"n": N, "k": K, "dtype": "bf16"})])
    assert model.statistics()["relative_error"]["modelled"] == dram_pim.NOT_COMPARED


def times_the_pins(part, n=N, k=K):
    """How often the product is done, with all that an operation takes by default, while the matrix would be read once
    over the pins."""
    operation = took(part, n=n, k=k, latency_ns=DramPimConfig(devices=1).latency_ns)
    return 2 * n * k / (pim_part(part).pins_gb_s * 1e9) * 1e12 / operation


def test_as_published():
    """docs/pim.md has the sources, and these figures. Both are ratios to a host that reads the matrix over the pins."""
    page = (ROOT / "docs/pim.md").read_text()
    for part in ("hbm2-pim", "lpddr5-pim"):
        assert f"| `{part}` | {times_the_pins(part):.1f} |" in page
    # Measured on HBM-PIM, 2.8; four times the pins are inside.
    assert 2.8 <= times_the_pins("hbm2-pim") < 4
    # PIMnast's roofline for LPDDR with units at all banks, 7 of 8; what its placements reach of it, 6.86.
    assert 0.85 * 6.86 < times_the_pins("lpddr5-pim") < 7
