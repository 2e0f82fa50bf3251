"""Adapters of tools that their user builds, against what real runs of these printed, failures included.

A stand-in answers as the real program did: the same words, files and exit code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.user_built import aim, chakra
from metronome.adapters.user_built.aim import Aim
from metronome.adapters.user_built.astrasim import AstraSim
from metronome.adapters.user_built.attacc import AttAcc
from metronome.adapters.user_built.booksim2 import Booksim2
from metronome.adapters.user_built.dramsim3 import Dramsim3
from metronome.adapters.user_built.ramulator2 import Ramulator2
from metronome.hwmodels.interface import ConfigError, Template, UnsupportedOperation

from .contract import keeps_the_contract

LINK = {"bandwidth_gb_s": 429.4967296, "latency_ns": 936.25}  # 400 GiB/s, as the tool counts
READ = Template(0, "read", "kv", {})
SEND = Template(0, "send", "x", {"participants": 2, "ranks": "n0.0,n0.1"})
ATTENTION = Template(
    0,
    "attention",
    "attention",
    {"heads": 32, "kv_heads": 32, "head_size": 128, "dtype": "fp16", "kv_dtype": "fp16"},
)


def script(folder: Path, name: str, code: str) -> str:
    """A program of that name."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def recorded(shared, tmp_path):
    """(tool, case) -> (a program that does what that run did, the folder of its inputs)."""

    def of(tool: str, case: str) -> tuple[str, Path]:
        folder = shared / "recorded" / tool / case
        index = json.loads((shared / "recorded" / "index.json").read_text())
        (code,) = (entry["exit"] for entry in index if (entry["tool"], entry["case"]) == (tool, case))
        text = (
            f"import os, shutil, sys, pathlib\nfolder = pathlib.Path({str(folder)!r})\n"
            "for file in folder.glob('*.json'): shutil.copy(file, '.')\n"
            "for name, out in (('stdout.txt', sys.stdout), ('stderr.txt', sys.stderr)):\n"
            "    out.write((folder / name).read_text()); out.flush()\n"
            f"code = {code}\nos.kill(os.getpid(), -code) if code < 0 else sys.exit(code)"
        )
        return script(tmp_path, f"{tool}-{case}", text), folder

    return of


def collective(kind: str, ranks: int) -> Template:
    return Template(0, kind, kind, {"participants": ranks, "ranks": ",".join(f"n0.{i}" for i in range(ranks))})


# ASTRA-sim ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "kind", "ranks", "size", "ns"),
    [
        ("ar8_1MB", "all_reduce", 8, 1 << 20, 57370),
        ("ar8_16MB", "all_reduce", 8, 1 << 24, 128808),
        ("ar64_16MB", "all_reduce", 64, 1 << 24, None),
        ("a2a8_16MB", "all_to_all", 8, 1 << 24, None),
        ("rs", "reduce_scatter", 8, 1 << 24, None),
        ("ag", "all_gather", 8, 1 << 24, 309553),
    ],
)
def test_astrasim_gives_what_the_run_gave(recorded, case, kind, ranks, size, ns):
    program, folder = recorded("astrasim", case)
    took = AstraSim({"program": program, **LINK}).estimate(collective(kind, ranks), (size,)).duration_ps
    ends = [
        int(line.split(" finished, ")[1].split(" ")[0])
        for line in (folder / "stdout.txt").read_text().splitlines()
        if " finished, " in line
    ]
    assert took == max(ends) * 1000
    assert ns is None or took == pytest.approx(ns * 1000, rel=0.001)


