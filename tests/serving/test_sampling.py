"""Choosing tokens by top-p sorts the vocabulary on the device, and the host has less to do."""

from __future__ import annotations

from copy import deepcopy

import metronome
import pytest
from metronome.hwmodels.accelerator.counting import masking, sorting, work
from metronome.hwmodels.accelerator.profiled.model import Profiled
from metronome.hwmodels.catalog import device
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


def itl_ms(sampling):
    scenario = deepcopy(SCENARIO)
    scenario["instances"][0]["engine"] |= {"sampling": sampling} if sampling else {}
    return metronome.run(scenario)["median_itl_ms"]


def test_a_step_takes_the_sort_of_all_its_sequences_longer():
    """On every rank the whole vocabulary; what the host does is hidden behind the step before."""
    h100 = device("h100-sxm")
    sorted_s = 35 / (h100.chip.multiprocessors * h100.chip.clock_ghz * 1e9)  # cycles: its bytes would take less
    expected = 64 * VOCAB * (46 / (h100.memory_bandwidth * 0.9) + sorted_s) * 1000
    assert itl_ms("top-p") - itl_ms("greedy") == pytest.approx(expected, rel=0.1)


def test_bytes_of_the_sort():
    assert sorting(sampler(), (100,)) == 0
    assert sorting(sampler(sorts=True), (100,)) == 100 * VOCAB * 260
    assert sorting(sampler(sorts=True), (128,)) == 128 * VOCAB * 280  # each row for itself
    more = work(sampler(sorts=True), (100,))[1] - work(sampler(), (100,))[1]
    assert more == 100 * VOCAB * 260


@pytest.mark.parametrize(("rows", "ms"), [(64, 1.005), (128, 2.272), (512, 6.15)])
def test_cycles_of_the_sort(rows, ms):
    """As measured on a B200: 148 multiprocessors at 1.965 GHz."""
    template = Template(0, "sampler", "lm", {"width": 131_072, "dtype": "fp32", "sorts": True})
    assert masking(template, (rows,))[1] / (148 * 1.965e6) == pytest.approx(ms, rel=0.02)


def test_the_host_does_less_where_the_device_chooses():
    costs = host_costs("vllm-0.11")
    assert costs.sampling("") == costs
    assert costs.sampling("greedy").host_sequence_ps == costs.sampling("top-p").host_sequence_ps == costs.host_alone_ps
    ideal = host_costs("ideal")
    assert ideal.sampling("top-p") == ideal


def test_a_profile_needs_a_bandwidth_for_it():
    refused = pytest.raises(UnsupportedOperation, match="sorting for top-p is in no profile")
    with refused:
        Profiled({"bundle": "nowhere"}).check_sampling(sampler(sorts=True))


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="sampling"):
        itl_ms("top-q")
