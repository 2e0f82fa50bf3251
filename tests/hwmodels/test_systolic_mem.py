"""A systolic array with a memory against closed forms: where memory keeps up, and where it does not."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.hwmodels.accelerator.systolic import Gemm, Systolic
from metronome.hwmodels.accelerator.systolic_mem import SystolicMem
from metronome.hwmodels.accelerator.tiles import OUTPUT, Bytes, Cut, folds
from metronome.hwmodels.interface import Operation, Template
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.memory.banked_dram import BankedDram
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.local import LocalMember

LATENCY_PS = 20_000  # of the port


def gemm(n, k, dtype="bf16"):
    return Template(0, "gemm", "up", {"n": n, "k": k, "dtype": dtype})


def played(memory, template, values, **config):
    """(time, the array's figures) of an operation alone."""
    members = [LocalMember("a", SystolicMem(config)), LocalMember("m", memory)]
    alone = Alone(members, [("a.mem", "m")], [template], lambda number, known: members[number].component.declare(known))
    done = alone.play(Operation(template.id, values, 0, 0))
    return done.finish_ps - done.start_ps, members[0].component.statistics(), members[1].component.statistics()


def closed(template, values, **config):
    """(time without a memory, first tile's bytes in each load, last store's bytes) of a GEMM."""
    model = Systolic(config)
    model.declare([template])
    shape = Gemm(values[0], int(template.attributes["n"]), int(template.attributes["k"]))
    cut = Cut(model.config.dataflow, model.config.rows, model.config.columns, 1 << 40)
    every = list(folds(shape, cut, 0, Bytes(2, 2, 2)))
    return model.estimate(template, values).duration_ps, every[0].loads, every[-1].store.size


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["ws", "os", "is"]),
    st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([8, 16]),
    st.sampled_from([700, 1000, 940.5]),
)
def test_where_memory_keeps_up_it_is_the_closed_form(dataflow, shape, size, clock_mhz):
    """The first loads, the cycles, the last store: to the picosecond. Memory takes 3 ps a request, whatever its size, and
    a nanosecond there: a tile is longer, so two stores on their way are never in the way."""
    m, n, k = shape
    config = {"dataflow": dataflow, "rows": size, "columns": size, "clock_mhz": clock_mhz, "request_bytes": 1 << 20}
    config["port_latency_ns"] = 1
    took, figures, _ = played(
        BandwidthLatency({"bandwidth_gb_s": 1e9, "latency_ns": 0.003}), gemm(n, k), (m,), **config
    )
    alone, loads, _ = closed(gemm(n, k), (m,), rows=size, columns=size, dataflow=dataflow, clock_mhz=clock_mhz)
    there = sum(piece.size > 0 for piece in loads)
    assert took == (1000 + 3 * there) + alone + (1000 + 3) + 1
    assert figures["stalled_s"] == (1000 + 3 * there) / 1e12


@pytest.mark.parametrize(("part", "count"), [("hbm2-2000", 1), ("ddr5-4800", 4)])
def test_where_it_does_not_it_is_bytes_over_bandwidth(part, count):
    """A quick array at weights that are met once: within 3 % of what a stream of as many bytes takes there."""
    config = {"clock_mhz": 40_000, "rows": 64, "columns": 64, "outstanding": 4096, "request_bytes": 8192}
    took, figures, memory = played(BankedDram({"part": part, "count": count}), gemm(1024, 1536), (1,), **config)
    stream = BankedDram({"part": part, "count": count})
    stream.declare([Template(0, "read", "x")])
    (alone,) = stream.advance(1 << 62, [Operation(0, (figures["loaded_bytes"],))]).completions
    assert figures["loaded_bytes"] == 2 * (1024 * 1536 + 1536)
    assert took == pytest.approx(alone.finish_ps + LATENCY_PS, rel=0.03)
    assert figures["stalled_s"] > 0.5 * took / 1e12 and memory["bursts"] * 64 >= figures["loaded_bytes"]


def test_a_memory_half_as_fast_takes_twice_as_long_where_it_is_waited_for():
    slow, fast = (
        played(BandwidthLatency({"bandwidth_gb_s": rate}), gemm(2048, 2048), (1,), clock_mhz=10_000)[0]
        for rate in (50, 100)
    )
    assert slow == pytest.approx(2 * fast, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["ws", "os", "is"]),
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from([4, 8]),
    st.booleans(),
)
def test_every_byte_is_loaded_and_stored(dataflow, shape, size, kept):
    """Stationary operands once; the streaming one once if it is kept, else once for each row of folds; outputs once."""
    m, n, k = shape
    every = list(folds(Gemm(*shape), Cut(dataflow, size, size, 1e9 if kept else 0), 1, Bytes(2, 2, 2)))
    assert len(every) == Systolic({"rows": size, "columns": size, "dataflow": dataflow}).tile(Gemm(*shape)).folds
    assert sum(fold.store.size for fold in every) == 2 * m * n
    across = {"ws": (2 * k * n, 2 * m * k, n), "is": (2 * m * k, 2 * k * n, m), "os": (2 * k * n, 2 * m * k, n)}
    stays, streams, blocks = across[dataflow]
    loaded = sum(piece.size for fold in every for piece in fold.loads)
    assert loaded == stays + streams * (1 if kept else ceil(blocks / size))
    stores = [fold.store for fold in every if fold.store.size]
    assert all(a.address + a.size == b.address for a, b in pairwise(stores))
    assert all(store.address >= OUTPUT << 40 for store in stores)


def test_tiles_that_are_not_played_go_at_the_pace_of_those_that_are():
    memory = {"bandwidth_gb_s": 50, "latency_ns": 1}
    whole, most = (
        played(BandwidthLatency(memory), gemm(4096, 1024), (4,), **config)[0] for config in ({}, {"most_tiles": 64})
    )
    assert most == pytest.approx(whole, rel=0.005) and most != whole


@pytest.mark.parametrize(
    ("template", "values"),
    [
        (Template(0, "norm", "norm", {"width": 4096, "dtype": "bf16"}), (64,)),
        (Template(0, "attention", "attn", {"heads": 8, "kv_heads": 2, "head_size": 64, "dtype": "bf16", "kv_dtype": "fp8"}), (4, 2000, 600, 400, 16, 0)),
        (Template(0, "moe", "moe", {"hidden": 256, "intermediate": 512, "experts": 8, "top_k": 2, "dtype": "bf16"}), (8, 4)),
    ],
)  # fmt: skip
def test_other_operations_are_tiles_too(template, values):
    took, figures, _ = played(BandwidthLatency({"bandwidth_gb_s": 1e9, "latency_ns": 0.003}), template, values)
    model = Systolic({})
    model.declare([template])
    assert took == pytest.approx(model.estimate(template, values).duration_ps, rel=0.05, abs=50_000)
    assert figures["loaded_bytes"] > 0
