"""The same bytes wherever and however a component runs."""

from __future__ import annotations

import json

import pytest
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource


def run(data, folder, fold=True):
    """Runs a scenario; returns its three files' content, result.json less wall times, and the simulation."""
    with Simulation(validate(data, "test"), folder, LiveSource(folder / "logs"), fold=fold) as simulation:
        simulation.run()
        write(simulation, folder, 0.0, Ending())
    return files(folder), simulation


def files(folder):
    result = json.loads((folder / "result.json").read_text())
    own = result["metronome"]
    del own["wall_s"], own["startup_s"], own["events"]
    for component in own["components"].values():
        del component["wall_s"]
    return result, (folder / "requests.csv").read_text(), (folder / "timeseries.csv").read_text()


def step_all(monkeypatch, kind):
    """Every operation on components of that kind shares the clock, whether it has to or not."""
    monkeypatch.setattr(
        "metronome.orchestrator.coupling.ports.stepped",
        lambda description, uses, resources: {t for t, _ in uses} if description.kind == kind else set(),
    )


@pytest.fixture
def exclusive(small):
    """One instance alone: nothing is shared."""
    small["instances"] = small["instances"][:1]
    return small


def placed(data, names, **options):
    return {**data, "components": {name: {"run": "process", **options} for name in names}}


ALL = ("n0.accelerators", "n0.dram", "nvlink0")


def test_two_runs_are_equal_and_another_seed_differs(small, tmp_path):
    first, _ = run(small, tmp_path / "a")
    again, _ = run(small, tmp_path / "b")
    other, _ = run({**small, "seed": 4}, tmp_path / "c")
    assert first == again
    assert other[1] != first[1]


@pytest.mark.parametrize("names", [ALL, ALL[:1], ALL[1:2]], ids=["all", "accelerators", "shared memory"])
def test_in_process_and_in_processes_are_equal(small, tmp_path, names):
    inside, _ = run(small, tmp_path / "in")
    outside, simulation = run(placed(small, names), tmp_path / "out")
    assert all(
        simulation.specs[i].options.run == ("process" if s.name in names else "inprocess")
        for i, s in enumerate(simulation.specs)
    )
    assert (tmp_path / "out" / "logs").is_dir()
    assert inside == outside


def test_four_component_processes(small, tmp_path):
    """Two nodes, four components, each in a process of its own."""
    node = small["cluster"]["nodes"][0]
    bare = {"name": "n0", "accelerators": {**node["accelerators"], "count": 2}}
    network = small["cluster"]["networks"][0]
    small["cluster"] = {
        "nodes": [bare, {**bare, "name": "n1"}],
        "networks": [network, {**network, "name": "nvlink1", "connects": ["n1.accelerators"]}],
    }
    small["instances"][1]["accelerators"] = "n1[0:2]"
    inside, _ = run(small, tmp_path / "in")
    outside, _ = run(placed(small, ["n0.accelerators", "n1.accelerators", "nvlink0", "nvlink1"]), tmp_path / "out")
    assert inside == outside


def test_a_shared_component_with_a_clock_is_stepped_an_exclusive_one_asked(small, exclusive, tmp_path):
    _, shared = run(
        {
            **small,
            "instances": [*small["instances"], {**small["instances"][0], "name": "b", "accelerators": "n0[2:4]"}],
        },
        tmp_path / "a",
    )
    assert shared.ports.modes("n0.dram") == "stepped"
    _, alone = run(exclusive, tmp_path / "b")
    assert alone.ports.modes("n0.dram") == "asked"


def test_stepped_and_asked_agree_where_nothing_is_contended(exclusive, tmp_path, monkeypatch):
    asked, _ = run(exclusive, tmp_path / "asked")
    step_all(monkeypatch, "memory")
    stepped, simulation = run(exclusive, tmp_path / "stepped")
    assert simulation.ports.modes("n0.dram") == "stepped"
    assert asked[1:] == stepped[1:]
    for result, _, _ in (asked, stepped):  # a stepped component has no memory of answers
        del result["metronome"]["components"]["n0.dram"]["cached"]
    assert asked[0] == stepped[0]


def test_contention_makes_it_later(small, exclusive, tmp_path):
    """Two instances that share a slow memory against each alone."""
    dram = {"bandwidth_gb_s": 0.001, "latency_ns": 1_000_000}
    small["cluster"]["nodes"][0]["memory"]["dram"] = dram
    twin = {**small["instances"][0], "name": "b", "accelerators": "n0[2:4]"}
    shared, _ = run(
        {**small, "instances": [small["instances"][0], twin], "router": {"policy": "round-robin"}}, tmp_path / "two"
    )
    node = small["cluster"]["nodes"][0]
    apart = {
        **small,
        "cluster": {
            "nodes": [node, {**node, "name": "n1"}],
            "networks": [{**small["cluster"]["networks"][0], "connects": ["n0.accelerators", "n1.accelerators"]}],
        },
        "instances": [small["instances"][0], {**twin, "accelerators": "n1[2:4]"}],
        "router": {"policy": "round-robin"},
    }
    alone, _ = run(apart, tmp_path / "apart")
    assert shared[0]["mean_e2el_ms"] > alone[0]["mean_e2el_ms"] * 1.02


@pytest.mark.parametrize("model", ["alpha-beta", "tests.coupling.fakes:SteppedNetwork"])
def test_folded_and_unfolded_are_equal(small, tmp_path, model):
    small["components"] = {"nvlink0": {"model": model}}
    small["workload"]["num_requests"] = 12
    folded, with_spans = run(small, tmp_path / "folded")
    unfolded, one_by_one = run(small, tmp_path / "unfolded", fold=False)
    assert folded[1:] == unfolded[1:]
    for result, _, _ in (folded, unfolded):  # unfolded asks for every layer
        for component in result["metronome"]["components"].values():
            del component["calls"], component["cached"], component["provenance"]
    assert folded[0] == unfolded[0]
    assert one_by_one.kernel.events > 2 * with_spans.kernel.events


@pytest.mark.parametrize("name", ["SteppedNetwork", "ForwardOnlyNetwork"])
@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_a_stepped_network_agrees_with_the_asked_one(exclusive, tmp_path, name, where):
    """Its transfers never overlap here, so a clock must change nothing."""
    exclusive["workload"]["num_requests"] = 8
    asked, _ = run(exclusive, tmp_path / "asked")
    exclusive["components"] = {"nvlink0": {"model": f"tests.coupling.fakes:{name}", "run": where}}
    stepped, simulation = run(exclusive, tmp_path / "stepped")
    assert simulation.ports.modes("nvlink0") == "stepped"
    assert asked[1:] == stepped[1:]


@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_a_batch_component_is_asked(exclusive, tmp_path, where):
    plain, _ = run(exclusive, tmp_path / "plain")
    options = {"model": "tests.coupling.fakes:BatchAccelerator", "device": "h100-sxm", "run": where}
    batch, _ = run({**exclusive, "components": {"n0.accelerators": options}}, tmp_path / "batch")
    assert plain[1:] == batch[1:]


def test_forgetting_answers_changes_counts_alike_in_every_placement(small, tmp_path, monkeypatch):
    monkeypatch.setattr("metronome.orchestrator.coupling.port.CACHE_ENTRIES", 50)
    inside, _ = run(small, tmp_path / "in")
    outside, _ = run(placed(small, ALL), tmp_path / "out")
    assert inside == outside
