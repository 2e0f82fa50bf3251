"""aiconfigurator: measured points as measured, and what it extrapolates in silence named as that."""

from __future__ import annotations

import csv

import pytest
from metronome.adapters.aiconfigurator import AiConfigurator, AiConfiguratorNetwork
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.interface import ConfigError, Provenance, Template, UnsupportedOperation

from ..conftest import need_tool
from .contract import keeps_the_contract

H100 = {"device": "h100-sxm"}


@pytest.fixture(scope="module", autouse=True)
def _tool():
    need_tool("aiconfigurator")


@pytest.fixture(scope="module")
def h100():
    return AiConfigurator(H100)


def gemm(n, k, dtype="bf16"):
    return Template(0, "gemm", "qkv_proj", {"n": n, "k": k, "dtype": dtype})


ATTENTION = Template(
    0, "attention", "attention", {"heads": 16, "kv_heads": 2, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
)


@pytest.mark.parametrize(
    ("n", "k", "m", "source"),
    [
        (4096, 4096, 16, "measured"),
        (4096, 4096, 1000, "interpolated"),
        (17, 19, 3, "extrapolated"),
        (4096, 4096, 10**6, "extrapolated"),
        (5000, 4096, 64, "interpolated"),
    ],
)
def test_provenance_is_told_by_the_tables_not_by_the_tool(h100, n, k, m, source):
    """Asked for 17 x 19 or for a million tokens the tool answers and says 'silicon'."""
    assert h100.estimate(gemm(n, k), (m,)).provenance is Provenance(source)


def test_attention_is_as_good_as_its_worst_part(h100):
    decode = (32, 32 * 2047, 2047, 2047)
    assert h100.estimate(ATTENTION, decode).provenance is Provenance.MEASURED
    assert h100.estimate(ATTENTION, (*decode, 512, 0)).provenance is Provenance.MEASURED
    assert h100.estimate(ATTENTION, (*decode, 512, 256)).provenance is Provenance.MODELLED
    assert h100.estimate(ATTENTION, (*decode, 60_000, 0)).provenance is Provenance.EXTRAPOLATED


def test_measured_points_are_the_published_ones(h100, shared):
    """The same release's table, read from its file."""
    with (shared / "aiconfigurator/h100_sxm/gemm_bf16_vllm_0.24.0.csv").open() as file:
        rows = [row for i, row in enumerate(csv.DictReader(file)) if i % 1500 == 0]
    for row in rows:
        m, n, k = (int(row[name]) for name in "mnk")
        answer = h100.estimate(gemm(n, k), (m,))
        assert answer.provenance is Provenance.MEASURED
        assert answer.duration_ps == pytest.approx(float(row["latency"]) * 1e9, rel=0.02)


@pytest.mark.parametrize(("size", "source"), [(64, "extrapolated"), (1 << 20, "measured"), (70_002, "interpolated")])
def test_collectives(size, source):
    network = AiConfiguratorNetwork(H100)
    template = Template(0, "all_reduce", "o_proj", {"participants": 4, "ranks": "n0.0,n0.1,n0.2,n0.3"})
    assert network.estimate(template, (size,)).provenance is Provenance(source)


def test_an_all_gather_is_asked_for_all_shares_together():
    network = AiConfiguratorNetwork(H100)
    gather = Template(0, "all_gather", "x", {"participants": 4, "ranks": ""})
    scatter = Template(0, "reduce_scatter", "x", {"participants": 4, "ranks": ""})
    share, whole = (network.estimate(t, (s,)).duration_ps for t, s in ((gather, 1 << 20), (scatter, 1 << 22)))
    assert share == pytest.approx(whole, rel=0.5)


def test_what_was_never_measured_is_refused_before_time_0():
    for model, template, why in (
        (AiConfigurator, gemm(64, 64, "int4"), "no int4"),
        (
            AiConfigurator,
            Template(0, "moe", "moe", {"hidden": 64, "intermediate": 64, "experts": 8, "top_k": 2, "dtype": "bf16"}),
            "no measurements of moe_data",
        ),
        (
            AiConfiguratorNetwork,
            Template(0, "all_reduce", "x", {"participants": 3, "ranks": ""}),
            "no measurements of nccl",
        ),
    ):
        with pytest.raises(UnsupportedOperation, match=why):
            model(H100).declare([template])


def test_a_device_it_does_not_know_is_a_message():
    with pytest.raises((ConfigError, UnsupportedOperation, ToolFailure), match="abacus"):
        AiConfigurator({"device": "abacus"}).declare([gemm(64, 64)])


@pytest.mark.parametrize("model", [AiConfigurator, AiConfiguratorNetwork])
def test_it_keeps_the_contract(model, tmp_path):
    keeps_the_contract(model, H100, tmp_path)


def test_it_says_which_engine_answered(h100):
    assert h100.statistics() == {"engine": "vllm 0.24.0"}
