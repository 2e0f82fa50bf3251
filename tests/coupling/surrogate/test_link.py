"""A component behind a surrogate: what is asked, what is kept, what is refused."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from metronome.hwmodels.base import Config, Estimate, OracleModel
from metronome.hwmodels.interface import (
    MAX_PS,
    ComponentError,
    Description,
    Operation,
    Provenance,
    Template,
    TimePolicy,
)
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.coupling.surrogate import store
from metronome.orchestrator.coupling.surrogate.link import SurrogateLink
from metronome.orchestrator.errors import ComponentFailure, InputError, SurrogateWarning
from metronome.orchestrator.scenario.components import ComponentOptions, SurrogateOptions

GEMM = Template(0, "gemm", "qkv_proj", {"n": 64, "k": 64, "dtype": "bf16"})
ATTENTION = Template(
    1, "attention", "attention", {"heads": 8, "kv_heads": 8, "head_size": 64, "dtype": "bf16", "kv_dtype": "bf16"}
)


class Nothing(Config):
    pass


class Slow(OracleModel[Nothing]):
    """Affine in everything; counts what it is asked."""

    description = Description(
        "slow", "accelerator", "1", TimePolicy.ORACLE, frozenset({"gemm", "attention"}), max_batch_ops=3
    )
    asked = 0

    def estimate(self, template, values):
        type(self).asked += 1
        if template.kind == "gemm":
            return Estimate(10**6 + 1000 * values[0], Provenance.MODELLED, 7)
        prompts = sum(new * (cached + new) for new, cached in zip(values[4::2], values[5::2], strict=True))
        return Estimate(self.attention(values, prompts), Provenance.MODELLED)

    def attention(self, values, prompts):
        return 1000 * (values[1] + prompts + 1)


class Overlapping(Slow):
    """Decodes and prompts at once: not the sum of the two."""

    def attention(self, values, prompts):
        return 1000 * max(values[1], prompts) + 1000


class Skewed(Slow):
    """The longest context decides."""

    def attention(self, values, prompts):
        return 1000 * (values[0] * values[2] + prompts + 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path))
    Slow.asked = Overlapping.asked = Skewed.asked = 0


def surrogate(model=Slow, identity="slow", **options):
    link = SurrogateLink(LocalLink("n0.accelerators", lambda: model({}, 0)), SurrogateOptions(**options), identity)
    link.declare([GEMM, ATTENTION])
    return link


def ask(link, template, *values):
    answer = link.advance(MAX_PS, [Operation(template.id, v, i, 5) for i, v in enumerate(values)], False)
    return [done.finish_ps - done.start_ps for done in answer.completions]


def test_most_questions_are_not_asked():
    link = surrogate()
    answers = ask(link, GEMM, *((m,) for m in range(1, 2000)))
    assert answers == [10**6 + 1000 * m for m in range(1, 2000)]
    report = link.statistics(())["surrogate"]
    assert report["calls"] == Slow.asked == report["wall_calls"] < 150
    assert report["operations"] == 1999
    assert report["calls_saved"] == 1999 - report["calls"]
    assert report["checked_error"] <= 0.01
    assert report["audited"] > 30
    assert report["audited_worst_error"] == 0


def test_a_second_run_asks_nothing_and_says_the_same():
    first = surrogate()
    answers = ask(first, GEMM, *((m,) for m in range(1, 500)))
    asked = Slow.asked
    second = surrogate()
    assert ask(second, GEMM, *((m,) for m in reversed(range(1, 500)))) == answers[::-1]
    assert Slow.asked == asked
    a, b = (link.statistics(())["surrogate"] for link in (first, second))
    assert b["wall_calls"] == 0
    assert {**a, "wall_calls": 0} == b


def test_another_configuration_shares_nothing():
    ask(surrogate(), GEMM, (100,))
    asked = Slow.asked
    ask(surrogate(identity="other"), GEMM, (100,))
    assert Slow.asked == 2 * asked


def _other_run(folder):
    import os

    os.environ["METRONOME_CACHE"] = folder
    return ask(surrogate(), GEMM, *((m,) for m in range(1, 800)))


def test_runs_at_once_do_not_disturb_each_other(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        results = pool.map(_other_run, [str(tmp_path)] * 4)
    assert results == [[10**6 + 1000 * m for m in range(1, 800)]] * 4


def test_attention_is_the_sum_of_its_parts_where_that_was_asked():
    link = surrogate()
    mixed = (20, 20 * 777, 1500, 40, 300, 12, 80, 0)
    assert ask(link, ATTENTION, mixed) == pytest.approx([Slow().attention(mixed, 300 * 312 + 80 * 80)], rel=0.02)
    assert link.statistics(())["surrogate"]["not_additive"] == []


@pytest.mark.parametrize(("model", "broken"), [(Overlapping, "sum"), (Skewed, "spread")])
def test_where_it_is_not_the_operation_itself_is_asked(model, broken):
    link = surrogate(model, identity=model.__name__)
    mixed = (20, 20 * 777, 1500, 40, 300, 12, 80, 0)
    assert ask(link, ATTENTION, mixed) == [model().attention(mixed, 300 * 312 + 80 * 80)]
    assert link.statistics(())["surrogate"]["not_additive"] == [f"attention: {broken}"]


def test_a_spent_budget_stops_the_run_and_keeps_the_answers():
    link = surrogate(budget="10 calls")
    with pytest.raises(ComponentFailure, match=r"more than its budget of 10 calls to keep 1.00% for qkv_proj.*kept"):
        ask(link, GEMM, *((m,) for m in range(1, 500)))
    assert 0 < Slow.asked <= 10
    asked = Slow.asked
    ask(surrogate(), GEMM, *((m,) for m in range(1, 5)))
    assert Slow.asked <= asked + 4


def test_no_time_is_no_answer():
    class Broken(Slow):
        def estimate(self, template, values):
            return Estimate(0, Provenance.MODELLED)

    with pytest.raises(ComponentFailure, match=r"says qkv_proj \[100\] takes no time|takes no time"):
        ask(surrogate(Broken), GEMM, (100,))
    assert ask(surrogate(), GEMM, (100,)) == [1_100_000]  # nothing of it was kept


def test_a_failure_is_not_kept():
    class Failing(Slow):
        def estimate(self, template, values):
            raise ComponentError("out of licences")

    with pytest.raises(ComponentFailure, match="out of licences"):
        ask(surrogate(Failing), GEMM, (100,))
    assert ask(surrogate(), GEMM, (100,)) == [1_100_000]


def test_a_component_with_a_clock_is_asked_alone():
    read = Template(0, "read", "kv", {})
    config = {"bandwidth_gb_s": 100, "latency_ns": 100}
    link = SurrogateLink(LocalLink("n0.dram", lambda: BandwidthLatency(config, 0)), SurrogateOptions(), "dram")
    assert link.description.time_policy is TimePolicy.ORACLE
    link.declare([read])
    model = BandwidthLatency(config, 0)
    model.declare([read])
    (alone,) = model.advance(MAX_PS, [Operation(0, (5000,))], True).completions
    assert ask(link, read, (5000,), (5000,)) == [alone.finish_ps] * 2


@pytest.mark.parametrize("promise", ["memoryless", "deterministic"])
def test_what_is_no_function_of_the_operation_is_refused(promise):
    class Odd(Slow):
        description = replace(Slow.description, **{promise: False})

    with pytest.raises(InputError, match=r"n0.accelerators: surrogate.*no function of the operation"):
        surrogate(Odd)


def test_identity_follows_configuration_files_and_code(tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("1")

    def of(model=Slow, **config):
        spec = ComponentSpec("n0.accelerators", "accelerator", 0, "slow", config, ComponentOptions(), 1, Path())
        return store.identity(spec, model.description, model, "")

    first = of(command=[str(tool), "-x"])
    assert of(command=[str(tool), "-x"]) == first
    assert of(command=[str(tool), "-y"]) != first
    tool.write_text("2")
    assert of(command=[str(tool), "-x"]) != first
    assert of(BandwidthLatency) != of()


class Spiked(Slow):
    """Straight at every point that checks a cell of m in 256 to 512, and off at one that is audited."""

    spike = 0

    def estimate(self, template, values):
        found = super().estimate(template, values)
        return found._replace(duration_ps=found.duration_ps * 2) if values[0] == self.spike else found


def audited(link):
    """A number that is drawn for an audit, whatever the link answers."""
    return next(m for m in range(300, 512) if link._drawn(0, (m,)))


def test_an_audit_beyond_the_tolerance_is_said_and_refined(monkeypatch):
    monkeypatch.setattr(Spiked, "spike", audited(surrogate()))
    link = surrogate(Spiked, "spiked")
    with pytest.warns(SurrogateWarning, match=r"component n0.accelerators: its surrogate is 50.00% off at qkv_proj"):
        (answer,) = ask(link, GEMM, (Spiked.spike,))
    assert answer == 2 * (10**6 + 1000 * Spiked.spike)  # the truth, now that it is known
    before = Spiked.asked
    ask(link, GEMM, *((m,) for m in range(Spiked.spike - 3, Spiked.spike + 4)))
    assert Spiked.asked > before  # its cell is not used any more
    report = link.statistics(())["surrogate"]
    assert report["audits_off"] == 1 and report["audited_worst_error"] == pytest.approx(0.5)


def test_an_audit_beyond_the_tolerance_fails_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(Spiked, "spike", audited(surrogate()))
    with pytest.raises(
        ComponentFailure, match=r"50.00% off at qkv_proj .* tolerance is 1.00% \(surrogate.audit: fail\)"
    ):
        ask(surrogate(Spiked, "spiked", audit="fail"), GEMM, (Spiked.spike,))


def test_where_a_component_has_steps_it_is_asked_itself_soon():
    """A 32 x 32 array: halving finds no straight piece, and asking is cheaper."""

    class Folds(Slow):
        def estimate(self, template, values):
            Folds.asked += 1
            return Estimate(10**6 * -(-values[0] // 32), Provenance.MODELLED)

    Folds.asked = 0
    operations = range(33, 520, 7)
    answers = ask(surrogate(Folds, "folds"), GEMM, *((m,) for m in operations))
    assert Folds.asked <= 2.2 * len(operations)  # 3.5, where every cell was halved to the end
    assert sum(took != 10**6 * -(-m // 32) for m, took in zip(operations, answers, strict=True)) <= 2
