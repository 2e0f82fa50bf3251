"""Decode attention in memory as part of a plan."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from metronome.orchestrator.api import run
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation

from ..conftest import ROOT


@pytest.fixture
def with_pim(small):
    small["cluster"]["nodes"][0]["memory"]["pim"] = {"devices_per_accelerator": 16, "size_gib": 1}
    small["instances"] = small["instances"][:1]
    small["instances"][0]["decode_attention"] = "pim"
    del small["instances"][0]["engine"]["num_gpu_blocks_override"]
    return small


def test_k_and_v_are_in_its_memory(with_pim, tmp_path):
    with Simulation(validate(with_pim, "test"), tmp_path) as simulation:
        # 16 GiB beside each of two accelerators that share the heads; 64 KiB a token on each, 16 tokens a block.
        assert simulation.units[0].blocks == 16 * 2**30 // (2**16 * 16)


def test_the_accelerator_is_left_with_the_prompts(with_pim, tmp_path):
    with Simulation(validate(with_pim, "test"), tmp_path) as simulation:
        simulation.run()
        steps = simulation.recorder.steps
        assert simulation.ports.usage("n0.pim").calls == steps
        prompts = sum(1 for log in simulation.recorder.logs for tokens in log.prompt_tokens if tokens)
        # Every step has as many kinds of operation on the accelerator, attention in those with prompts alone.
        calls = simulation.ports.usage("n0.accelerators").calls
        assert (calls - prompts) % steps == 0 and prompts < steps


def test_folded_and_unfolded_agree(with_pim, tmp_path):
    ends = []
    for fold in (True, False):
        with Simulation(validate(with_pim, "test"), tmp_path, fold=fold) as simulation:
            simulation.run()
            ends.append([s.end_ps for s in simulation.recorder.done])
    assert ends[0] == ends[1]


def ends(scenario, folder):
    with Simulation(validate(scenario, "test"), folder) as simulation:
        simulation.run()
        return [(s.request.id, s.first_token_ps, s.end_ps) for s in simulation.recorder.done]


def test_devices_that_nobody_uses_change_nothing(with_pim, tmp_path):
    """The accelerator alone, beside PIM devices and without them."""
    with_pim["instances"][0]["decode_attention"] = "accelerator"
    beside = ends(with_pim, tmp_path)
    del with_pim["cluster"]["nodes"][0]["memory"]["pim"]
    assert ends(with_pim, tmp_path) == beside


def test_devices_are_their_accelerators_own(with_pim, tmp_path):
    """Two instances in one node, each with half of the requests: each request as if the other instance were a node away."""
    with_pim["router"] = {"policy": "round-robin"}
    with_pim["instances"].append({**with_pim["instances"][0], "name": "b", "accelerators": "n0[2:4]"})
    node = with_pim["cluster"]["nodes"][0]
    del node["memory"]["dram"]  # which the two would share
    together = ends(with_pim, tmp_path)
    node["accelerators"]["count"] = 2
    with_pim["cluster"]["nodes"].append({**node, "name": "n1"})
    with_pim["cluster"]["networks"].append(
        {**with_pim["cluster"]["networks"][0], "name": "n", "connects": ["n1.accelerators"]}
    )
    with_pim["instances"][1]["accelerators"] = "n1[0:2]"
    assert ends(with_pim, tmp_path) == together


def test_itl_grows_with_the_contexts(with_pim, tmp_path):
    itl = []
    for tokens in (200, 1000, 4000):
        with_pim["workload"] |= {
            "num_requests": 4,
            "input_tokens": {"mean": tokens, "sigma": 0},
            "output_tokens": {"mean": 20, "sigma": 0},
        }
        with_pim["workload"].pop("shared_prefix", None)
        itl.append(max(end - first for _, first, end in ends(with_pim, tmp_path)))
    assert itl == sorted(set(itl))


SHORT = {"workload.num_requests": 40, "workload.input_tokens.mean": 200, "workload.request_rate": 4}


@pytest.mark.parametrize("change", [{}, SHORT], ids=["long contexts", "short contexts"])
def test_half_batches_take_turns_where_that_is_faster(change):
    """Where no step is faster for it the run is the same."""
    whole, turns = (
        run("pim-attention", overrides={**change, "instances.0.sub_batch_interleaving": way}) for way in (False, True)
    )
    same = ("duration", "mean_ttft_ms", "mean_tpot_ms", "p99_itl_ms", "output_throughput")
    if "workload.input_tokens.mean" in change:
        assert [turns[key] for key in same] == [whole[key] for key in same]
    else:
        assert turns["mean_tpot_ms"] < 0.95 * whole["mean_tpot_ms"] and turns["duration"] < whole["duration"]


PAGE = (ROOT / "docs/pim.md").read_text()
TABLE, COMMANDS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_table_of_the_docs_is_what_its_program_prints():
    printed = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True).stdout
    assert len(printed.splitlines()) == 5 and set(printed.splitlines()) <= set(PAGE.splitlines()), printed


def test_the_program_of_the_docs_writes_commands(tmp_path):
    subprocess.run([sys.executable, "-c", COMMANDS], cwd=tmp_path, check=True)
    assert len((tmp_path / "commands.txt").read_text().splitlines()) == 2 * (256 + 2 * 8)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s["cluster"]["nodes"][0]["memory"].pop("pim"), "node n0 has no memory.pim"),
        (
            lambda s: s["instances"].__setitem__(
                slice(None),
                [
                    {**s["instances"][0], "role": "prefill", "accelerators": "n0[0:2]"},
                    {**s["instances"][0], "name": "b", "role": "decode", "accelerators": "n0[2:4]"},
                ],
            ),
            "goes with role both",
        ),
        (
            lambda s: s["instances"].append({**s["instances"][0], "name": "b"}),
            r"n0\[0\] already serves instance 'a'",
        ),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(size_gib=0.00001),
            r"cluster.nodes.0.memory.pim.size_gib = 1e-05: too small: K and V of instances.0 take 0.0009766 GiB at least, and "
            "the 16 PIM devices beside each accelerator of node n0 have 0.00016 GiB",
        ),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(size_gib=1e300),
            "size_gib.*less than or equal to 1000000000",
        ),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"].update(dram={"bandwidth_gb_s": 100, "size_gib": 1e300}),
            "size_gib.*less than or equal to 1000000000",
        ),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(devices_per_accelerator=0),
            "greater than or equal to 1",
        ),
        (lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(part="hbm3"), "did you mean 'hbm3-pim'"),
        (
            lambda s: (
                s["cluster"]["nodes"][0]["memory"]["pim"].pop("size_gib"),
                s.update(components={"n0.pim": {"part": "hbm3-pim"}}),
            ),
            "size_gib.*needed where components.n0.pim names the part",
        ),
    ],
)
def test_what_cannot_be_is_refused(with_pim, tmp_path, change, why):
    change(with_pim)
    with pytest.raises(InputError, match=why), Simulation(validate(with_pim, "test"), tmp_path):
        pass
