"""Operand counts as data: a quantity's value is what its formula says, and what was said plainly before."""

from __future__ import annotations

import ast
import math
from copy import deepcopy
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.catalog import model_names
from metronome.orchestrator.lowering.builder import Hardware
from metronome.orchestrator.lowering.layout import Layout
from metronome.orchestrator.lowering.listing import numbers
from metronome.orchestrator.lowering.models.load import load
from metronome.orchestrator.lowering.plan import lower
from metronome.orchestrator.lowering.quantity import (
    ATTENTION,
    EACH_PROMPT,
    PROMPT_ATTENTION,
    SEQUENCES,
    TOKENS,
    ExpertsHit,
    Quantity,
    expert_tokens,
    one,
)
from metronome.orchestrator.lowering.routing import routing
from metronome.orchestrator.lowering.work import Templates
from metronome.orchestrator.serving.batch import Batch

FIELDS = ("tokens", "sequences", "decodes", "context_sum", "context_max", "context_min")
FUNCTIONS = {"ceil": math.ceil, "round": round, "max": max, "min": min}


def value(formula: str, batch: Batch) -> float:
    """What a formula says: names are the batch's, / is exact, ^ is a power."""

    def at(node):
        match node:
            case ast.Expression():
                return at(node.body)
            case ast.Constant():
                return node.value
            case ast.Name():
                return getattr(batch, node.id)
            case ast.Call():
                return FUNCTIONS[node.func.id](*map(at, node.args))
            case ast.BinOp():
                left, right = at(node.left), at(node.right)
                match node.op:
                    case ast.Mult():
                        return left * right
                    case ast.Div():
                        return Fraction(left, right)
                    case ast.Sub():
                        return left - right
                    case ast.Pow():
                        return left**right
        raise AssertionError(f"{formula}: {ast.dump(node)}")

    return at(ast.parse(formula.replace("^", "**"), mode="eval"))


counts = st.integers(0, 10**6)
pairs = st.lists(st.tuples(st.integers(2, 4096), counts), max_size=3)
batches = st.builds(
    lambda prompts, *rest: Batch(tuple(n for pair in prompts for n in pair), *rest),
    pairs,
    *(counts,) * 5,
)
bytes_each = st.one_of(st.integers(0, 10**6), st.floats(0, 10**5))


@given(st.builds(Quantity, st.sampled_from(FIELDS), bytes_each, st.integers(1, 512), st.integers(0, 4)), batches)
def test_a_quantity_is_what_its_formula_says(quantity, batch):
    found = quantity.of(batch)
    assert type(found) is int
    assert found == value(str(quantity), batch)


@given(st.sampled_from(["balanced", "uniform"]), st.integers(0, 3), st.integers(1, 8), st.integers(1, 8), batches)
def test_so_are_the_numbers_of_experts(model, spread, local, top_k, batch):
    ranks = 2**spread
    made = routing(model, local * ranks, min(top_k, local * ranks))
    operands = expert_tokens(made, min(top_k, local * ranks), ranks)
    assert list(operands.of(batch)) == [value(formula, batch) for formula in operands.formulas]


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("tokens", Quantity("tokens")),
        ("tokens * 8192", Quantity("tokens", 8192.0)),
        ("ceil(tokens / 8) * 4", Quantity("tokens", 4, 8)),
        ("round(tokens * 0.3)", Quantity("tokens", 0.3)),
        ("max(1, ceil(tokens / 4))", Quantity("tokens", split=4, least=1)),
        ("0", Quantity("decodes", per=0)),
        ("max(2, round(8 * (1 - (1 - 0.25) ^ tokens)))", ExpertsHit(routing("uniform", 8, 2), 0, 8, 2)),
        ("max(1, round(min(4, 1.0 * tokens)))", ExpertsHit(routing("balanced", 8, 2), 0, 4, 1)),
        (
            "max(1, round(sum over experts 0 to 1 of (1 - (1 - share) ^ tokens), shares: zipf 8))",
            ExpertsHit(routing("zipf", 8, 2), 0, 2, 1),
        ),
    ],
)
def test_a_formula_says_no_more_than_it_must(text, quantity):
    assert str(quantity) == text


@given(batches, st.integers(1, 16), st.integers(1, 10**5))
def test_the_numbers_are_those_of_the_plain_rules(batch, ranks, size):
    """As version 0.1 wrote them, one function of the batch each."""
    tokens, prompts = batch.tokens, batch.prompts
    assert TOKENS.of(batch) == (tokens,)
    assert SEQUENCES.of(batch) == (batch.sequences,)
    assert ATTENTION.of(batch) == (
        batch.decodes,
        batch.context_sum,
        batch.context_max,
        batch.context_min,
        *prompts,
    )
    assert PROMPT_ATTENTION.of(batch) == (0, 0, 0, 0, *prompts)
    assert one("tokens", size / 3, ranks).of(batch) == (round(-(-tokens // ranks) * (size / 3)),)
    assert one("sequences", size).of(batch) == (batch.sequences * size,)


@given(batches, st.sampled_from(["balanced", "uniform", "zipf"]), st.sampled_from([1, 2, 4]))
def test_the_busiest_rank_is_that_of_the_plain_rule(batch, model, ranks):
    made, top_k = routing(model, 16, 4, 1.3), 4
    local = 16 // ranks
    busiest = max((made.shares[i * local : (i + 1) * local] for i in range(ranks)), key=sum)
    tokens = batch.tokens
    computed = -(-tokens // ranks) if made.even else round(tokens * (sum(busiest) / top_k))
    least = min(top_k, local) if ranks == 1 else 1
    hit = max(least, round(made.hit(busiest, tokens)))
    assert expert_tokens(made, top_k, ranks).of(batch) == (max(1, computed), hit)


def test_quantities_are_values_and_are_shared_by_copies():
    assert one("tokens", 8192) == one("tokens", 8192.0) != one("tokens", 8192, 2)
    assert len({one("tokens", 8192), one("tokens", 8192.0), one("sequences", 8192)}) == 2
    uniform, zipf = (expert_tokens(routing(model, 8, 2), 2) for model in ("uniform", "zipf"))
    assert uniform == expert_tokens(routing("uniform", 8, 2), 2) != zipf
    histograms = [expert_tokens(routing("histogram", 4, 1, histogram=c), 1) for c in ([1, 2, 3, 4], [4, 3, 2, 1])]
    assert histograms[0] != histograms[1]
    assert deepcopy(ATTENTION) is ATTENTION


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize(("tp", "pp", "dp"), [(1, 1, 1), (2, 2, 1), (2, 1, 2)])
def test_every_number_of_a_plan_is_its_formula(name, tp, pp, dp, tmp_path):
    arch = load(name, tmp_path.joinpath)
    layout = Layout(tuple(("n0", i) for i in range(tp * pp * dp)), dp, pp, tp, dp > 1 and bool(arch.experts))
    plan = lower("chat", arch, layout, "bf16", Templates(), Hardware(lambda devices: "net", ["n0"]))
    batch = Batch((512, 0, 100, 64), 8, 8000, 2000, 500, 3)
    for work in plan.works:
        formulas = [formula for what, formula in numbers(work).items() if what != EACH_PROMPT]
        found = work.operands.of(batch)
        assert list(found[: len(formulas)]) == [value(formula, batch) for formula in formulas]
        assert found[len(formulas) :] == (batch.prompts if work.template.kind == "attention" else ())
