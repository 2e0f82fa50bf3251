"""vLLM on TPUs: steps padded to compiled sizes, and what is said not to be known."""

from __future__ import annotations

from copy import deepcopy

import pytest
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.serving.batch import Batch
from metronome.orchestrator.serving.host_costs import host_costs
from metronome.orchestrator.serving.host_costs.tpu import on_tpus, sequence_sizes, token_sizes
from metronome.orchestrator.simulation import Simulation

from ..small import SMALL


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (16,)), (16, (16,)), (17, (16, 32)), (1024, (16, 32, 64, 128, 256, 512, 1024)), (600, token_sizes(1024))],
)
def test_tokens_are_doubled_until_the_budget_is_in(most, sizes):
    """`[16, 32, 64, 128, 256, 512, 1024, 2048]`, says a comment of tpu_runner.py."""
    assert token_sizes(most) == sizes


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, (8,)), (8, (8,)), (12, (8, 12)), (48, (8, 16, 32, 48)), (256, (8, 16, 32, 64, 128, 256))]
)
def test_sequences_are_doubled_up_to_the_most(most, sizes):
    assert sequence_sizes(most) == sizes


@pytest.mark.parametrize(
    ("batch", "tokens", "rows"),
    [
        (Batch((), 1, 100, 100, 100), 16, 8),
        (Batch((), 17, 1700, 100, 100), 32, 32),
        (Batch((500, 0), 3, 300, 100, 100), 512, 8),
        (Batch((500, 0, 600, 0), 3, 300, 100, 100), 2048, 8),
    ],
)
def test_every_step_is_a_program_of_the_next_sizes(batch, tokens, rows):
    full = on_tpus(host_costs("vllm-0.19"), 2048, 256).padded(batch)
    assert (full.tokens, full.sequences, full.asked) == (tokens, rows, batch.sequences)
    assert full[:5] == batch[:5]  # attention has nothing more
    if not batch.prompts:
        assert full.later(3) == batch.later(3)._replace(padding=full.padding, rows=rows)


def test_ranks_that_step_together_are_padded_to_the_largest():
    costs = on_tpus(host_costs("vllm-0.19"), 2048, 256)
    full = costs.together([Batch((), 1, 9, 9, 9), Batch((600, 0), 0, 0, 0, 0)])
    assert [(one.tokens, one.sequences) for one in full] == [(1024, 8), (1024, 8)]


@pytest.mark.parametrize("version", ["vllm-0.11", "vllm-0.19"])
def test_a_step_with_prompts_is_one_program_like_any_other(version):
    """Of what it takes with GPUs the host's measured part is left, and no first step is slow."""
    cold, costs = host_costs(version, cold=True), on_tpus(host_costs(version, cold=True), 512, 8)
    assert (costs.prompt_step_ps, costs.warm_up_ps) == (cold.prompt_alone_ps, 0)
    assert (costs.step_gap_ps, costs.host_step_ps) == (cold.step_gap_ps, cold.host_step_ps)


def simulation(tmp_path, kind="tpu-v6e", engine=None, **more):
    data = deepcopy(SMALL) | more
    data["cluster"]["nodes"][0]["accelerators"]["type"] = kind
    data["instances"] = data["instances"][:1]
    data["instances"][0]["engine"] = {"max_model_len": 4096, **(engine or {})}
    return Simulation(Scenario.model_validate(data), tmp_path)


MINE = {"tflops": {"bf16": 400}, "memory_bandwidth_gb_s": 2000, "memory_gib": 64}


@pytest.mark.parametrize(
    ("kind", "engine", "more", "said"),
    [
        ("tpu-v6e", {}, {}, ["what vllm-0.19's host takes on tpu-v6e is not known; step_gap_us, host_step_us"]),
        (
            "tpu-v6e",
            {"cold_start": True, "cudagraph_capture_sizes": [8]},
            {},
            ["is not known", "engine.cudagraph_capture_sizes has no effect", "engine.cold_start has no effect"],
        ),
        ("tpu-v6e", {"version": "sglang-0.5.5"}, {}, ["sglang-0.5.5's graphs and host work are those with GPUs"]),
        ("tpu-v6e", {"version": "ideal"}, {}, []),
        ("mine", {}, {"devices": {"mine": {**MINE, "platform": "tpu"}}}, ["host takes on mine is not known"]),
        ("mine", {}, {"devices": {"mine": MINE}}, []),
        ("h100-sxm", {"cold_start": True}, {}, []),
    ],
)
def test_what_is_not_known_is_said_by_name(tmp_path, kind, engine, more, said):
    with simulation(tmp_path, kind, engine, **more) as made:
        found = [text for text in made.warnings if "TPU" in text or "host takes on" in text or "no effect on" in text]
        compiled = made.loops[0].graph_sizes[:2] == (16, 32)
    assert len(found) == len(said) and all(part in text for part, text in zip(said, found, strict=True)), found
    assert compiled == any("is not known" in text for text in found)
