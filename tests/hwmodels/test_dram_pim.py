"""Decode attention in DRAM: by hand, against a cycle-level simulator, and from DRAMsim3's files."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest
from metronome.hwmodels.catalog.pim_parts import PimPart, pim_names, pim_part
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Template
from metronome.hwmodels.pim.dram_pim import Arrangement, DramPim, DramPimConfig
from metronome.hwmodels.pim.ini import read_ini
from metronome.orchestrator.api import run
from pydantic import ValidationError

SHAPE = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
UNITS = {"BA": "bank", "BG": "bank-group", "BUFFER": "buffer"}


def cycles(context, size=128, width=2, queries=1, part="hbm3-pim", **config):
    return Arrangement(pim_part(part), DramPimConfig(devices=1, **config)).cycles(context, size, width, queries)


def took(values, shape=SHAPE, **config):
    model = DramPim({"devices": 1, "part": "hbm3-pim", "latency_ns": 0, **config})
    model.declare([Template(0, "attention", "attention", shape)])
    (done,) = model.advance(MAX_PS, [Operation(0, values, 0)]).completions
    return done.finish_ps - done.start_ps


def test_by_hand():
    """1,000 tokens over 16 parallel banks and 128 numbers over 4 x 16: 126 commands in 4 rows, for K and for V."""
    refresh = 5070 / (5070 - 456)
    assert cycles(1000) == pytest.approx(2 * (126 * 6 + 4 * (8 + 19 + 19)) * refresh)
    assert cycles(1000, power_constraint=False) == pytest.approx(2 * (126 * 4 + 4 * (8 + 19 + 19)) * refresh)
    assert cycles(1000, units="bank-group") == pytest.approx(2 * (63 * 8) * 6 * refresh)
    assert cycles(1000, units="buffer") == pytest.approx(2 * (500 * 8) * 2 * refresh)


def test_a_unit_for_two_banks_by_hand():
    """HBM-PIM: 1,000 tokens over 4 groups, 128 numbers over 2 x 16: 1,000 commands, 64 to a pair of rows."""
    found = cycles(1000, part="hbm2-pim")
    assert found == pytest.approx(2 * (1000 * 4 + 16 * (5 + 14 + 14)) * 3900 / (3900 - 350))


def test_units_in_a_buffer_chip_read_a_rank_at_the_rate_of_its_pins():
    """DDR4: two ranks side by side, 4 bursts of a head's 128 numbers, 4 cycles apart; rows are opened meanwhile."""
    assert cycles(1000, part="ddr4-pim") == pytest.approx(2 * 500 * 4 * 4 * 12480 / (12480 - 560))


def test_four_banks_in_tfaw_where_the_part_does_not_open_all_at_once():
    part = pim_part("gddr6-aim")
    slow = part.model_copy(update={"tfaw": 42})
    config = DramPimConfig(devices=1)
    rows, refresh = 2 * 8, 3333 / (3333 - 210)  # 250 tokens, 128 numbers over 4 banks: 500 commands of 64 a row, twice
    more = Arrangement(slow, config).cycles(1000, 128, 2) - Arrangement(part, config).cycles(1000, 128, 2)
    assert more == pytest.approx(rows * 3 * 42 * refresh)
    # A unit a bank group reads 64 bursts in 128 cycles, while four rows of the next banks are opened in tFAW.
    groups = DramPimConfig(devices=1, units="bank-group")
    assert Arrangement(slow, groups).cycles(1000, 128, 2) == Arrangement(part, groups).cycles(1000, 128, 2)
    slower = part.model_copy(update={"tfaw": 200})
    assert Arrangement(slower, groups).cycles(1000, 128, 2) == pytest.approx(2 * 32 * 200 * refresh, rel=0.03)


