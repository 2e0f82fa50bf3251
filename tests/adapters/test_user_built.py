"""Adapters of tools that their user builds, against what real runs of these printed, failures included.

A stand-in answers as the real program did: the same words, files and exit code.
"""

from __future__ import annotations

import json
import subprocess
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
from .standins import ASTRASIM_SPINS, BOOKSIM2, DRAMSIM3, RAMULATOR2

LINK = {"bandwidth_gb_s": 429.4967296, "latency_ns": 2 * 936.25, "active_chunks": 2}  # 400 GiB/s, as the tool counts
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
    model = AstraSim({"program": "sh", **LINK})
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
        AstraSim({"program": "sh", **LINK}).declare([collective("broadcast", 4)])


@pytest.mark.parametrize(("topology", "hops"), [("switch", 2), ("ring", 1), ("fully-connected", 1)])
def test_astrasim_is_given_the_latency_of_the_whole_way(topology, hops):
    model = AstraSim({"program": "sh", "bandwidth_gb_s": 100, "latency_ns": 1000, "topology": topology})
    assert f"latency: [ {1000 / hops} ]" in model._network(8)
    assert json.loads(model._system())["active-chunks-per-dimension"] == 4  # chunks that wait pay for it once more


@pytest.mark.parametrize("kind", chakra.KINDS)
def test_astrasim_is_never_given_a_message_of_no_bytes(tmp_path, kind):
    """3 bytes in 4 chunks: it never ends."""
    program = script(tmp_path, "astra", ASTRASIM_SPINS)
    model = AstraSim({"program": program, **LINK, "timeout_s": 20})
    assert model.estimate(collective(kind, 4), (3,)).duration_ps == 2_000_000


# DRAMsim3 -----------------------------------------------------------------------------------------

HBM2 = "channels = 8\nbus_width = 128\nBL = 4\ntCK = 1\nprotocol = HBM\ntRCDRD = 14\nCL = 14\n"


def dramsim3(folder: Path, ini: str, bits: int = 2, **more: object) -> Dramsim3:
    (folder / "device.ini").write_text(ini)
    program = script(folder, "dramsim3main", DRAMSIM3 % {"bits": bits})
    return Dramsim3({"program": program, "config": str(folder / "device.ini"), "cycles": 5000, **more})


@pytest.mark.parametrize("kind", ["read", "write", "copy"])
def test_dramsim3_saturates_every_channel(tmp_path, kind):
    """256 GB/s of eight channels, though its front end sends 64 GB/s: a channel is asked, and eight are told."""
    took = dramsim3(tmp_path, HBM2).estimate(Template(0, kind, "kv", {}), (256 << 20,)).duration_ps
    assert took == pytest.approx((2 if kind == "copy" else 1) * (256 << 20) / 256e9 * 1e12, rel=0.02)


def test_dramsim3s_latency_is_an_isolated_reads(tmp_path):
    """Row, column, burst, and one cycle: not that of the queue that measures the bandwidth."""
    assert dramsim3(tmp_path, HBM2).estimate(READ, (64,)).duration_ps == pytest.approx(31_000 + 250, rel=0.01)


def test_dramsim3_that_cannot_be_saturated_says_so(tmp_path):
    ini = "protocol = GDDR6\nBL = 16\nbus_width = 16\ntCK = 0.5\n"
    with pytest.raises(ToolFailure, match=r"served 0.99. requests a cycle, and its trace front end sends one"):
        dramsim3(tmp_path, ini, bits=16).estimate(READ, (64,))


def test_dramsim3_is_not_believed_beyond_its_bus(tmp_path):
    with pytest.raises(ToolFailure, match="the bus of a channel has room for 0.25"):
        dramsim3(tmp_path, "BL = 8\n", bits=4).estimate(READ, (64,))


def test_dramsim3s_ini_is_read_as_the_tool_reads_it(tmp_path):
    """Three of its own files say `tCK = 0.666 (1/1.5)`."""
    plain = dramsim3(tmp_path, HBM2.replace("tCK = 1\n", "tCK = 0.666\n")).estimate(READ, (1 << 20,))
    assert dramsim3(tmp_path, HBM2.replace("tCK = 1\n", "tCK = 0.666 (1/1.5)\n")).estimate(READ, (1 << 20,)) == plain
    with pytest.raises(ConfigError, match="tCK = fast: no positive number"):
        dramsim3(tmp_path, "tCK = fast\n")
    with pytest.raises(ConfigError, match="HMC has vaults"):
        dramsim3(tmp_path, "protocol = HMC\n")


def test_dramsim3_of_several_channels_where_one_was_asked_is_refused(recorded):
    """What a recorded run wrote is a run of eight channels; one with one is what we ask for."""
    program, folder = recorded("dramsim3", "HBM2_8Gb_x128")
    model = Dramsim3({"program": program, "config": str(folder / "HBM2_8Gb_x128.ini")})
    with pytest.raises(ToolFailure, match=r"dramsim3, one read alone: its dramsim3.json has not what is expected"):
        model.estimate(READ, (64,))


