"""Routers that know what each instance takes: their outlook is what happens, and they choose by it."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from types import SimpleNamespace

import metronome
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.paces import paces
from metronome.orchestrator.serving.interface import Role
from metronome.orchestrator.serving.looking_ahead import looking_ahead
from metronome.orchestrator.serving.pace import Line, Pace, Took, outlook
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.workload.request import Request
from metronome.orchestrator.workload.slo import Slo

from ..conftest import ROOT

MODEL = "meta-llama/Llama-3.1-8B"
ALONE = {
    "name": "alone",
    "workload": {
        "format": "synthetic",
        "num_requests": 1,
        "request_rate": 1,
        "input_tokens": {"distribution": "fixed", "mean": 3000},
        "output_tokens": {"distribution": "fixed", "mean": 200},
    },
    "cluster": {
        "nodes": [
            {"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}},
            {"name": "n1", "accelerators": {"type": "l40s", "count": 1}},
        ],
        "networks": [{"name": "net", "type": "nvlink4", "connects": ["n0.accelerators"]}],
    },
    "instances": [{"name": "a", "model": MODEL, "accelerators": "n1[0]", "engine": {"version": "ideal"}}],
}


def served(**instance):
    scenario = copy.deepcopy(ALONE)
    scenario["instances"][0].update(instance)
    return scenario


@pytest.mark.parametrize(
    ("instance", "tokens"),
    [
        ({}, (3000, 200)),
        ({}, (40, 1000)),
        ({}, (9000, 2)),
        ({"accelerators": "n0[0:2]", "tensor_parallel_size": 2}, (3000, 200)),
        ({"accelerators": "n0[0:2]", "pipeline_parallel_size": 2}, (3000, 200)),
        ({"model": "microsoft/Phi-mini-MoE-instruct", "accelerators": "n0[0]"}, (1000, 200)),
    ],
)
def test_the_outlook_of_a_request_alone_is_what_it_takes(instance, tokens):
    """Within 5 %: between the sizes that were asked about there are straight lines."""
    scenario = metronome.load(served(**instance))
    for name, length in zip(("input_tokens", "output_tokens"), tokens, strict=True):
        scenario = metronome.load(scenario.model_dump(), {f"workload.{name}.mean": length})
    with Simulation(scenario, ROOT) as simulation:
        (pace,) = paces(simulation.units, simulation.ports)
        request = next(simulation.workload)
        ahead = outlook(request, simulation.replicas[0], pace)
    found = metronome.run(scenario)
    assert ahead.latency_ps / 1e9 == pytest.approx(found["mean_e2el_ms"], rel=0.05)
    assert ahead.ttft_ps / 1e9 == pytest.approx(found["mean_ttft_ms"], rel=0.08)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True), st.integers(0, 2 * 10**6))
def test_a_line_goes_through_its_values_and_stays_between_them(places, place):
    places = sorted(places)
    line = Line(places, [Took(3 * at, at) for at in places])
    assert line.at(place).duration_ps == pytest.approx(3 * place, abs=1)
    assert all(line.at(at) == (3 * at, at) for at in places)


def pace(prompt_ps, step_ps, joules=1.0, seats=8, known=True):
    """So much a token of a prompt, so much a step of up to ``seats``."""
    line = Line([1, 2], [Took(prompt_ps, joules), Took(2 * prompt_ps, 2 * joules)])
    steps = Line([1, 8], [Took(step_ps, joules), Took(step_ps, joules)])
    return Pace(line, (16, 256), (steps, steps), seats, known)


def replica(number, load=(0, 0), queued=0, role=Role.BOTH, tokens=10**6):
    engine = SimpleNamespace(num_blocks=tokens, block_size=1)
    return SimpleNamespace(
        number=number, load=load, queued_tokens=queued, role=role, engine=engine, cached_tokens=lambda request: 0
    )


READER, WRITER = pace(prompt_ps=10, step_ps=1000), pace(prompt_ps=100, step_ps=100)
LONG_PROMPT, LONG_ANSWER = Request(0, 0, 1000, 2), Request(1, 0, 10, 500)


def test_long_prompts_go_where_they_are_read_fast_and_long_answers_where_they_are_written_fast():
    router = looking_ahead("predicted-latency", [READER, WRITER], {"": Slo()})
    both = [replica(0), replica(1)]
    assert router.choose(LONG_PROMPT, both).number == 0
    assert router.choose(LONG_ANSWER, both).number == 1


def test_what_waits_counts_and_whoever_has_no_room():
    alike = [READER, READER]
    router = looking_ahead("predicted-latency", alike, {"": Slo()})
    assert router.choose(LONG_PROMPT, [replica(0, queued=5000), replica(1)]).number == 1
    assert router.choose(LONG_PROMPT, [replica(0, load=(0, 12)), replica(1, load=(0, 2))]).number == 1
    assert router.choose(LONG_PROMPT, [replica(0, load=(0, 3), tokens=2100), replica(1, load=(0, 3))]).number == 1


def test_each_role_is_judged_by_its_part():
    prefill = outlook(LONG_PROMPT, replica(0, role=Role.PREFILL), READER)
    decode = outlook(LONG_PROMPT, replica(0, role=Role.DECODE), READER)
    assert (prefill.latency_ps, prefill.tpot_ps) == (10_000, 0)
    assert (decode.ttft_ps, decode.latency_ps) == (1000, 2000)


def test_least_energy_holds_to_what_is_promised():
    cheap_and_slow, dear_and_fast = pace(10, 10**9, joules=1), pace(10, 10**6, joules=50)
    both, slos = [replica(0), replica(1)], {"": Slo(), "chat": Slo(tpot_ms=0.5)}
    router = looking_ahead("least-energy", [cheap_and_slow, dear_and_fast], slos)
    assert router.choose(LONG_ANSWER, both).number == 0
    assert router.choose(Request(2, 0, 10, 500, slo_class="chat"), both).number == 1
    tight = looking_ahead("least-energy", [cheap_and_slow, dear_and_fast], {"": Slo(ttft_ms=1e-9)})
    assert tight.choose(LONG_ANSWER, both).number == 1, "where none is good the first to be done"


def test_least_energy_needs_energies():
    with pytest.raises(InputError, match="say no energies"):
        looking_ahead("least-energy", [pace(1, 1, known=False)], {"": Slo()})


def test_the_debugger_cannot_make_one_that_nobody_asked_for():
    from metronome.orchestrator.serving.router import make_router

    with pytest.raises(InputError, match="asked before a run"):
        make_router("predicted-latency", None)


def test_asking_ahead_changes_nothing_of_the_run(tmp_path):
    """With one instance there is nothing to choose: the same figures, and the same counts of answers."""
    results = []
    for policy in ("least-loaded", "predicted-latency"):
        found = metronome.run(served(), overrides={"router.policy": policy}, out=tmp_path / policy)
        own = found["metronome"]
        results.append((found["mean_e2el_ms"], own["components"], own["energy_j"]))
        results[-1][1]["n1.accelerators"].pop("wall_s", None)
    assert results[0] == results[1]


def test_recorded_it_replays_and_is_gone_on_with(cli, tmp_path):
    base = ("mixed-fleet", "--set", "workload.classes.0.workload.num_requests=4")
    small = (
        *base,
        "--set",
        "workload.classes.1.workload.num_requests=6",
        "--set",
        "workload.classes.2.workload.num_requests=2",
    )
    done = cli("run", *small, "--record", "-o", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert cli("replay", tmp_path / "r").exit_code == 0


PROGRAM, *_ = re.findall(r"```python\n(.*?)```", PAGE := (ROOT / "docs/power.md").read_text(), re.S)


def test_the_table_of_the_docs_is_what_its_program_prints():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 3 and set(done.stdout.splitlines()) <= set(PAGE.splitlines()), done.stdout
