"""DRAMsim3's library in granted time: closed forms, what meets, how time is cut, refusals and failures.

Against a stand-in for the library (`dramsim3_standin.cc`), and against DRAMsim3's own where METRONOME_DRAMSIM3_LIBRARY
is the path of a libdramsim3.so.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time

import pytest
import yaml
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.user_built.dramsim3_ini import Ini
from metronome.adapters.user_built.dramsim3_library import Dramsim3Library
from metronome.hwmodels.accelerator.systolic_mem import SystolicMem
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Template
from metronome.hwmodels.memory.banked_dram import BankedDram
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.local import LocalMember
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation

from ..conftest import need_tool
from .contract import keeps_the_contract
from .standins import dramsim3_library

CK, RCD, CL, BURST, RP, RFC, REFI = 1000, 14, 14, 2, 14, 260, 3900
HBM2 = f"""[dram_structure]
protocol = HBM
bankgroups = 4
banks_per_group = 4
rows = 32768
columns = 64
device_width = 128
BL = 4
[timing]
tCK = 1
CL = {CL}
CWL = 4
tRCDRD = {RCD}
tRCDWR = 14
tRP = {RP}
tRAS = 34
tRFC = {RFC}
tREFI = {REFI}
tRRD_S = 4
tRRD_L = 6
tWTR_S = 6
tWTR_L = 8
tFAW = 30
tWR = 16
tCCD_S = 1
tCCD_L = 2
[system]
channel_size = 1024
channels = 8
bus_width = 128
address_mapping = rorabgbachco
queue_structure = PER_BANK
cmd_queue_size = 8
trans_queue_size = 32
"""
KINDS = ("read", "write", "move", "copy", "load", "store")
ROW = 2048  # bytes of a row, all in one channel
ROWS = ROW * 8 * 16  # of all banks
PEAK = 256e9  # bytes a second


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    need_tool("dramsim3-library")
    return dramsim3_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module", params=["stand-in", "DRAMsim3"])
def config(request, standin, tmp_path_factory):
    library = standin if request.param == "stand-in" else os.environ.get("METRONOME_DRAMSIM3_LIBRARY")
    if library is None:
        pytest.skip("METRONOME_DRAMSIM3_LIBRARY is the path of no libdramsim3.so")
    return configured(tmp_path_factory.mktemp("device"), library, HBM2)


def configured(folder, library, ini, **more):
    (folder / "device.ini").write_text(ini)
    return {"library": str(library), "config": str(folder / "device.ini"), **more}


def model(config, cls=Dramsim3Library):
    made = cls(config)
    kinds = [kind for kind in KINDS if cls is Dramsim3Library or kind not in ("load", "store")]
    made.declare([Template(KINDS.index(kind), kind, kind, {"pattern": "stream"}) for kind in kinds])
    return made


def operation(kind, *values, at=0, number=0):
    return Operation(KINDS.index(kind), values, number, at)


def alone(config, kind, *values, cls=Dramsim3Library):
    """ps of an operation alone, begun at a time of no significance."""
    (done,) = model(config, cls).advance(MAX_PS, [operation(kind, *values, at=777)], True).completions
    return done.finish_ps - 777


def together(config, *operations):
    done = model(config).advance(10**13, operations).completions
    return {one.op_id: one.finish_ps for one in done}


def test_a_read_alone_takes_the_librarys_latency(config):
    """Row, column, burst, the cycle in which it is looked at; and the picosecond after which a cycle sees it."""
    assert alone(config, "load", 64, 0) == alone(config, "read", 64) == (RCD + CL + BURST + 1) * CK + 1


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("size", [1 << 24, 1 << 30])
def test_a_stream_reaches_the_bandwidth_that_refreshes_leave(config, kind, size):
    left = 1 - (RFC + RP) / REFI
    assert size / (alone(config, kind, size) / 1e12) == pytest.approx(PEAK * left, rel=0.015)


@pytest.mark.parametrize("size", [1 << 20, 1 << 25, 100_000_000])
def test_what_is_left_out_is_as_what_was_done(config, size):
    """A `load` is done request by request, whatever its size."""
    assert alone(config, "read", size) == pytest.approx(alone(config, "load", size, 0), rel=0.005)


@pytest.mark.parametrize("other", ["read", "write"])
def test_what_is_left_out_of_two_users_is_as_what_was_done(config, other):
    size, after = 1 << 26, (1 << 26) + ROWS * 5 // 8
    after += (4 << 30) + ROWS // 2 if other == "write" else 0  # where a `write` lies that comes behind such a `read`
    address = {"read": "load", "write": "store"}
    left_out = together(config, operation("read", size), operation(other, size, number=1))
    done = together(config, operation("load", size, 0), operation(address[other], size, after, number=1))
    for number in (0, 1):
        assert left_out[number] == pytest.approx(done[number], rel=0.03)


def test_a_gigabyte_costs_no_more_cycles_than_some_megabytes(config):
    made = model(config)
    made.advance(MAX_PS, [operation("read", 1 << 34)], True)
    assert made.statistics()["requests"] == 1 << 28
    assert made.statistics()["cycles_stepped"] < 10 * 2 * REFI


@pytest.mark.parametrize("kind", ["load", "read"])
def test_two_users_finish_later_than_one(config, kind):
    """By as much as the other moves, and more where they close one another's rows."""
    size, far = 1 << 22, 1 << 30
    values = [(size, 0), (size, far + ROW)] if kind == "load" else [(size,), (size,)]
    one = together(config, operation(kind, *values[0]))[0]
    both = together(config, *(operation(kind, *values[i], number=i) for i in (0, 1)))
    assert min(both.values()) > 1.6 * one
    assert 1.95 * one < max(both.values()) < 3 * one