def test_query_heads_that_share_k_and_v_may_share_its_open_rows_or_one_reading():
    apart, row, together = (
        cycles(1000, queries=4, part="gddr6-aim", grouped_queries=how) for how in ("apart", "row", "together")
    )
    refresh = 3333 / (3333 - 210)
    assert apart == 4 * cycles(1000, part="gddr6-aim") == 4 * together
    assert apart - row == pytest.approx(3 * 2 * 8 * (12 + 32 + 56) * refresh)
    assert cycles(1000, part="gddr6-aim", grouped_queries="row") == together
    # Units as wide as a group do a group's FLOPs.
    assert cycles(1000, queries=4, part="gddr6-aim", grouped_queries="together", tflops=0.5) > 7 * together / 2


def test_query_heads_are_where_their_k_and_v_are():
    """One sequence of 8 KV heads uses 8 of 16 channels and their pins, each for four query heads in turn."""
    values = (1, 1000, 1000, 1000)
    assert took(values) == took(values, channels=8) == took((2, 2000, 1000, 1000))
    assert took(values, link_gb_s=665.6) == took(values)


@pytest.mark.parametrize(("part", "devices", "channels"), [("gddr6-aim", 32, 64), ("lpddr5-pim", 64, 64)])
def test_vectors_and_scores_go_over_the_pins_of_their_channels(part, devices, channels):
    """One KV head in each of eight channels: four queries, results, scores there and back, a new K and V; by hand."""
    slow, fast = (took((1, 1000, 1000, 1000), part=part, devices=devices, link_gb_s=rate) for rate in (1, 2))
    moved = 4 * (2 * 128 + 2 * 1001) * 2 + 2 * 128 * 2
    assert slow - fast == pytest.approx(moved / (2e9 * devices / channels) * 1e12, abs=2)
    eight = took((8, 8000, 1000, 1000), part=part, devices=devices)
    assert took((1, 1000, 1000, 1000), part=part, devices=devices) == eight, "as many in each of the other channels"


#: Peak inside one device and over its pins in GB/s as its makers state them, and its size in GiB
PEAKS = {
    "hbm3-pim": (10_651, 665.6, 16),  # 16 x the pins, without the limit of power
    "hbm2-pim": (1024, 256, 2),  # four times the pins
    "gddr6-aim": (1024, 64, 1),  # 1 TFLOPS of bf16
    "lpddr5-pim": (102.4, 12.8, 1),
    "ddr4-pim": (51.2, 25.6, 16),
}


@pytest.mark.parametrize("name", pim_names())
def test_parts_reach_what_their_makers_state(name):
    part = pim_part(name)
    inside, pins, size = PEAKS[name]
    of, at = Arrangement(part, DramPimConfig(devices=1, power_constraint=False)), part
    read = at.channels * of.units * at.burst_bytes
    assert read / (of.apart * at.tck_ps) * 1000 == pytest.approx(inside, rel=0.01)
    assert (at.pins_gb_s, at.size_gib) == (pins, size)
    beats = at.channels * at.pseudo_channels * at.burst_bytes / (at.tccd_s * at.tck_ps) * 1000
    assert beats == pytest.approx(pins, rel=0.01)
    assert {"timing", "units", "size_gib", "pins_gb_s"} <= set(at.sources)


@pytest.mark.parametrize("name", pim_names())
def test_longer_contexts_and_more_sequences_take_longer_on_every_part(name):
    contexts = [took((32, 32 * c, c, c), part=name) for c in (100, 1000, 4000, 16_000)]
    sequences = [took((n, n * 1000, 1000, 1000), part=name) for n in (32, 64, 128, 256)]
    assert contexts == sorted(set(contexts)) and sequences == sorted(set(sequences))


@pytest.mark.parametrize("limit", [{"bandwidth_gb_s": 100}, {"tflops": 0.1}])
def test_a_tenth_of_the_peak_takes_nearly_ten_times_as_long(limit):
    values = (64, 640_000, 10_000, 10_000)
    slow, fast = (took(values, part="gddr6-aim", link_gb_s=1e6, **more) for more in (limit, {}))
    assert 5 < slow / fast <= 10.3


