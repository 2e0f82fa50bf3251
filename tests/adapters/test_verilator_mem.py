"""RTL that fetches its operands at a port: its products, its cycles and stalls against closed forms, its contract."""

from __future__ import annotations

import sys
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metronome.adapters.tools.clock import Clock
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.verilator import RtlFetching
from metronome.adapters.verilator.bus import LINE, SLOTS, WRITES
from metronome.hwmodels.interface import ConfigError, Operation, Template, UnsupportedOperation
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.memory.banked_dram import BankedDram
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.local import LocalMember

from ..conftest import need_tool
from .contract import keeps_the_contract

SIZE = 8
CYCLE_PS = 1000  # at the default of 1 GHz
AT_ONCE = {"bandwidth_gb_s": 1e9}  # a picosecond a line
ACROSS = SIZE + SIZE - 1  # cycles from a tile's last values to where the next tile may begin
OUT = SIZE // 2  # lines of a tile's products
STAND_IN = {"program": "/bin/sh"}  # where nothing is asked of it


@pytest.fixture(scope="module")
def tool():
    need_tool("verilator-mem")


def gemm(n, k, dtype="int8"):
    return Template(0, "gemm", "up", {"n": n, "k": k, "dtype": dtype})


def played(memory, template, values, **config):
    """(time in ps, the array, the memory) of an operation alone."""
    array = RtlFetching(config)
    members = [LocalMember("a", array), LocalMember("m", memory)]
    alone = Alone(members, [("a.mem", "m")], [template], lambda number, known: members[number].component.declare(known))
    done = alone.play(Operation(template.id, values))
    return done.finish_ps - done.start_ps, array, memory


def tiles(m, n):
    return ceil(m / SIZE) * ceil(n / SIZE)


def moved(m, n, k):
    """Bytes of all lines: both panels for each tile, and its products, four bytes each."""
    return tiles(m, n) * (2 * ceil(k / 8) * LINE + 4 * SIZE * SIZE)


def test_what_it_stores_are_the_products_of_what_it_loads(tool):
    """Read from the memory's image as its layout says, multiplied by numpy: every one, padding included."""
    m, n, k = 20, 13, 61
    _, array, _ = played(BankedDram({"part": "ddr5-4800"}), gemm(n, k), (m,))
    first, second, products = array.image()
    a, b = (np.frombuffer(part, np.int8).reshape(-1, 8 * ceil(k / 8), SIZE) for part in (first, second))
    a, b = (part.transpose(0, 2, 1).reshape(-1, 8 * ceil(k / 8)) for part in (a, b))  # a row, or a column, each
    assert np.count_nonzero(a) > 0.9 * m * k and {-128, 127} & set(a.ravel().tolist()) and not a[m:].any()
    found = np.frombuffer(products, "<i4").reshape(ceil(m / SIZE), ceil(n / SIZE), SIZE, SIZE)
    found = found.transpose(0, 2, 1, 3).reshape(a.shape[0], b.shape[0])
    assert np.array_equal(found, a.astype(np.int64) @ b.astype(np.int64).T)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 200)), st.sampled_from([20, 33.3]))
