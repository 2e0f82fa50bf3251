"""The bundled scenarios of every kind of parallelism: folding changes nothing, and each does what it is for."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from itertools import pairwise

import pytest
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

NAMES = [
    "tensor-parallel",
    "pipeline-parallel",
    "tensor-pipeline-parallel",
    "data-parallel",
    "expert-parallel",
    "prefill-decode-two-nodes",
    "attention-ffn",
    "heterogeneous",
]


def run(name, folder, *overrides, fold=True, requests=10):
    scenario, base = load(name, (f"workload.num_requests={requests}", *overrides))
    with Simulation(scenario, base, fold=fold) as simulation:
        simulation.run()
        write(simulation, folder, 0.0, Ending())
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    return rows, json.loads((folder / "result.json").read_text()), simulation


@pytest.mark.parametrize("name", NAMES)
def test_folded_and_unfolded_are_equal(name, tmp_path):
    folded = run(name, tmp_path / "a", requests=3)
    unfolded = run(name, tmp_path / "b", requests=3, fold=False)
    assert folded[0] == unfolded[0]
    assert folded[1]["duration"] == unfolded[1]["duration"]
    assert folded[2].kernel.events <= unfolded[2].kernel.events


@pytest.mark.parametrize("name", NAMES)
def test_every_block_comes_back_and_every_token_comes_once(name, tmp_path):
    rows, result, simulation = run(name, tmp_path)
    assert len(rows) == result["completed"] == 10
    produced = sum(sum(log.output_tokens) for log in simulation.recorder.logs)
    thrown = simulation.connector.transfers if simulation.connector else 0  # by the proxy: what prefill has sampled
    assert produced - thrown == sum(int(row["output"]) for row in rows)
    for engine in (replica.engine for replica in simulation.replicas):
        assert engine.used_blocks == 0


@pytest.mark.parametrize("name", ["tensor-parallel", "expert-parallel", "tensor-pipeline-parallel"])
def test_a_fabric_asked_and_in_lock_step_agree_exactly(name, tmp_path, monkeypatch):
    """Nobody shares its links here, so sharing the clock must change nothing."""
    asked = run(name, tmp_path / "asked", requests=4)
    monkeypatch.setattr(
        "metronome.orchestrator.coupling.ports.stepped",
        lambda description, uses, resources: {t for t, _ in uses} if description.kind == "network" else set(),
    )
    stepped = run(name, tmp_path / "stepped", requests=4)
    network = stepped[2].scenario.cluster.networks[0].name
    assert stepped[2].ports.modes(network) == "stepped"
    assert asked[0] == stepped[0]
    assert asked[1]["duration"] == stepped[1]["duration"]
    links = [r["metronome"]["components"][network]["statistics"]["links"] for _, r, _ in (asked, stepped)]
    assert [row["link"] for row in links[0]] == [row["link"] for row in links[1]]


@pytest.mark.parametrize("name", ["expert-parallel", "attention-ffn", "tensor-parallel"])
def test_dense_layers_and_shared_experts_in_every_layout(name, tmp_path):
    """Folding changes nothing here either, and what every token takes takes time."""
    glm = json.loads((files("metronome.hwmodels.catalog") / "models/Qwen/Qwen3-30B-A3B-Instruct-2507.json").read_text())
    times = []
    for shared in (0, 2):
        glm |= {
            "model_type": "glm4_moe",
            "use_qk_norm": True,
            "n_routed_experts": glm["num_experts"],
            "first_k_dense_replace": 3,
            "n_shared_experts": shared,
        }
        (tmp_path / "glm.json").write_text(json.dumps(glm))
        model = f"instances.0.model={tmp_path / 'glm.json'}"
        folded = run(name, tmp_path / "a", model, requests=3)
        unfolded = run(name, tmp_path / "b", model, requests=3, fold=False)
        assert folded[0] == unfolded[0]
        times.append(folded[1]["duration"])
    assert times[0] < times[1]


def test_stages_work_at_the_same_time(tmp_path):
    """Enough requests that come together: four stages are much faster than one after another would be."""
    flood = (
        "workload.request_rate=1000",
        "workload.output_tokens.mean=60",
        "instances.0.engine.async_scheduling=false",  # else every running request is in every batch
    )
    _, four, simulation = run("pipeline-parallel", tmp_path / "4", *flood, requests=60)
    busy = [len(log.end_ps) for log in simulation.recorder.logs]
    assert len(busy) == 4 and min(busy) > 0.3 * max(busy)
    _, one, _ = run(
        "pipeline-parallel",
        tmp_path / "1",
        *flood,
        "instances.0.pipeline_parallel_size=1",
        "instances.0.tensor_parallel_size=1",
        'instances.0.accelerators="n0[0]"',
        "cluster.nodes.0.accelerators.memory_gib=192",
        requests=60,
    )
    assert four["output_throughput"] > 1.2 * one["output_throughput"]


def test_members_of_an_expert_parallel_group_step_together(tmp_path):
    _, _, simulation = run("expert-parallel", tmp_path, requests=40)
    ends = [log.end_ps for log in simulation.recorder.logs]
    timeline = sorted(set().union(*ends))  # whoever has nothing to do computes a dummy batch and logs nothing
    shortest = min(b - a for a, b in pairwise(timeline))
    assert shortest > 10**9, "a member stepped between two steps of another"


def test_data_parallel_ranks_of_a_dense_model_do_not_wait_for_one_another(tmp_path):
    _, _, simulation = run("data-parallel", tmp_path, requests=40)
    ends = [set(log.end_ps) for log in simulation.recorder.logs]
    assert len(set().union(*ends)) > 2 * max(len(end) for end in ends)


def test_two_micro_batches_keep_both_sides_of_attention_and_experts_busy(tmp_path):
    flood = ("workload.request_rate=1000", "workload.output_tokens.mean=30")
    _, two, _ = run("attention-ffn", tmp_path / "2", *flood, requests=24)
    _, one, _ = run("attention-ffn", tmp_path / "1", *flood, "instances.0.ffn.micro_batches=1", requests=24)
    assert two["output_throughput"] != one["output_throughput"]


def test_an_expert_parallel_network_in_a_process_of_its_own_changes_no_byte(tmp_path):
    inside = run("expert-parallel", tmp_path / "in")
    outside = run("expert-parallel", tmp_path / "out", "components.nvlink.run=process")
    assert inside[0] == outside[0]
    links = [result["metronome"]["components"]["nvlink"]["statistics"] for _, result, _ in (inside, outside)]
    assert links[0] == links[1] and links[0]["links"][0]["users"]
