"""Choosing tokens by top-p sorts the vocabulary on the device, or seeks where to cut, and the host has less to do."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import metronome
import pytest
from metronome.hwmodels.accelerator.choosing import choosing_bytes, masking_bytes, masking_s
from metronome.hwmodels.accelerator.counting import work
from metronome.hwmodels.accelerator.kernels.processor import Processor
from metronome.hwmodels.accelerator.profiled.model import Profiled
from metronome.hwmodels.base import Config, OracleModel
from metronome.hwmodels.catalog import device, kernels
from metronome.hwmodels.interface import Template, UnsupportedOperation
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.host_costs import host_costs

VOCAB = 128256
SCENARIO = {
    "workload": {
        "format": "synthetic",
        "num_requests": 64,
        "request_rate": "inf",
        "input_tokens": {"distribution": "fixed", "mean": 100},
        "output_tokens": {"distribution": "fixed", "mean": 30},
    },
    "cluster": {
        "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}}],
        "networks": [{"name": "nvlink", "connects": ["n0.accelerators"], "type": "nvlink4"}],
    },
    "instances": [
        {
            "name": "chat",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": "n0[0:2]",
            "tensor_parallel_size": 2,
            "engine": {"version": "vllm-0.19"},
        }
    ],
}


def sampler(**more):
    return Template(1, "sampler", "sampler", {"width": VOCAB, "dtype": "bf16"} | more)


def itl_ms(sampling, version="vllm-0.19", sequences=64):
    scenario = deepcopy(SCENARIO)
    scenario["workload"]["num_requests"] = sequences
    scenario["instances"][0]["engine"] = {"version": version, "async_scheduling": True}
    scenario["instances"][0]["engine"] |= {"sampling": sampling} if sampling else {}
    return metronome.run(scenario)["median_itl_ms"]


def gpu(multiprocessors, ghz, tb_s):
    return Processor({}, tb_s * 1e12, multiprocessors, 0, 0.0, ghz * 1e9)


H100, B200 = gpu(132, 1.83, 3.35), gpu(148, 1.965, 8.0)
HOPPER = kernels("hopper").small
BLACKWELL = HOPPER.model_copy(update={"seek_cycles": 7.0})  # in no catalog; a B200 there has no insides


def masked_ms(rows, width, on=H100, small=HOPPER, **more):
    template = Template(0, "sampler", "lm", {"width": width, "dtype": "fp32", "sorts": True} | more)
    return masking_s(template, (rows,), on, small) * 1e3


@pytest.mark.parametrize("version", ["vllm-0.11", "vllm-0.19"])
def test_a_step_takes_the_sort_of_all_its_sequences_longer(version):
    """On every rank the whole vocabulary; what the host does is hidden behind the step before. 0.19 sorts for few."""
    sequences = {"vllm-0.11": 64, "vllm-0.19": 7}[version]
    h100 = device("h100-sxm")
    sorted_s = 35 / (h100.chip.multiprocessors * h100.chip.clock_ghz * 1e9)  # cycles: its bytes would take less
    expected = sequences * VOCAB * (46 / (h100.memory_bandwidth * 0.9) + sorted_s) * 1000
    took = itl_ms("top-p", version, sequences) - itl_ms("greedy", version, sequences)
    assert took == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("sequences", [8, 64, 128])
def test_a_step_takes_longer_by_a_row_a_multiprocessor_where_the_cut_is_sought(sequences):
    """vLLM 0.19, from 8 sequences on: as long for one as for as many as there are multiprocessors, 132."""
    h100 = device("h100-sxm")
    sought_s = 4.2 * VOCAB / (h100.chip.clock_ghz * 1e9)
    expected = (sequences * VOCAB * (46 + 16) / (h100.memory_bandwidth * 0.9) + sought_s) * 1000
    took = itl_ms("top-p", "vllm-0.19", sequences) - itl_ms("greedy", "vllm-0.19", sequences)
    assert took == pytest.approx(expected, rel=0.1)


def test_bytes_of_the_sort():
    assert choosing_bytes(sampler(), (100,)) == masking_bytes(sampler(), (100,)) == 0
    assert choosing_bytes(sampler(sorts=True), (100,)) == 100 * VOCAB * 260
    assert choosing_bytes(sampler(sorts=True), (128,)) == 128 * VOCAB * 280  # each row for itself
    more = work(sampler(sorts=True), (100,))[1] - work(sampler(), (100,))[1]
    assert more == 100 * VOCAB * 260


def test_bytes_where_the_cut_is_sought():
    """Logits are read three times, and written once; for few rows they are sorted."""
    seeks = sampler(sorts=True, seeks_from=8)
    assert choosing_bytes(seeks, (8,)) == 8 * VOCAB * (46 + 16)
    assert choosing_bytes(seeks, (7,)) == choosing_bytes(sampler(sorts=True), (7,))


@pytest.mark.parametrize(("rows", "ms"), [(64, 1.005), (128, 2.272), (512, 6.15)])
def test_cycles_of_the_sort(rows, ms):
    """As measured on a B200: 148 multiprocessors at 1.965 GHz."""
    assert masked_ms(rows, 131_072, B200) == pytest.approx(ms, rel=0.02)


#: ms from launch to start, measured with them: what a row takes of which nothing is to be masked.
LAUNCH_MS = 0.020


@pytest.mark.parametrize(
    ("rows", "on", "small", "ms", "off"),
    [
        (4, H100, HOPPER, 0.324, 0.0),  # vLLM's pull request 42191, OrigTri: where the cycles come from
        (1, H100, HOPPER, 0.259, 0.24),  # one row, whose search ended earlier
        (128, B200, BLACKWELL, 0.528, 0.0),  # 40376: one turn, where Blackwell's cycles come from,
        (512, B200, BLACKWELL, 2.013, 0.01),  # and four
        (128, B200, HOPPER, 0.528, -0.36),  # Hopper's cycles are not Blackwell's
    ],
)
def test_seeking_as_measured(rows, on, small, ms, off):
    """Top-p alone, p = 0.9, 131,072 numbers, of the distribution that the benchmark has for logits."""
    found = masked_ms(rows, 131_072, on, small, seeks_from=1) + LAUNCH_MS
    assert found / ms - 1 == pytest.approx(off, abs=0.015)


@pytest.mark.parametrize(
    ("rows", "width", "on", "small", "ms", "times"),
    [
        (4, 32_768, H100, HOPPER, 0.215, 2.6),  # 42191: the same distribution, which a p of 0.9 cuts lower here
        (64, 32_768, B200, BLACKWELL, 0.243, 1.8),  # 40376
        (128, 32_768, B200, BLACKWELL, 0.260, 1.9),
        (512, 32_768, B200, BLACKWELL, 0.916, 1.8),
        (48, 32_768, H100, HOPPER, 0.182, 1.9),  # 33538, Gaussian logits (its 512 rows take 4 turns, 1,024 take 8: 132)
        (1024, 32_768, H100, HOPPER, 1.38, 1.8),
        (48, 131_072, H100, HOPPER, 1.09, 3.2),
        (1024, 131_072, H100, HOPPER, 13.691, 4.4),
    ],
)
def test_what_is_not_simulated(rows, width, on, small, ms, times):
    """Where what p asks for is not all among the likely that are gathered, the whole row is sought through, again and
    again, which takes so many times as long. An LLM's logits are taken not to be like that (docs/engines.md)."""
    assert (ms - LAUNCH_MS) / masked_ms(rows, width, on, small, seeks_from=1) == pytest.approx(times, abs=0.1)