def test_where_memory_keeps_up_it_waits_once(tool, shape, latency_ns):
    """The first line is asked for at edge 2, the second at edge 3; the array takes ``k`` values and 15 cycles a tile, and
    its last four lines are written one a cycle. A line comes at the first edge after the port's latency and 1 ps. Where
    two tiles are shorter than that, the third one's products wait: only two tiles' lines may be on their way."""
    m, n, k = shape
    way = int(latency_ns) + 1
    assume(WRITES // OUT * (k + ACROSS) > way + 1)
    took, array, _ = played(BandwidthLatency(AT_ONCE), gemm(n, k), (m,), port_latency_ns=latency_ns)
    figures = array.statistics()
    assert took == CYCLE_PS * figures["cycles"]
    assert figures["cycles"] == 3 + way + tiles(m, n) * (k + ACROSS) + OUT + way + 1
    assert (figures["stalled_for_operands"], figures["stalled_for_stores"]) == (way + 1, 0)
    assert figures["loaded_bytes"] + figures["stored_bytes"] == moved(m, n, k)


def test_one_read_at_a_time_takes_the_way_for_each_line(tool):
    """The bus is not ready for the next before a line has come: a line each ``way`` + 1 cycles."""
    k, way = 64, 21
    took, _, _ = played(BandwidthLatency(AT_ONCE), gemm(SIZE, k), (SIZE,), outstanding=1)
    lines = 2 * k // 8
    assert took == CYCLE_PS * (2 + (lines - 1) * (way + 1) + way + 8 + ACROSS + OUT + way + 1)


@pytest.mark.parametrize("clock_mhz", [1000, 750])
@pytest.mark.parametrize("rate", [2, 4, 8])
def test_a_memory_half_as_fast_is_slower_by_its_bytes(tool, rate, clock_mhz):
    """Slower than what the array takes, 16 bytes a cycle, memory never rests from the first line to the last: at half the
    bandwidth its bytes take twice as long, and nothing else does. Within two cycles: the first and the last line wait
    for an edge. A tile has more lines than there are slots, so its products do not wait behind another tile's lines."""
    m, n, k = 8, 32, 1024
    assert 2 * k // 8 > SLOTS and rate < 16 * clock_mhz / 1000 / 1.4
    fast, slow = (
        played(BandwidthLatency({"bandwidth_gb_s": one}), gemm(n, k), (m,), clock_mhz=clock_mhz)
        for one in (rate, rate / 2)
    )
    cycle_ps = 1e6 / clock_mhz
    bytes_ps = moved(m, n, k) / rate * 1000  # GB/s is bytes a nanosecond
    assert slow[0] - fast[0] == pytest.approx(bytes_ps, abs=2 * cycle_ps)
    stalled = [one[1].statistics()["stalled_cycles"] for one in (fast, slow)]
    assert (stalled[1] - stalled[0]) * cycle_ps == pytest.approx(bytes_ps, abs=0.02 * bytes_ps)


def test_products_that_cannot_leave_stop_the_array(tool):
    """Short tiles at a slow memory: at most eight lines are on their way, and one tile's wait."""
    took, array, _ = played(BandwidthLatency({"bandwidth_gb_s": 2}), gemm(64, 1), (8,))
    figures = array.statistics()
    assert figures["stalled_for_stores"] > 0
    assert took > moved(8, 64, 1) / 2 * 1000


def test_a_dram_is_asked_for_the_same_lines(tool):
    part = {"part": "hbm2-2000"}
    _, array, memory = played(BankedDram(part), gemm(24, 128), (16,))
    assert memory.statistics()["bursts"] * LINE == moved(16, 24, 128)  # a burst of HBM2 is 64 bytes
    assert array.statistics()["stalled_cycles"] > 0


def test_tiles_that_are_not_done_take_the_time_of_those_that_are(tool):
    """Where memory keeps up each takes the same: to the picosecond, but for the last write before the rest passes."""
    whole, some = (
        played(BandwidthLatency(AT_ONCE), gemm(128, 40), (16,), **config) for config in ({}, {"most_tiles": 4})
    )
    assert some[0] == whole[0] and some[1].statistics()["tiles_simulated"] == 4
    assert whole[1].statistics()["tiles_simulated"] == tiles(16, 128)


def test_an_operation_of_many_products_does_each(tool):
    template = Template(
        0, "moe", "experts", {"hidden": 16, "intermediate": 8, "experts": 8, "top_k": 2, "dtype": "int8"}
    )
    took, array, _ = played(BandwidthLatency(AT_ONCE), template, (8, 4))
    counts = [(1, 8, 8, 16), (4, 4, 16, 16), (4, 4, 16, 8)]  # how often, m, n, k: gate, up with gate, down
    figures = array.statistics()
    assert figures["tiles_simulated"] == sum(times * tiles(m, n) for times, m, n, _ in counts)
    assert figures["loaded_bytes"] + figures["stored_bytes"] == sum(t * moved(m, n, k) for t, m, n, k in counts)
    once = 3 + 21 + OUT + 21 + 1
    assert took == CYCLE_PS * sum(t * (once + tiles(m, n) * (k + ACROSS)) for t, m, n, k in counts)


def test_an_operation_is_none_the_wiser_for_those_before(tool):
    array = RtlFetching()
    members = [LocalMember("a", array), LocalMember("m", BankedDram({"part": "hbm2-2000"}))]
    alone = Alone(
        members, [("a.mem", "m")], [gemm(24, 100)], lambda number, known: members[number].component.declare(known)
    )
    took = [alone.play(Operation(0, (m,))) for m in (16, 3, 40, 16)]
    assert took[0].finish_ps - took[0].start_ps == took[3].finish_ps - took[3].start_ps


def test_it_keeps_the_contract(tool, tmp_path):
    keeps_the_contract(
        RtlFetching, {"as_int8": True, "most_tiles": 4, "port_latency_ns": 2000, "clock_mhz": 50}, tmp_path
    )


def test_the_port_is_the_configuration_s():
    (port,) = RtlFetching({**STAND_IN, "outstanding": 3, "port_latency_ns": 7}).description.ports
    assert (port.name, port.kind, port.latency_ps, port.credits) == ("mem", "memory", 7000, 3 + WRITES)


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_other_types_are_refused_by_name(dtype):
    with pytest.raises(UnsupportedOperation, match=f"dtype '{dtype}'; as_int8: true"):
        RtlFetching(STAND_IN).declare([gemm(8, 8, dtype)])
    RtlFetching({**STAND_IN, "as_int8": True}).declare([gemm(8, 8, dtype)])
    RtlFetching(STAND_IN).declare([Template(0, "norm", "norm", {"width": 8, "dtype": "bf16"})])  # the vector unit's


def test_more_reads_than_slots_are_refused():
    with pytest.raises(ConfigError, match="outstanding"):
        RtlFetching({**STAND_IN, "outstanding": SLOTS + 1})


@pytest.mark.parametrize("cycle_ps", [1000.0, 1e6 / 940.5, 0.7])
@pytest.mark.parametrize("at_ps", [0, 1, 999, 1000, 1001, 123_456_789_012_345])
def test_edges_are_where_they_are_looked_for(cycle_ps, at_ps):
    clock = Clock(0, cycle_ps)
    edge = clock.last(at_ps)
    assert clock.at_ps(edge) <= at_ps < clock.at_ps(edge + 1) and clock.after(at_ps) == edge + 1


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (["= 0", "! cell 3 of tile 0 holds 7 instead of 9"], "says: cell 3 of tile 0 holds 7 instead of 9"),
        (["= 0", "= 5 0 0"], "'5 0 0', which is not what a run is answered"),
        (["= 0", "= 5 0 0 0 x 1"], "which is not what a run is answered"),
        (["= soup"], "'soup' as it began"),
        (["X on the bus"], "exited with code 0.*X on the bus"),
    ],
)
def test_an_array_that_answers_nonsense_is_refused(answers, why, tmp_path):
    fake = tmp_path / "array"
    fake.write_text(f"#!{sys.executable}\nfor one in {answers!r}:\n    input(); print(one, flush=True)\n")
    fake.chmod(0o755)
    model = RtlFetching({"program": str(fake)})
    model.declare([gemm(8, 8)])
    with pytest.raises(ToolFailure, match=f"(?s)a product of 8 x 8 and 8 x 8: .*{why}"):
        model.advance(100_000, [Operation(0, (8,))])