def test_scores_go_to_a_host_that_does_softmax():
    """8 heads of 1,001 tokens there and back, 2 bytes each, beside queries, results and the new K and V."""
    slow, fast = (took((1, 1000, 1000, 1000), part="gddr6-aim", link_gb_s=rate) for rate in (1, 2))
    moved = 2 * 32 * 1001 * 2 + 2 * 32 * 128 * 2 + 4096
    assert slow - fast == pytest.approx(moved / 2e9 * 1e12, abs=2)


def test_against_attacc_cycle_by_cycle(shared):
    """Rows of AttAcc's Ramulator for one HBM3 stack; nothing of the model was made from them."""
    errors = defaultdict(list)
    with (shared / "pim_attacc" / "ramulator_visible30pct.csv").open() as file:
        for row in csv.DictReader(file):
            config = {"units": UNITS[row["pim_type"]], "power_constraint": row["power_constraint"] == "True"}
            head = cycles(int(row["L"]), int(row["dhead"]), int(row["dbyte"]), **config)
            turns = -(-int(row["nhead"]) // 16)
            errors[row["pim_type"]].append(abs(turns * head / int(row["cycle"]) - 1))
    assert len(errors) == 3
    for kind, found in errors.items():
        print(kind, len(found), np.median(found), np.percentile(found, 90))
        assert np.median(found) <= 0.10 and np.percentile(found, 90) <= 0.25, kind


def test_longer_contexts_and_more_sequences_take_longer():
    by_context = [took((32, 32 * n, n, n)) for n in (100, 1000, 2000, 8000)]
    assert by_context == sorted(by_context) and by_context[3] > 6 * by_context[1]
    assert took((64, 64_000, 1000, 1000)) > 1.9 * took((32, 32_000, 1000, 1000))
    assert took((64, 64_000, 1000, 1000), devices=2) == pytest.approx(took((32, 32_000, 1000, 1000)), rel=0.01)


def test_prompts_send_their_k_and_v_and_read_back_what_is_cached():
    assert took((0, 0, 0, 0, 500, 100)) == round(600 * 4096 / 665.6e9 * 1e12)
    assert took((0, 0, 0, 0, 500, 0), latency_ns=1000) == round(500 * 4096 / 665.6e9 * 1e12) + 1_000_000


INI = """[dram_structure]
protocol = HBM
bankgroups = 4
banks_per_group = 4
rows = 32768
columns = 64
device_width = 128
BL = 4
[timing]
tCK = 0.666 (1/1.5)
tRCDRD = 14
tRP = 14
tRAS = 34  # cycles
tRTP_L = 6
tRTP_S = 4
tCCD_S = 1
tCCD_L = 2
tFAW = 30
tRFC = 260
tREFI = 3900
[system]
channel_size = 1024
channels = 8
bus_width = 128
[other]
data_rate = 2000
"""
#: DRAMsim3's DDR4_8Gb_x8_3200.ini where it differs
DDR4 = {
    "protocol = HBM": "protocol = DDR4",
    "rows = 32768": "rows = 65536",
    "columns = 64": "columns = 1024",
    "device_width = 128": "device_width = 8",
    "BL = 4": "BL = 8",
    "tCK = 0.666 (1/1.5)": "tCK = 0.63",
    "tRCDRD = 14": "tRCD = 22",
    "tRP = 14": "tRP = 22",
    "tRTP_L = 6\ntRTP_S = 4": "tRTP = 12",
    "tCCD_S = 1\ntCCD_L = 2\ntFAW = 30": "tCCD_S = 4\ntCCD_L = 8\ntFAW = 34",
    "tRFC = 260\ntREFI = 3900": "tRFC = 560\ntREFI = 12480",
    "channel_size = 1024\nchannels = 8\nbus_width = 128": "channel_size = 16384\nchannels = 1\nbus_width = 64",
    "data_rate = 2000\n": "",
}
#: its GDDR5_8Gb_x32.ini, as far as structure and rate go
GDDR5 = {
    "protocol = HBM": "protocol = GDDR5\nbankgroup_enable = false  ; can be disabled for GDDR5",
    "rows = 32768": "rows = 16384 ;",
    "columns = 64": "columns = 128",
    "device_width = 128": "device_width = 32",
    "BL = 4": "BL = 8",
    "tCK = 0.666 (1/1.5)": "tCK = 0.5 ; so e.g. for 8Gb/s CK would be 2GHz",
    "channel_size = 1024\nchannels = 8": "channel_size = 4096\nchannels = 1",
    "data_rate = 2000\n": "",
}


def ini(folder, changes=()):
    text = INI
    for old, new in dict(changes).items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "p.ini").write_text(text)
    return folder / "p.ini"