def test_two_users_of_one_channel_take_turns(config, tmp_path):
    """One request enters in a cycle: it is not always the same user's."""
    one = configured(tmp_path, config["library"], HBM2.replace("channels = 8", "channels = 1"))
    size = 1 << 18
    ends = together(one, operation("load", size, 0), operation("load", size, 1 << 29, number=1))
    assert min(ends.values()) > 0.9 * max(ends.values()) > 1.7 * alone(one, "load", size, 0)


def test_gigabytes_of_two_users_meet_where_they_overlap(config):
    size = 1 << 29
    one = together(config, operation("read", size))[0]
    both = together(config, operation("read", size), operation("read", size, at=one // 2, number=1))
    assert both[0] == pytest.approx(1.5 * one, rel=0.1)
    assert both[1] == pytest.approx(2 * one, rel=0.1)


def test_rows_stay_open_from_one_request_to_the_next(config):
    """While something is under way: a read of an open row lacks tRCD, one of another row of that bank pays tRP too."""
    first = operation("load", 64, 0)
    keeps = operation("load", ROW, 4 * ROW, number=1)  # of another channel: the memory has work

    def second(address):
        done = together(config, first, keeps, operation("load", 64, address, at=60 * CK, number=2))
        return done[2] - 60 * CK

    hit, other_row = second(64), second(ROWS)
    assert hit < (RCD + CL + BURST + 1) * CK + 1 < other_row


def test_at_rest_it_is_as_new(config):
    made = model(config)
    took = []
    for number in range(3):
        at = 10**9 * number
        took += [
            one.finish_ps - at for one in made.advance(at + 10**8, [operation("load", 4096, 0, at=at)]).completions
        ]
    assert len(set(took)) == 1 and made.statistics()["times_new"] == 3


def mixed(seed):
    draw = random.Random(seed)
    found = []
    for number in range(12):
        kind = draw.choice(KINDS)
        size = draw.choice([64, 5000, 1 << 18])
        values = {"move": (size, 4096), "load": (size, 64 * draw.randrange(4096)), "store": (size, 0)}.get(
            kind, (size,)
        )
        found.append(operation(kind, *values, at=draw.randrange(30_000_000), number=number))
    long = operation("read", 1 << 26, at=10_000_000_000, number=20)
    return sorted([*found, long, operation("write", 1 << 25, at=10_100_000_000, number=21)], key=lambda one: one.at_ps)


@pytest.mark.parametrize("seed", range(2))
def test_however_time_is_cut_the_same_happens(config, seed):
    """Grants that end anywhere, also where windows are left out and where an operation comes."""
    operations = mixed(seed)
    whole = sorted(model(config).advance(10**12, operations).completions)
    draw = random.Random(seed)
    cuts = [draw.randrange(12_000_000_000) for _ in range(60)] + [draw.randrange(40_000_000) for _ in range(60)]
    made, found, left = model(config), [], list(operations)
    for grant in [*sorted([*cuts, *(one.at_ps for one in operations)]), 10**12]:
        due = [one for one in left if one.at_ps <= grant]
        left = left[len(due) :]
        answer = made.advance(grant, due)
        assert answer.reached_ps == grant
        found += answer.completions
    assert sorted(found) == whole and len(whole) == len(operations)


def test_a_write_to_what_is_being_read_ends(config):
    """The library would look at the write for ever."""
    both = [operation("load", 1 << 16, 0), operation("store", 1 << 16, 0, number=1)]
    assert len(together(config, *both)) == 2


def test_it_keeps_the_contract(config, tmp_path):
    keeps_the_contract(Dramsim3Library, config, tmp_path)


def test_it_is_near_the_dram_of_our_own(config):
    """`banked-dram` has the same part: what both know of a stream."""
    for kind, values in (("read", (1 << 28,)), ("write", (1 << 28,)), ("move", (1 << 28, 1 << 24))):
        ours = alone({"part": "hbm2-2000"}, kind, *values, cls=BankedDram)
        assert alone(config, kind, *values) == pytest.approx(ours, rel=0.06), kind


def test_energy_is_bits_times_what_is_given(config):
    made = model({**config, "energy_pj_per_bit": 3})
    (done,) = made.advance(10**12, [operation("copy", 1000)]).completions
    assert done.energy_pj == 24_000


def test_behind_a_port_it_serves_what_is_loaded_and_stored(config):
    memory = Dramsim3Library(config)
    members = [LocalMember("a", SystolicMem({"rows": 64, "columns": 64})), LocalMember("m", memory)]
    gemm = Template(0, "gemm", "up", {"n": 256, "k": 256, "dtype": "int8"})
    island = Alone(members, [("a.mem", "m")], [gemm], lambda number, known: members[number].component.declare(known))
    island.play(Operation(0, (64,)))
    said = members[0].component.statistics()
    assert memory.statistics()["requests"] == (said["loaded_bytes"] + said["stored_bytes"]) // 64


def run(cli, scenario, folder):
    """(result.json, requests.csv)"""
    folder.mkdir()
    (folder / "s.yaml").write_text(yaml.safe_dump(scenario))
    done = cli("run", folder / "s.yaml", "-o", folder / "out", "--quiet")
    assert done.exit_code == 0, done.output
    return json.loads((folder / "out/result.json").read_text()), (folder / "out/requests.csv").read_bytes()


@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_two_instances_share_it_as_their_nodes_memory(small, cli, config, tmp_path, where):
    """Stepped: both read token ids from it. Twice the same bytes."""
    small["workload"]["num_requests"] = 10
    small["components"] = {"n0.dram": {"model": "dramsim3-library", "run": where, **config}}
    first, second = (run(cli, small, tmp_path / name) for name in "ab")
    assert first[1] == second[1]
    said = [result["metronome"]["components"]["n0.dram"]["statistics"] for result, _ in (first, second)]
    assert said[0] == said[1] and said[0]["requests"] > 40


def test_it_is_the_memory_of_each_accelerator(small, cli, config, tmp_path):
    small["workload"] |= {"num_requests": 2, "output_tokens": {"mean": 3, "max": 5}}
    small["instances"] = small["instances"][:1]
    found = []
    for options in ({"model": "dramsim3-library", **config}, {"model": "banked-dram", "part": "hbm2-2000"}):
        small["components"] = {"n0.hbm": options}
        found.append(run(cli, small, tmp_path / options["model"])[0]["mean_tpot_ms"])
    assert found[0] == pytest.approx(found[1], rel=0.03)


# What cannot be -----------------------------------------------------------------------------------


def test_the_ini_is_read_as_the_library_reads_it(standin, tmp_path):
    """Three of DRAMsim3's own files say `tCK = 0.666 (1/1.5)`."""
    config = configured(tmp_path, standin, HBM2.replace("tCK = 1\n", "tCK = 0.666 (1/1.5)\n"))
    assert alone(config, "load", 64, 0) == 31 * 666 + 1
    with pytest.raises(ConfigError, match=r"config = .*tCK = fast: no positive number"):
        model(configured(tmp_path, standin, HBM2.replace("tCK = 1\n", "tCK = fast\n")))


@pytest.mark.parametrize(
    ("ini", "why"),
    [
        (HBM2.replace("HBM", "HMC"), "protocol HMC has vaults"),
        (HBM2.replace("= HBM", "= SDRAM"), "(?s)the library does not take it: .*exited with code 255.*SDRAM Aborting"),
        (HBM2.replace("rorabgbachco", "rorabgbach"), "address_mapping = rorabgbach: each of"),
        (HBM2.replace("channels = 8", "channels = many"), "channels = many: no positive number"),
        (HBM2 + "FAULT = odd\n", "answered '64 -1'"),
    ],
)
def test_a_device_that_cannot_be_is_refused_before_time_0(standin, tmp_path, ini, why):
    with pytest.raises(ConfigError, match=why) as raised:
        model(configured(tmp_path, standin, ini))
    assert raised.value.field == "config"


def test_a_file_that_is_not_there_is_refused_by_its_field(standin, tmp_path):
    config = configured(tmp_path, standin, HBM2)
    with pytest.raises(ConfigError, match="no such file") as raised:
        model({**config, "library": str(tmp_path / "nothing.so")})
    assert raised.value.field == "library"
    with pytest.raises(ConfigError, match="cannot be read") as raised:
        model({**config, "config": str(tmp_path / "nothing.ini")})
    assert raised.value.field == "config"


def test_what_is_no_library_of_dramsim3_is_refused(standin, tmp_path):
    config = configured(tmp_path, standin, HBM2)
    (tmp_path / "text.so").write_text("no library")
    (tmp_path / "other.cc").write_text("int other() { return 1; }")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", tmp_path / "other.so", tmp_path / "other.cc"], check=True)
    for name, why in (("text.so", "invalid ELF header|too short"), ("other.so", "no library of DRAMsim3")):
        with pytest.raises(ConfigError, match=why) as raised:
            model({**config, "library": str(tmp_path / name)})
        assert raised.value.field == "library"


def test_a_scenario_says_which_component_and_field(small, standin, tmp_path):
    small["components"] = {"n0.dram": {"model": "dramsim3-library", "library": "nothing.so", "config": "device.ini"}}
    configured(tmp_path, standin, HBM2)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    with (
        pytest.raises(InputError, match=r"n0\.dram: library = .*nothing\.so': no such file"),
        Simulation(validate(small, "test"), tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("crash", "was killed by SIGABRT"),
        ("exit", "exited with code 3"),
        ("spin", "did not answer within 1 s"),
        ("silent", "nothing was taken or done for 100000 cycles"),
    ],
)
def test_a_library_that_fails_is_one_failure_in_time(standin, tmp_path, fault, why):
    made = model(configured(tmp_path, standin, f"{HBM2}FAULT = {fault}\n", timeout_s=1))
    started = time.monotonic()
    with pytest.raises(ToolFailure, match=why):
        made.advance(10**12, [operation("load", 1 << 14, 0)])
    assert time.monotonic() - started < 20


# The .ini -----------------------------------------------------------------------------------------


def test_places_are_those_of_the_devices_mapping(tmp_path):
    """By DRAMsim3's `Config::AddressMapping`: a row's step keeps channel and bank, a channel's keeps the rest."""
    (tmp_path / "device.ini").write_text(HBM2)
    ini = Ini(tmp_path / "device.ini")
    assert ini.requests * 64 == 8 << 30
    assert ini.open_rows * 64 == ROWS == ini.step("ro") * 64
    assert ini.step("ch") * 64 == ROW
