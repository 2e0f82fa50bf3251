"""The short form of `make chaos`: one run of each kind of component, and what the wrapper does."""

from __future__ import annotations

import signal

import pytest
from metronome.adapters.chaos import chaotic
from metronome.adapters.conformance.report import run_checks
from metronome.adapters.conformance.sessions import local
from metronome.hwmodels.interface import MAX_PS, ConfigError, LateOperation, Operation, Template
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.orchestrator.scenario.loading import bundled

from .__main__ import disturbed
from .disturb import alone, drawn, in_processes
from .remains import remains
from .undisturbed import run

#: Seeds whose blows are struck at each kind of component, kills and freezes.
SHORT = {"pim-attention": range(2), "shared-uplink": range(1), "prefill-decode": range(1)}


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in SHORT.items() for seed in seeds])
def test_a_disturbed_run_ends_as_if_undisturbed(name, seed):
    outcome = disturbed(name, seed, 12, {})  # who is struck after the last question need not recover
    assert outcome.problem == "", outcome


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_scenario_ends_alike_with_its_components_in_processes(name):
    scenario, _ = in_processes(name, 5, 20)
    assert run(scenario).figures == run(alone(scenario)).figures


def test_blows_are_drawn_from_their_seed():
    assert drawn(3, 1000, 4) == drawn(3, 1000, 4)
    blows = [drawn(seed, 1000, 4) for seed in range(100)]
    assert {blow.rank for blow in blows} == {0, 1, 2, 3}
    assert {blow.number for blow in blows} == {signal.SIGKILL, signal.SIGSTOP}
    assert max(blow.event for blow in blows) > 900 and min(blow.event for blow in blows) < 100
    assert remains() == []


# The wrapper ------------------------------------------------------------------------------------------

CONFIG = {"bandwidth_gb_s": 1, "energy_pj_per_bit": 1}


def memory(**chaos):
    made = chaotic(BandwidthLatency)({**CONFIG, "chaos": chaos}, 1)
    made.declare([Template(0, "read", "x")])
    return made


def ask(component, number, count=2):
    return component.advance(MAX_PS, [Operation(0, (100,), 10 * number + i) for i in range(count)], False)


def test_without_chaos_it_is_the_model_itself():
    assert not [
        result.problem for result in run_checks(lambda: local(chaotic(BandwidthLatency), CONFIG), 30) if result.problem
    ]


@pytest.mark.parametrize(("kind", "check"), [("drop", "completes_everything"), ("duplicate", "completes_everything")])
def test_conformance_catches_it(kind, check):
    found = run_checks(lambda: local(chaotic(BandwidthLatency), {**CONFIG, "chaos": {kind: 1.0}}), 30)
    assert check in {result.check for result in found if result.problem}


def test_each_kind_does_what_it_says():
    plain = ask(memory(), 0)
    assert ask(memory(drop=[1]), 0).completions == plain.completions[:1]
    assert ask(memory(duplicate=[1]), 0).completions == (*plain.completions, plain.completions[-1])
    garbled = [ask(memory(garbage=[1]), 0), *_second(memory(garbage=[2])), *_third(memory(garbage=[3]))]
    wrong = [answer.completions[-1] for answer in garbled]
    assert wrong[0].finish_ps < wrong[0].start_ps and wrong[1].op_id > 10**9 and wrong[2].energy_pj == 2**62
    with pytest.raises(LateOperation):
        ask(memory(late=[1]), 0)


def _second(component):
    component.advance(0, [])
    return [ask(component, 0)]


def _third(component):
    component.advance(0, [])
    return _second(component)


def test_what_cannot_happen_at_its_message_happens_at_the_next():
    component = memory(drop=[1])
    assert component.advance(0, []).completions == ()
    assert len(ask(component, 0).completions) == 1
    assert len(ask(memory(drop=[5]), 0).completions) == 2


def test_rates_are_drawn_from_the_seed_and_the_life(monkeypatch):
    def late(seed):
        component, found = memory(late=0.2, seed=seed), []
        for number in range(50):
            try:
                component.advance(0, [Operation(0, (1,), number)])
            except LateOperation:
                found.append(number)
        return found

    once = late(1)
    assert once == late(1) != late(2) and 2 < len(once) < 25
    monkeypatch.setenv("METRONOME_LIFE", "1")
    assert late(1) != once


def test_what_ends_a_process_needs_one(monkeypatch):
    monkeypatch.delenv("METRONOME_LIFE", raising=False)
    for kind in ("crash", "hang"):
        with pytest.raises(ConfigError, match="needs a process of its own"):
            memory(**{kind: 0.5})