def test_a_dramsim3_file_is_a_part(tmp_path):
    found = read_ini(ini(tmp_path))
    assert (found.tck_ps, found.columns, found.burst_bytes, found.tccd_all_banks) == (666, 32, 64, 2)
    assert (found.tfaw, found.ranks, found.pins_gb_s) == (30, 1, 256)
    assert found.tccd_s == 2, "a burst's data is on the bus for two cycles, whatever tCCD_S says"
    assert took((8, 8000, 1000, 1000), ini=str(tmp_path / "p.ini"))


@pytest.mark.parametrize(
    ("changes", "gib", "gb_s"),
    [
        ({"data_rate = 2000\n": "", "tCK = 0.666 (1/1.5)": "tCK = 1"}, 8, 256),  # HBM2_8Gb_x128.ini
        (DDR4, 16, 8 * 2 / 0.63),
        ({**DDR4, "data_rate = 2000\n": "data_rate = 3200\n"}, 16, 25.6),
        (GDDR5, 4, 16 * 8),  # 8 Gb/s a pin, as its file says
        ({**GDDR5, "protocol = HBM": "protocol = GDDR5X", "BL = 4": "BL = 16"}, 8, 16 * 16),
        ({**GDDR5, "protocol = HBM": "protocol = GDDR6", "BL = 4": "BL = 16"}, 8, 16 * 32),
    ],
    ids=["HBM2", "DDR4", "DDR4 with a data rate", "GDDR5", "GDDR5X", "GDDR6"],
)
def test_rows_ranks_and_rate_are_dramsim3s(tmp_path, changes, gib, gb_s):
    """Its banks' rows are all that a device has: ``channel_size`` of each channel, if it is a rank's at least."""
    file = ini(tmp_path, changes)
    part, rows = read_ini(file), 65536 if changes.get("protocol = HBM") == "protocol = DDR4" else 0
    rows = rows or (16384 if "rows = 32768" in changes else 32768)
    banks = part.channels * part.ranks * part.bank_groups * part.banks_per_group
    assert banks * rows * part.columns * part.burst_bytes == gib * 2**30
    assert part.pins_gb_s == pytest.approx(gb_s)


def test_refresh_as_its_files_of_ddr3_and_lpddr3_spell_it(tmp_path):
    assert read_ini(ini(tmp_path, {"tREFI = 3900": "REFI = 6240"})).trefi == 6240


def test_ranks_work_side_by_side(tmp_path):
    """As the catalog's two ranks of the same chips do with units at their banks: half the commands of one."""
    two = read_ini(ini(tmp_path, DDR4))
    system = next(old for old in DDR4 if old.startswith("channel_size"))
    one = read_ini(ini(tmp_path, {**DDR4, system: DDR4[system].replace("16384", "8192")}))
    config = DramPimConfig(devices=1)
    assert (two.ranks, one.ranks) == (2, 1)
    assert Arrangement(one, config).cycles(1000, 128, 2) == pytest.approx(
        2 * Arrangement(two, config).cycles(1000, 128, 2)
    )
    assert Arrangement(two, config).cycles(1000, 128, 2) == Arrangement(
        pim_part("ddr4-pim"), DramPimConfig(devices=1, units="bank")
    ).cycles(1000, 128, 2)