def test_the_stand_in_for_dramsim3_writes_what_a_run_wrote(shared, tmp_path):
    """The recorded trace, eight channels: as many reads."""
    folder = shared / "recorded/dramsim3/HBM2_8Gb_x128"
    program = script(tmp_path, "dramsim3main", DRAMSIM3 % {"bits": 2})
    trace = ["-c", "20000", "-t", str(folder / "ds3_small.trace")]
    subprocess.run([program, str(folder / "HBM2_8Gb_x128.ini"), *trace], cwd=tmp_path, check=True)
    ours, theirs = (json.loads((at / "dramsim3.json").read_text()) for at in (tmp_path, folder))
    assert ours.keys() == theirs.keys() and set(ours["0"]) <= set(theirs["0"])
    for name in ("num_reads_done", "num_read_cmds", "num_writes_done", "num_write_cmds"):
        assert sum(one[name] for one in theirs.values()) == sum(one[name] for one in ours.values())


def test_dramsim3_that_failed_is_refused(recorded):
    program, folder = recorded("dramsim3", "missing_config")
    ini = folder.parent / "HBM2_8Gb_x128/HBM2_8Gb_x128.ini"
    with pytest.raises(ToolFailure, match=r"dramsim3, one read alone: .*exited with code 255"):
        Dramsim3({"program": program, "config": str(ini)}).estimate(READ, (64,))


# Ramulator 2 --------------------------------------------------------------------------------------


def ramulator2(
    folder: Path, *, channels: int = 1, service: int = 9, told_bytes: int = 64, **more: object
) -> Ramulator2:
    """``service``: cycles of a request in a channel; 80 alone."""
    facts = {"channels": channels, "service": service, "latency": 80, "bytes": 64, "tck": 625}
    program = script(folder, "ramulator", RAMULATOR2 % facts)
    own = {"tck_ps": 625, "request_bytes": told_bytes, "sample_bytes": 1 << 17, **more}
    return Ramulator2({"program": program, **own})


@pytest.mark.parametrize("kind", ["read", "write", "copy"])
@pytest.mark.parametrize("size", [64, 128, 2048, 1 << 20])
def test_ramulator2_is_never_quicker_than_its_memory(tmp_path, kind, size):
    """The trial: DDR4-3200 of 25.6 GB/s read 128 bytes at 205 GB/s, 2 KiB at 106, a write in no time at all."""
    took = ramulator2(tmp_path).estimate(Template(0, kind, "kv", {}), (size,)).duration_ps
    under_load = size / 64 * 9 * (2 if kind == "copy" else 1)
    assert took == pytest.approx((80 + under_load) * 625, rel=0.02)


def test_ramulator2_is_asked_a_few_times_and_not_for_every_size(tmp_path):
    model = ramulator2(tmp_path)
    times = [model.estimate(READ, (size,)).duration_ps for size in (64, 6400, 640000)]
    assert times[1] - times[0] == pytest.approx((times[2] - times[0]) / 101, rel=1e-3)


def test_ramulator2_whose_front_end_is_the_limit_says_so(tmp_path):
    """Sixteen channels, and a front end that sends a request a cycle: nothing of the memory is measured."""
    with pytest.raises(ToolFailure, match=r"took 1\.\d+ requests a cycle of the 1 .* not saturated. .*clock_ratio"):
        ramulator2(tmp_path, channels=16).estimate(READ, (64,))


def test_ramulator2_of_another_request_is_found_out(tmp_path):
    """An HBM3 channel moves 32 bytes a request; who takes them for 64 has twice the bandwidth."""
    with pytest.raises(ToolFailure, match="is request_bytes, or tck_ps, another"):
        ramulator2(tmp_path, told_bytes=128).estimate(READ, (64,))


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("empty_trace", "was killed by SIGSEGV"),
        ("bad_trace", "exited with code 1"),
        ("HBM3_seq20k", "it loaded 20000 lines of 1025"),
    ],
)
def test_ramulator2_that_failed_is_refused(recorded, case, why):
    program, _ = recorded("ramulator2", case)
    with pytest.raises(ToolFailure, match=rf"(?s)ramulator2, one read alone: .*{why}"):
        Ramulator2({"program": program, "tck_ps": 625}).estimate(READ, (6400,))


def test_ramulator2_that_says_what_it_took_and_not_what_it_served_is_refused(recorded, tmp_path):
    """A recorded run: 20,000 accepted of one channel; 19,968 had been looked at when it ended."""
    _, folder = recorded("ramulator2", "DDR5_seq20k")
    said = "".join((folder / name).read_text() for name in ("stderr.txt", "stdout.txt"))
    said = said.replace("Loaded 20000", "Loaded 1025")
    program = script(tmp_path, "says", f"print({said!r})")
    with pytest.raises(ToolFailure, match="does not say what was served .*print all of Simulation.stats"):
        Ramulator2({"program": program, "tck_ps": 416}).estimate(READ, (64,))


