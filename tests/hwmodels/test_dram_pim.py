"""Decode attention in DRAM: by hand, against a cycle-level simulator, and from DRAMsim3's files."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest
import yaml
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Template
from metronome.hwmodels.pim.dram_pim import DramPim, DramPimConfig, head_cycles
from metronome.hwmodels.pim.part import names, part, read_ini
from metronome.orchestrator.api import run

SHAPE = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
UNITS = {"BA": "bank", "BG": "bank-group", "BUFFER": "buffer"}


def took(values, **config):
    model = DramPim({"devices": 1, **config})
    model.declare([Template(0, "attention", "attention", SHAPE)])
    (done,) = model.advance(MAX_PS, [Operation(0, values, 0)]).completions
    return done.finish_ps - done.start_ps


def test_by_hand():
    """1,000 tokens over 16 parallel banks and 128 numbers over 4 x 16: 126 commands in 4 rows, for K and for V."""
    config, refresh = DramPimConfig(devices=1), 5070 / (5070 - 456)
    assert head_cycles(part("hbm3-pim"), config, 1000, 128, 2) == pytest.approx(
        2 * (126 * 6 + 4 * (8 + 19 + 19)) * refresh
    )
    unlimited = config.model_copy(update={"power_constraint": False})
    assert head_cycles(part("hbm3-pim"), unlimited, 1000, 128, 2) == pytest.approx(
        2 * (126 * 4 + 4 * (8 + 19 + 19)) * refresh
    )
    groups = config.model_copy(update={"units": "bank-group"})
    assert head_cycles(part("hbm3-pim"), groups, 1000, 128, 2) == pytest.approx(2 * (63 * 8) * 6 * refresh)
    buffer = config.model_copy(update={"units": "buffer"})
    assert head_cycles(part("hbm3-pim"), buffer, 1000, 128, 2) == pytest.approx(2 * (500 * 8) * 2 * refresh)


def test_against_attacc_cycle_by_cycle(shared):
    """Rows of AttAcc's Ramulator for one HBM3 stack; nothing of the model was made from them."""
    errors = defaultdict(list)
    with (shared / "pim_attacc" / "ramulator_visible30pct.csv").open() as file:
        for row in csv.DictReader(file):
            config = DramPimConfig(
                devices=1, units=UNITS[row["pim_type"]], power_constraint=row["power_constraint"] == "True"
            )
            cycles = head_cycles(part("hbm3-pim"), config, int(row["L"]), int(row["dhead"]), int(row["dbyte"]))
            turns = -(-int(row["nhead"]) // 16)
            errors[row["pim_type"]].append(abs(turns * cycles / int(row["cycle"]) - 1))
    assert len(errors) == 3
    for kind, found in errors.items():
        print(kind, len(found), np.median(found), np.percentile(found, 90))
        assert np.median(found) <= 0.10 and np.percentile(found, 90) <= 0.25, kind


def test_longer_contexts_and_more_sequences_take_longer():
    by_context = [took((32, 32 * n, n, n)) for n in (100, 1000, 2000, 8000)]
    assert by_context == sorted(by_context) and by_context[3] > 6 * by_context[1]
    assert took((64, 64_000, 1000, 1000)) > 1.9 * took((32, 32_000, 1000, 1000))
    assert took((64, 64_000, 1000, 1000), devices=2) == pytest.approx(took((32, 32_000, 1000, 1000)), rel=0.01)


def test_prompts_only_send_their_k_and_v():
    assert took((0, 0, 0, 0, 500, 100)) == round(500 * 4096 / 665.6e9 * 1e12)


@pytest.mark.parametrize("name", names())
def test_parts_name_their_sources(name):
    assert {"timing", "pins_gb_s"} <= set(part(name).sources)


INI = """[dram_structure]
bankgroups = 4
banks_per_group = 4
columns = 64
BL = 4
[timing]
tCK = 0.666 (1/1.5)
tRCDRD = 14
tRP = 14
tRAS = 34  # cycles
tRTP_L = 6
tCCD_S = 1
tCCD_L = 2
tRFC = 260
tREFI = 3900
[system]
channels = 8
bus_width = 128
[other]
data_rate = 2000
"""


def test_a_dramsim3_file_is_a_part(tmp_path):
    (tmp_path / "p.ini").write_text(INI)
    found = read_ini(tmp_path / "p.ini")
    assert (found.tck_ps, found.columns, found.burst_bytes, found.tccd_all_banks) == (666, 16, 64, 2)
    assert found.pins_gb_s == 256
    assert took((8, 8000, 1000, 1000), ini=str(tmp_path / "p.ini"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("tRP = 14\n", ""), "has no number tRP"),
        (("tCK = 0.666 (1/1.5)", "tCK = fast"), "has no number tCK"),
        (("tREFI = 3900", "tREFI = 0"), "trefi"),
        (("[system]", "[timing]"), "cannot be read"),
    ],
)
def test_a_file_that_says_too_little_is_refused(tmp_path, change, why):
    (tmp_path / "p.ini").write_text(INI.replace(*change))
    with pytest.raises(ConfigError, match=why):
        DramPim({"devices": 1, "ini": str(tmp_path / "p.ini")})
    with pytest.raises(ConfigError, match="one of hbm3-pim"):
        DramPim({"devices": 1, "part": "hbm9"})


def test_the_peers_files_are_read(shared):
    files = sorted((shared / "llmss_main/configs/pim").glob("*.ini"))
    assert len(files) >= 4
    for file in files:
        assert head_cycles(read_ini(file), DramPimConfig(devices=1), 1000, 128, 2) > 0


def test_in_a_run(tmp_path):
    change = {"components": {"n0.pim": {"model": "dram-pim"}}, "workload.num_requests": 20}
    result = run("pim-attention", overrides=change)
    assert result["metronome"]["components"]["n0.pim"]["model"] == "dram-pim" and result["completed"] == 20


def test_parts_are_what_the_schema_says():
    from importlib.resources import files

    for name in names():
        text = files("metronome.hwmodels.catalog").joinpath("pims", f"{name}.yaml").read_text()
        assert yaml.safe_load(text)["sources"]