def test_without_bank_groups_reads_are_as_far_apart_as_of_different_ones(tmp_path):
    part = read_ini(ini(tmp_path, {"BL = 4": "BL = 4\nbankgroup_enable = False"}))
    assert (part.tccd_l, part.tccd_all_banks, part.trtp, part.bank_groups) == (2, 2, 4, 4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("tRP = 14\n", ""), "has no tRP"),
        (("protocol = HBM\n", ""), "has no protocol"),
        (("protocol = HBM", "protocol = HMC"), "line 2: protocol = HMC: must be one of DDR3, DDR4, "),
        (("tCK = 0.666 (1/1.5)", "tCK = fast"), "line 10: tCK = fast: must be a number greater than 0"),
        (("tCK = 0.666 (1/1.5)", "tCK = 0"), "line 10: tCK = 0: must be a number greater than 0"),
        (("tREFI = 3900", "tREFI = 0"), "line 20: tREFI = 0: must be a whole number of at least 1"),
        (
            ("tREFI = 3900", "tREFI = 3.9e3"),
            "line 20: tREFI = 3.9e3: must be a whole number of at least 1, in digits alone; DRAMsim3 reads 3$",
        ),
        (("channels = 8", "channels = 1e1"), "line 23: channels = 1e1: must be a whole number .* reads 1$"),
        (("channels = 8", "channels = 010"), "line 23: channels = 010: must be a whole number .* reads 8$"),
        (("channels = 8", "channels = 0x10"), "line 23: channels = 0x10: must be a whole number .* reads 16$"),
        (("channels = 8", "channels = many"), "line 23: channels = many: must be a whole number .* reads its default$"),
        (("BL = 4", "BL = 0"), "line 8: BL = 0: must be a whole number of at least 1"),
        (("tRFC = 260", "tRFC = 3900"), "line 20: tREFI = 3900: must be more than tRFC = 3900"),
        (("tRFC = 260", "tRFC = 7000"), "line 20: tREFI = 3900: must be more than tRFC = 7000"),
        (("columns = 64", "columns = 1"), "line 6: columns = 1: a row of 2 words .* whole bursts of BL = 4"),
        (("device_width = 128", "device_width = 96"), "line 24: bus_width = 128: must be a multiple of device_width"),
        (("data_rate = 2000", "data_rate = -1"), "line 26: data_rate = -1: must be a number greater than 0"),
        (("[system]", "[timing]"), "cannot be read"),
    ],
)
def test_a_file_that_says_too_little_or_what_cannot_be_is_refused(tmp_path, change, why):
    with pytest.raises(ConfigError, match=why):
        DramPim({"devices": 1, "ini": str(ini(tmp_path, [change]))})


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean hbm3-pim"):
        DramPim({"devices": 1, "part": "hbm3pim"})


def test_a_part_that_only_refreshes_is_refused():
    facts = pim_part("hbm3-pim").model_dump()
    with pytest.raises(ValidationError, match="must be more than tRFC = 5070"):
        PimPart.model_validate({**facts, "trfc": facts["trefi"]})


def test_the_peers_files_are_read(shared):
    files = sorted((shared / "llmss_main/configs/pim").glob("*.ini"))
    assert len(files) >= 4
    for file in files:
        assert Arrangement(read_ini(file), DramPimConfig(devices=1)).cycles(1000, 128, 2) > 0


def test_in_a_run():
    result = run(
        "pim-attention", overrides={"workload.num_requests": 5, "cluster.nodes.n0.memory.pim.part": "hbm3-pim"}
    )
    assert result["metronome"]["components"]["n0.pim"]["model"] == "dram-pim" and result["completed"] == 5