@pytest.mark.parametrize(
    ("case", "kind"),
    [("ar8_16MB", "all_reduce"), ("ag", "all_gather"), ("rs", "reduce_scatter"), ("a2a8_16MB", "all_to_all")],
)
def test_astrasim_is_given_what_the_run_was_given(shared, case, kind):
    folder = shared / "recorded/astrasim"
    assert chakra.collective(kind, 1 << 24) == (folder / case / "w.5.et").read_bytes()
    model = AstraSim({"program": "x", **LINK})
    assert json.loads(model._system()) == json.loads((folder / "system.json").read_text())
    given, ours = ((folder / case / "net.yml").read_text(), model._network(8))
    assert [line.split() for line in ours.splitlines()] == [line.split() for line in given.splitlines()]


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("one_rank_missing_coll", "1 of 8 ranks finished"),
        ("cycle_dep", "0 of 8 ranks finished"),
        ("send_recv", "3 of 8 ranks finished"),
        ("bcast", "a rank took 1 ns: nothing was simulated"),
        ("missing_et", "exited with code 1"),
        ("bad_topo", "exited with code 255"),
    ],
)
def test_astrasim_that_failed_is_refused_though_it_says_0(recorded, case, why):
    program, _ = recorded("astrasim", case)
    with pytest.raises(ToolFailure, match=rf"astrasim, all_reduce of 1024 bytes among 8: .*{why}"):
        AstraSim({"program": program, **LINK}).estimate(collective("all_reduce", 8), (1024,))


def test_astrasim_is_never_asked_for_what_it_does_not_model():
    with pytest.raises(UnsupportedOperation, match="it does all_gather, all_reduce, all_to_all, reduce_scatter"):
        AstraSim({"program": "x", **LINK}).declare([collective("broadcast", 4)])


# DRAMsim3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "tck_ns"), [("HBM2_8Gb_x128", 1.0), ("DDR4_8Gb_x8_3200", 0.63)])
def test_dramsim3_gives_what_the_run_gave(recorded, case, tck_ns):
    program, folder = recorded("dramsim3", case)
    model = Dramsim3({"program": program, "config": str(folder / f"{case}.ini"), "cycles": 20000})
    channels = json.loads((folder / "dramsim3.json").read_text()).values()
    served = sum(channel["num_reads_done"] for channel in channels)
    took = model.estimate(READ, (1 << 20,)).duration_ps
    latency = max(channel["average_read_latency"] for channel in channels)
    assert took == pytest.approx(tck_ns * 1000 * (latency + (1 << 20) * 20000 / (served * 64)), rel=1e-3)


@pytest.mark.parametrize(
    ("case", "cycles", "why"),
    [("missing_config", 20000, "exited with code 255"), ("HBM2_8Gb_x128", 30000, r"it ran \[20000\] cycles")],
)
def test_dramsim3_that_failed_is_refused(recorded, case, cycles, why):
    program, folder = recorded("dramsim3", case)
    ini = folder.parent / "HBM2_8Gb_x128/HBM2_8Gb_x128.ini"
    with pytest.raises(ToolFailure, match=rf"dramsim3, read for {cycles} cycles: .*{why}"):
        Dramsim3({"program": program, "config": str(ini), "cycles": cycles}).estimate(READ, (64,))


# Ramulator 2 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "cycles"), [("HBM3_seq20k", 21047), ("DDR5_seq20k", None)])
def test_ramulator2_gives_what_the_run_gave(recorded, case, cycles):
    program, folder = recorded("ramulator2", case)
    model = Ramulator2({"program": program, "tck_ps": 625, "sample_bytes": 20000 * 64})
    if cycles is None:
        cycles = int((folder / "stdout.txt").read_text().split("'cycles': ")[1].split(",")[0])
    assert model.estimate(READ, (20000 * 64,)).duration_ps == cycles * 625
    assert model.estimate(READ, (60000 * 64,)).duration_ps == 3 * cycles * 625


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("empty_trace", "was killed by SIGSEGV"),
        ("bad_trace", "exited with code 1"),
        ("HBM3_seq20k", "it loaded 20000 lines"),
    ],
)
def test_ramulator2_that_failed_is_refused(recorded, case, why):
    program, _ = recorded("ramulator2", case)
    with pytest.raises(ToolFailure, match=rf"(?s)ramulator2, read of 6400 bytes: .*{why}"):
        Ramulator2({"program": program, "tck_ps": 625}).estimate(READ, (6400,))


# BookSim 2 ----------------------------------------------------------------------------------------


def test_booksim2_that_converged_is_taken_though_it_says_255(recorded):
    program, folder = recorded("booksim2", "mesh_low")
    model = Booksim2({"program": program, "config": str(folder / "mesh_low.cfg"), "flit_bytes": 16})
    assert model.estimate(SEND, (64,)).duration_ps == round(43.7697 * 1000)
    assert model.estimate(SEND, (16000,)).duration_ps == pytest.approx((43.7697 + 1000 - 19.9757) * 1000)