def test_rows_take_turns():
    turns = [masked_ms(rows, VOCAB, seeks_from=8) for rows in (131, 132, 133)]
    assert turns[1] == pytest.approx(turns[0], rel=0.003)  # bytes of a row more
    assert turns[2] - turns[1] == pytest.approx(4.2 * VOCAB / 1.83e6, rel=0.003)
    assert masked_ms(7, VOCAB, seeks_from=8) == masked_ms(7, VOCAB)


def test_which_way_it_is_done_is_the_versions():
    assert host_costs("vllm-0.11").chooses("top-p") == {"sorts": True}
    assert host_costs("vllm-0.19").chooses("top-p") == {"sorts": True, "seeks_from": 8}
    assert host_costs("vllm-0.19").chooses("greedy") == host_costs("vllm-0.19").chooses("") == {}


def test_the_versions_part_where_their_kernels_do():
    """At 128 sequences the sort takes several times what seeking does; at 7 both sort."""
    assert itl_ms("top-p", "vllm-0.11", 128) - itl_ms("top-p", "vllm-0.19", 128) > 1.5
    assert itl_ms("top-p", "vllm-0.11", 7) == pytest.approx(itl_ms("top-p", "vllm-0.19", 7), rel=0.01)


def test_a_model_that_knows_but_the_sort_refuses():
    class Sorts(OracleModel[Config]):
        description = replace(Profiled.description, name="sorts")
        heeds = frozenset({"sorts"})

    with pytest.raises(UnsupportedOperation, match="seeks where to cut"):
        Sorts({}).declare([sampler(sorts=True, seeks_from=8)])


def test_the_host_does_less_where_the_device_chooses():
    costs = host_costs("vllm-0.11")
    assert costs.sampling("") == costs
    assert costs.sampling("greedy").host_sequence_ps == costs.sampling("top-p").host_sequence_ps == costs.host_alone_ps
    ideal = host_costs("ideal")
    assert ideal.sampling("top-p") == ideal


def test_a_profile_needs_a_bandwidth_for_it():
    refused = pytest.raises(UnsupportedOperation, match="choosing by top-p is in no profile")
    with refused:
        Profiled({"bundle": "nowhere"}).check_sampling(sampler(sorts=True))


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="sampling"):
        itl_ms("top-q")