# BookSim 2 ----------------------------------------------------------------------------------------

MESH = "topology = mesh;\nk = 4;\nn = 2;\npacket_size = 4;\n"


def booksim2(folder: Path, text: str = MESH, **more: object) -> Booksim2:
    (folder / "net.cfg").write_text(text)
    return Booksim2({"program": script(folder, "booksim", BOOKSIM2), "config": str(folder / "net.cfg"), **more})


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


@pytest.mark.parametrize(
    ("kind", "cycles"),
    [
        ("all_to_all", 60 * 4 * 2 + 40),  # 15 of 16 shares of 4 KiB: 60 packets of 4 flits of 16 bytes
        ("all_reduce", 30 * (4 * 4 + 40)),  # 30 steps of a sixteenth: 4 packets
        ("reduce_scatter", 15 * (4 * 4 + 40)),
        ("all_gather", 15 * (64 * 4 + 40)),  # of the shard itself: 64 packets
    ],
)
def test_booksim2_is_given_the_load_that_is_asked_for(tmp_path, kind, cycles):
    model = booksim2(tmp_path)
    model.declare([collective(kind, 16)])
    assert model.estimate(collective(kind, 16), (4096,)).duration_ps == cycles * 1000


def test_booksim2_goes_on_at_the_rate_of_its_sample(tmp_path):
    model = booksim2(tmp_path, sample_packets=100)
    once, more = (model.estimate(collective("all_gather", 16), (6400 * times,)).duration_ps for times in (1, 50))
    assert more == 50 * once


@pytest.mark.parametrize(("text", "why"), [(MESH, "16 nodes"), ("topology = anynet;\n", "no nodes: are given")])
def test_booksim2_refuses_a_part_of_its_network(tmp_path, text, why):
    with pytest.raises(UnsupportedOperation, match=f"among 4; the network has {why}"):
        booksim2(tmp_path, text).declare([collective("all_reduce", 4)])


def test_booksim2_has_every_file_its_configuration_names(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/four.net").write_text("router 0 node 0 router 1\n")
    model = booksim2(tmp_path, "topology = anynet;\nnetwork_file = nets/four.net;\n")
    assert model.estimate(SEND, (64,)).duration_ps == 40500
    with pytest.raises(ConfigError, match="network_file = none.net: there is no such file"):
        booksim2(tmp_path, "topology = anynet;\nnetwork_file = none.net;\n")


def test_booksim2s_own_words_are_not_lost_in_its_configuration(tmp_path):
    """What it echoes of a configuration is longer than the lines that are kept."""
    (tmp_path / "four.net").write_text("router 0")
    model = booksim2(tmp_path, "topology = anynet;\nnetwork_file = four.net;\n" + "k = 4;\n" * 40)
    model._files.clear()
    with pytest.raises(ToolFailure, match="(?s)its last lines:\n    Anynet:can't open network file four.net"):
        model.estimate(SEND, (64,))


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
    with pytest.raises(ConfigError, match="program = .*no such program"):
        AttAcc({"program": str(tmp_path / "nothing"), **config})


def test_attacc_reads_the_k_and_v_of_grouped_queries_once(shared, tmp_path):
    """32 query heads over 8 KV heads: the rows of 8, unless its units are said to take a query at a time."""
    made = tmp_path / "made"
    code = f"import sys; open({str(made)!r}, 'w').write(' '.join(sys.argv)); open(sys.argv[-1], 'w').write('x\\n')"
    config = {
        "program": script(tmp_path, "ramulator2", "print('Loaded 1 lines.\\n  memory_system_cycles: 40')"),
        "generator": [sys.executable, script(tmp_path, "generate.py", code)],
        "devices": 1,
        "config": str(shared / "recorded/attacc/L512_h32/att_512.yaml"),
    }
    grouped = Template(0, "attention", "attention", {**ATTENTION.attributes, "kv_heads": 8})
    for queries, heads in (("together", 8), ("apart", 32)):
        AttAcc({**config, "grouped_queries": queries}).estimate(grouped, (1, 511, 511, 511))
        assert f"--nhead {heads} " in made.read_text()


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
    "dramsim3": DRAMSIM3 % {"bits": 2},
    "ramulator2": RAMULATOR2 % {"channels": 1, "service": 9, "latency": 80, "bytes": 64, "tck": 625},
    "booksim2": BOOKSIM2,
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
    (folder / "ini").write_text(HBM2)
    (folder / "net").write_text(MESH)
    (folder / "yaml").write_text("Dispatcher:\n  path: ./x\n")
    gen = script(
        folder,
        "gen",
        "import sys; o = sys.argv; open(o[o.index('--output') + 1], 'w').write('x\\n' * int(o[o.index('--seqlen') + 1]))",
    )
    own = {
        "astrasim": LINK,
        "dramsim3": {"config": str(folder / "ini"), "cycles": 1000},
        "ramulator2": {"tck_ps": 625, "sample_bytes": 1 << 16},
        "booksim2": {"config": str(folder / "net")},
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