@pytest.mark.parametrize(
    ("case", "why"), [("mesh_saturated", "it says 'Aborting simulation'"), ("bad_topology", "was killed by SIGSEGV")]
)
def test_booksim2_that_failed_is_refused_though_it_says_0(recorded, case, why):
    program, folder = recorded("booksim2", case)
    with pytest.raises(ToolFailure, match=rf"booksim2, the load of {case}.cfg: .*{why}"):
        Booksim2({"program": program, "config": str(folder / f"{case}.cfg")}).estimate(SEND, (64,))


# AttAcc -------------------------------------------------------------------------------------------


def generator(folder: Path, lines: int) -> list[str]:
    code = f"import sys; open(sys.argv[sys.argv.index('--output') + 1], 'w').write('PIM_WR_GB 0x0\\n' * {lines})"
    return [sys.executable, script(folder, "generate.py", code)]


@pytest.mark.parametrize(("length", "lines", "cycles"), [(512, 6080, 1855), (2048, 21632, 7861)])
def test_attacc_gives_what_the_run_gave(recorded, tmp_path, length, lines, cycles):
    program, folder = recorded("attacc", f"L{length}_h32")
    model = AttAcc(
        {
            "program": program,
            "generator": generator(tmp_path, lines),
            "devices": 1,
            "config": str(folder / f"att_{length}.yaml"),
        }
    )
    context = length - 1
    assert model.estimate(ATTENTION, (1, context, context, context)).duration_ps == cycles * 769


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('[info] Loaded 6080 lines.\\n  memory_system_cycles: 0')", "memory_system_cycles.* is 0"),
        ("print('[info] Loaded 6080 lines.')", "0 values of 'memory_system_cycles"),
        ("print('[info] Loaded 17 lines.\\n  memory_system_cycles: 40')", "it loaded 17 of 6080 lines"),
        ("raise SystemExit(1)", "exited with code 1"),
    ],
)
def test_attacc_of_zero_cycles_is_refused_and_not_kept(shared, tmp_path, code, why):
    config = {
        "generator": generator(tmp_path, 6080),
        "devices": 1,
        "config": str(shared / "recorded/attacc/L512_h32/att_512.yaml"),
    }
    model = AttAcc({"program": script(tmp_path, "ramulator2", code), **config})
    for _ in range(2):
        with pytest.raises(ToolFailure, match=f"attacc, 32 heads of 128 over 512 tokens: .*{why}"):
            model.estimate(ATTENTION, (1, 511, 511, 511))
    missing = AttAcc({"program": str(tmp_path / "nothing"), **config})
    with pytest.raises(ToolFailure, match="cannot be started: No such file"):
        missing.estimate(ATTENTION, (1, 511, 511, 511))


# AiM ----------------------------------------------------------------------------------------------


def test_aim_gives_what_the_run_gave_for_what_the_run_was_given(recorded, tmp_path):
    program, folder = recorded("aim", "gemv4096")
    assert aim.instructions(4096, 4096) == (folder / "aim_gemv.trace").read_text()
    (tmp_path / "memory.yaml").write_text("x")
    model = Aim({"program": program, "config": str(tmp_path / "memory.yaml"), "devices": 1})
    assert model._product(4096, 4096) == 13056
    with pytest.raises(ToolFailure, match="it did 32 of 4 multiply instructions"):
        model._product(512, 4096)


def test_aim_instructions_cover_every_element_once():
    for rows, columns in ((1, 1), (513, 100), (128, 3000), (4096, 4096)):
        multiplied = [
            int(line.split()[2]) for line in aim.instructions(rows, columns).splitlines() if "MAC_ABK" in line
        ]
        groups = -(-rows // 512)
        assert sum(multiplied) * 16 >= groups * columns > (sum(multiplied) * 16 - 16 * len(multiplied))


# All of them ----------------------------------------------------------------------------------------

#: What a tool that works answers, whatever the shape.
WORKING = {
    "astrasim": "import glob; n = len(glob.glob('w.*.et')); size = len(open('w.0.et', 'rb').read())\n"
    "for i in range(n): print(f'sys[{i}] finished, {1000 + size} cycles, exposed')",
    "dramsim3": "import json, sys; c = int(sys.argv[sys.argv.index('-c') + 1])\n"
    "json.dump({'0': dict(num_cycles=c, num_reads_done=c // 4, num_writes_done=0, average_read_latency=40)}, open('dramsim3.json', 'w'))",
    "ramulator2": "n = len(open('trace.txt').readlines())\n"
    "print(f\"Loaded {n} lines. {{'cycles': {n + 50}}} {{'total_num_read_requests': {n}}}\")",
    "booksim2": "print('====== Overall Traffic Statistics ======\\nPacket latency average = 40.5 (1 samples)\\n'\n"
    "      'Accepted packet size average = 20 (1 samples)'); raise SystemExit(255)",
    "attacc": "n = len(open('attacc.trace').readlines()); print(f'Loaded {n} lines.\\n  memory_system_cycles: {n * 3}')",
    "aim": "n = open('trace.txt').read().count('MAC_ABK')\n"
    "print(f'total_num_AiM_ISR_MAC_ABK_requests: {n}\\n  memory_system_cycles: {n * 400}')",
}
MODELS = {
    "astrasim": AstraSim,
    "dramsim3": Dramsim3,
    "ramulator2": Ramulator2,
    "booksim2": Booksim2,
    "attacc": AttAcc,
    "aim": Aim,
}


def config_of(name: str, folder: Path, code: str, **more: object) -> dict:
    """Everything an adapter needs, with a program of that code."""
    (folder / "ini").write_text("channels = 2\ntCK = 0.5\n")
    (folder / "yaml").write_text("Dispatcher:\n  path: ./x\n")
    gen = script(
        folder,
        "gen",
        "import sys; o = sys.argv; open(o[o.index('--output') + 1], 'w').write('x\\n' * int(o[o.index('--seqlen') + 1]))",
    )
    own = {
        "astrasim": LINK,
        "dramsim3": {"config": str(folder / "ini")},
        "ramulator2": {"tck_ps": 625},
        "booksim2": {"config": str(folder / "ini")},
        "attacc": {"generator": [gen], "config": str(folder / "yaml"), "devices": 2},
        "aim": {"config": str(folder / "yaml"), "devices": 2},
    }[name]
    return {"program": script(folder, name, code), **own, **more}


@pytest.mark.parametrize("name", MODELS)
def test_they_keep_the_contract(name, tmp_path):
    keeps_the_contract(MODELS[name], config_of(name, tmp_path, WORKING[name]), tmp_path)


def ask(name: str, config: dict) -> None:
    template = {"astrasim": collective("all_reduce", 4), "booksim2": SEND, "attacc": ATTENTION, "aim": ATTENTION}
    MODELS[name](config).estimate(
        template.get(name, READ), (4, 400, 100, 100) if name in ("attacc", "aim") else (4096,)
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "import os; print('the end is near', flush=True); os.kill(os.getpid(), 9)",
            "was killed by SIGKILL.*the end is near",
        ),
        (
            "import time; print('the end is near', flush=True); time.sleep(60)",
            "was not done after 1 s.*the end is near",
        ),
        ("print('the end is near')", "the end is near"),
        ("print('\\x00\\xff' * 99)", ""),
    ],
    ids=["killed", "hanging", "silent about it", "garbage"],
)
def test_whatever_a_tool_does_wrong_names_it_and_the_operation(name, code, why, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ToolFailure, match=rf"(?s)^{name}, .*{why}"):
        ask(name, config_of(name, tmp_path, code, timeout_s=1))
    assert not list(tmp_path.glob("metronome-*"))


@pytest.mark.parametrize("name", MODELS)
def test_scratch_folders_are_kept_on_request(name, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ask(name, config_of(name, tmp_path, WORKING[name], keep_scratch=True))
    assert list(tmp_path.glob("metronome-*"))


@pytest.mark.parametrize("name", ["dramsim3", "booksim2", "attacc", "aim"])
def test_a_configuration_file_that_is_not_there_is_a_message(name, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        MODELS[name](config_of(name, tmp_path, "", config=str(tmp_path / "nothing")))
